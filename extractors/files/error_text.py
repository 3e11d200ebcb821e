"""What is wrong with an unreadable file, worded for users."""

from __future__ import annotations

import os
import re

LONGEST = 160  # characters
HEAD = 1 << 10  # bytes by which a stand-in is known
LFS_POINTER = b"version https://git-lfs.github.com/spec/"
HTML = re.compile(
    rb"(?:\xef\xbb\xbf)?\s*(?:<\?xml.*?\?>\s*|<!--.*?-->\s*)*<(?:!doctype\s+html|html|head)\b", re.I | re.S
)


def stand_in(head: bytes) -> str | None:
    """What stands in the place of a file, as a download or a checkout leaves it, by its first HEAD bytes; None if
    nothing does."""
    if not head:
        return "the file is empty"
    if head.startswith(LFS_POINTER):
        return "it is a Git LFS pointer, not the file itself: `git lfs pull` gets that"
    if HTML.match(head):
        return "it is an HTML page, not the file itself: its address asks to log in or to confirm the download"
    return None


def unreadable(path: str | os.PathLike[str], error: BaseException) -> str:
    """Why a file cannot be read: what stands in its place, else what the library that read it says."""
    try:
        with open(path, "rb") as file:
            return stand_in(file.read(HEAD)) or library_message(error)
    except OSError:
        return library_message(error)


def library_message(error: BaseException) -> str:
    """A library's error message, in one line of bounded length.

    The advice of torch and numpy to load rejected files unsafely is removed.
    """
    said = getattr(error, "strerror", None) or str(error)
    asked = re.search(r"GLOBAL (\S+)", said)
    if asked:
        return f"it refers to {asked[1]}, which is not loaded"
    if "weights_only" in said:
        return "it is not a plain PyTorch file"
    if "pickle" in said and not type(error).__module__.endswith("pickle"):
        return "it is not an array of numbers"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:LONGEST]
