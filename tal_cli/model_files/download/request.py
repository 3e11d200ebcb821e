"""What is asked of a server."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class FileRequest:
    """One file to receive.

    Attributes:
        url: where its bytes are.
        file: its name, for people.
        part: where they go while they arrive; what is there already is not asked for again.
        size: bytes, where known. sha256: hexadecimal, all or the first digits, where known.
        headers: sent along.
        version: names the content behind the URL where somebody else than its server knows (a hub); what arrived of
            another version is not continued.
    """

    url: str
    file: str
    part: Path
    size: int | None = None
    sha256: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    version: str | None = None
