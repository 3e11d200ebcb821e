"""Paths of outputs: what they mean, and whether they can be written to."""

from __future__ import annotations

import os
from pathlib import Path

from tal_cli.extractors.errors import UsageError


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
