"""Published files onto this machine: resumed where a download broke off, verified, and there whole or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol

from tal_cli import console
from tal_cli.extractors.errors import DownloadError
from tal_cli.extractors.files.weights import INDEX
from tal_cli.model_files.download import hubs, pins
from tal_cli.model_files.download.http import receive
from tal_cli.model_files.download.request import FileRequest
from tal_cli.safe_text import printable

__all__ = ["DownloadError", "Source", "fetch", "is_offline"]

LARGEST_INDEX = 1 << 24  # bytes


class Source(Protocol):
    """A published file, as `WeightsSource` of backbones and of models declare them."""

    @property
    def file(self) -> str: ...
    @property
    def url(self) -> str | None: ...
    @property
    def page(self) -> str: ...
    @property
    def sha256(self) -> str | None: ...
    @property
    def size(self) -> int | None: ...


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One of several files that a published index names."""

    file: str
    url: str | None
    page: str
    sha256: str | None = None
    size: int | None = None


# From a URL's scheme to the function that finds out where the bytes are, or fetches them itself.
SCHEMES: dict[str, Callable[[FileRequest], FileRequest | None]] = {
    "https": lambda request: request,
    "http": lambda request: request,
    "hf": hubs.on_hugging_face,
    "gdrive": hubs.from_google_drive,
}


def is_offline() -> bool:
    """Whether nothing may be downloaded: TAL_OFFLINE or HF_HUB_OFFLINE is set."""
    return any(
        os.environ.get(name, "").lower() not in ("", "0", "false", "no") for name in ("TAL_OFFLINE", "HF_HUB_OFFLINE")
    )


def fetch(source: Source, target: Path) -> Path:
    """The file at `target`, downloaded unless it is there. An index of parts brings its parts along.

    What is there is checked against the SHA-256 that is known: the published one, or that of the first download.

    Raises:
        DownloadError: offline, no public link, no connection, or not the file it should be. What arrived stays beside
            the target, and the next call goes on from there, unless it is wrong.
    """
    with pins.only_one(target):
        if not target.is_file():
            _download(source, target)
        else:
            pins.check(source.file, source.sha256, target)
    if target.name.endswith(INDEX):
        _fetch_parts(source, target)
    return target


def _download(source: Source, target: Path) -> None:
    if source.url is None:
        raise DownloadError(f"{source.file}: there is no public download", f"ask for it at {source.page}")
    by_hand = f"get it from {source.page} by hand and put it at {target}"
    if is_offline():
        raise DownloadError(f"{source.file}: offline (TAL_OFFLINE or HF_HUB_OFFLINE is set)", by_hand)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    # With a whole hash to check in the end, even a server that names no version of its file can be resumed from.
    version = source.sha256 if source.sha256 and len(source.sha256) == pins.DIGITS else None
    request = FileRequest(
        url=source.url, file=source.file, part=part, size=source.size, sha256=source.sha256, version=version
    )
    try:
        direct = SCHEMES[source.url.partition("://")[0]](request)
        if direct is not None:
            receive(direct)
            request = replace(request, sha256=request.sha256 or direct.sha256)
        digest = pins.verify(request, pins.pinned(target))
    except DownloadError as error:
        raise DownloadError(error.reason, error.remedy or by_hand) from error
    os.replace(part, target)
    if source.sha256 is None or len(source.sha256) < pins.DIGITS:
        pins.pin(target, digest)
        console.note(f"{source.file}: SHA-256 {digest}, pinned: from now on this file is the only one taken for it")


def _fetch_parts(source: Source, index: Path) -> None:
    """Raises DownloadError, also for an index that is none."""
    try:
        text = index.read_text(encoding="utf8") if index.stat().st_size < LARGEST_INDEX else ""
        names = sorted(set(json.loads(text)["weight_map"].values()))
        if not all(re.fullmatch(r"\w[\w.-]*\.safetensors", name) for name in names):
            raise ValueError("a part's name is none")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DownloadError(
            f"{printable(str(index))}: not an index of weights in parts ({type(error).__name__})"
        ) from None
    for name in names:
        beside = None if source.url is None else source.url.rpartition("/")[0] + f"/{name}"
        folder = source.file.rpartition("/")[0]
        fetch(_Part(file=f"{folder}/{name}" if folder else name, url=beside, page=source.page), index.with_name(name))
