"""Error messages of libraries about unreadable files, reworded for users."""

from __future__ import annotations

import re

LONGEST = 160  # characters


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
