"""Requests and answers."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any


class Refused(Exception):
    """A request that is answered with an error. status: HTTP's; the text: what, where, what to do."""

    def __init__(
        self, status: int, text: str, more: dict[str, Any] | None = None, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(text)
        self.status = status
        self.more = more or {}
        self.headers = headers or {}

    @property
    def response(self) -> Response:
        """The answer."""
        response = answer_json({"error": str(self), **self.more}, self.status)
        response.headers |= self.headers
        return response


@dataclass(frozen=True)
class Request:
    """One request. path: without the query, decoded; headers: by name in lower case."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: bytes

    def json(self) -> dict[str, Any]:
        """The body's object. Raises Refused."""
        if self.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
            raise Refused(400, "the body is no JSON: send Content-Type: application/json")
        try:
            content = json.loads(self.body, parse_constant=_finite, parse_float=_finite)
        except (ValueError, RecursionError):
            content = None
        if not isinstance(content, dict):
            raise Refused(400, "the body is no JSON object, or has numbers that JSON lacks")
        return content


@dataclass
class Response:
    """One answer. body: bytes, or pieces that are sent as they come; length: of all pieces, None if it never ends."""

    body: bytes | Iterable[bytes] = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    kind: str = "application/json"
    length: int | None = None
    after: Callable[[], None] | None = None  # called once it is sent


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def answer_json(content: Any, status: int = 200) -> Response:
    """An answer in JSON."""
    return Response(json.dumps(content, ensure_ascii=False).encode("utf-8", "backslashreplace"), status)
