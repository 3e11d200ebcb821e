"""Files that appear whole or not at all, and what killed runs leave of those that did not.

A file is written as `.NAME.PROCESS.part` beside its target, which it replaces when it is whole.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from tal_cli.extractors.files.locks import started

LONGEST = 200  # characters of a name, which leaves room for what is put around it
# What killed runs leave behind: half files, and claims not yet made.
LEFTOVER = re.compile(r"^\.(.+?)\.(?:(?P<process>\d+)\.part|claim\.[0-9a-f]{32})$")


def write_whole(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """Write a file beside its target and rename it when it is whole and on the disk; half files of runs that were
    killed while they wrote the same are removed first.

    Raises OSError.
    """
    sweep(_once(path.parent).get(path.name[:LONGEST], ()))
    temporary = path.with_name(f".{path.name[:LONGEST]}.{os.getpid()}.part")
    try:
        with open(temporary, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def leftovers(folder: Path) -> dict[str, list[Path]]:
    """What runs that were killed left in a folder, or others are writing there, by the name that it was to have."""
    found: dict[str, list[Path]] = {}
    with suppress(OSError):
        for entry in os.scandir(folder):
            match = LEFTOVER.match(entry.name)
            if match is not None:
                found.setdefault(match[1], []).append(Path(entry.path))
    return found


def sweep(files: Iterable[Path]) -> None:
    """Remove those of the `leftovers` that processes which are gone were writing."""
    for file in files:
        match = LEFTOVER.match(file.name)
        if match is not None and match["process"] and not started(int(match["process"])):
            file.unlink(missing_ok=True)


@lru_cache(maxsize=64)
def _once(folder: Path) -> dict[str, list[Path]]:
    """`leftovers` as they were at the first look: a folder with a file per video must not be read for each of them."""
    return leftovers(folder)
