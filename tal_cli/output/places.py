"""How a file that is written names the video it speaks of: as a URI, and as a path from where it stands."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote


def file_uri(path: str) -> str:
    """`file:///...` of a path, absolute and quoted; bytes that are no UTF-8 survive."""
    return "file://" + quote(os.fsencode(Path(os.path.abspath(path)).as_posix()))


def relative_url(path: str, folder: str | os.PathLike[str]) -> str:
    """The way from a folder to a path, as a page or a project file there would link it; quoted."""
    try:
        way = os.path.relpath(os.path.abspath(path), os.path.abspath(folder))
    except ValueError:  # another drive
        return file_uri(path)
    return "./" + quote(os.fsencode(Path(way).as_posix()))
