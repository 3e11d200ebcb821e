"""The identity of a video file: its name is not enough, since other files have the same, or take its place."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field

from tal_cli.extractors.files.remote import read_ends

END = 1 << 20  # bytes at either end of a file


@dataclass(frozen=True)
class VideoIdentity:
    """size: bytes of the file; sha256: of its first and its last megabyte, in hexadecimal digits; path: path or URL by
    which it was read, for messages; a file stays the same when it is moved."""

    size: int
    sha256: str
    path: str = field(default="", compare=False)


def identity_of(path_or_url: str) -> VideoIdentity:
    """The identity of a file. Reads two megabytes of it at most. Raises RemoteError, PackageMissing."""
    size, first, last = read_ends(path_or_url, END)
    name = path_or_url.encode(errors="backslashreplace").decode()
    return VideoIdentity(size, hashlib.sha256(first + last).hexdigest(), name)
