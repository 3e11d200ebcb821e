"""How a file that is written names the video it speaks of: as a URI, as a path from where it stands, and its kind."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

# Not from the system's table, which knows too few, and takes .ts for a translation.
MEDIA_TYPES = {
    ".3gp": "video/3gpp",
    ".avi": "video/x-msvideo",
    ".flv": "video/x-flv",
    ".m2ts": "video/mp2t",
    ".m4v": "video/mp4",
    ".mkv": "video/x-matroska",
    ".mov": "video/quicktime",
    ".mp4": "video/mp4",
    ".mpeg": "video/mpeg",
    ".mpg": "video/mpeg",
    ".mts": "video/mp2t",
    ".ogv": "video/ogg",
    ".ts": "video/mp2t",
    ".vob": "video/mpeg",
    ".webm": "video/webm",
    ".wmv": "video/x-ms-wmv",
}


def media_type(path: str) -> str:
    """The MIME type of a video by its suffix; `video/*` where that says nothing."""
    return MEDIA_TYPES.get(Path(path).suffix.lower(), "video/*")


def relative_path(path: str, folder: str | os.PathLike[str]) -> str | None:
    """The way from a folder to a path, with forward slashes and beginning with a dot; None to another drive."""
    try:
        return "./" + Path(os.path.relpath(os.path.abspath(path), os.path.abspath(folder))).as_posix()
    except ValueError:
        return None


def file_uri(path: str) -> str:
    """`file:///...` of a path, absolute and quoted; bytes that are no UTF-8 survive."""
    return "file://" + quote(os.fsencode(Path(os.path.abspath(path)).as_posix()))


def relative_url(path: str, folder: str | os.PathLike[str]) -> str:
    """The way from a folder to a path, as a page there would link it; quoted."""
    way = relative_path(path, folder)
    return file_uri(path) if way is None else quote(os.fsencode(way))
