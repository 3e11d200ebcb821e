"""Writing files that appear whole or not at all, and finding out beforehand whether a place can be written to."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from tal_cli.extractors.errors import InputError, UsageError
from tal_cli.extractors.files.atomic import write_whole


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file beside its target and rename it, so that no reader and no crash ever meets half of it.

    Raises:
        InputError: the disk is full, or the place cannot be written to.
    """
    write_streaming(path, lambda file: file.write(data))


def write_streaming(path: Path, write: Callable[[BinaryIO], object]) -> None:
    """`write_atomically` for what is too large to be held at once: `write` gets the open file.

    Raises:
        InputError: the disk is full, or the place cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_device(path):
            with path.open("wb") as device:
                write(device)
        else:
            # Where a link leads is replaced, never the link.
            write_whole(Path(os.path.realpath(path)), write)
    except OSError as error:
        raise InputError(path, f"cannot be written: {error.strerror or error}") from error


def is_device(path: Path) -> bool:
    """Whether a path is written to and must not be replaced: a device, a named pipe, or a name like /dev/stdout, which
    may lead to a regular file and is still the system's."""
    system = Path(os.path.abspath(path)).parts[1:3]
    return (path.exists() and not path.is_file()) or (system[:1] in (("dev",), ("proc",)) and system != ("dev", "shm"))


def file_for(folder: Path, video: str, suffix: str) -> Path:
    """The file of a video's results inside a folder; no name leads out of it."""
    parts = [part for part in video.split("/") if part not in ("", "..", ".")]
    return folder.joinpath(*parts[:-1], f"{parts[-1] if parts else 'video'}{suffix}")


def is_folder(path: str) -> bool:
    """Whether an output path means a folder: it is one, ends in a slash, or is new and has no suffix."""
    return os.path.isdir(path) or path.endswith(("/", os.sep)) or (not os.path.lexists(path) and not Path(path).suffix)


def check_writable(path: Path) -> None:
    """Find out before hours of work that the result could not be written.

    Raises:
        UsageError: the place cannot be written to.
    """
    check_folder(path if path.is_dir() else path.parent)


def check_folder(folder: Path) -> None:
    """The same for a folder that is to be filled, and made where it is not there yet.

    Raises:
        UsageError: it cannot be written to, or is a file.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise UsageError(f"{there}: this is a file, not a folder", "name a folder to write into")
    if not os.access(there, os.W_OK):
        raise UsageError(f"{there}: you may not write there", "choose another folder")
