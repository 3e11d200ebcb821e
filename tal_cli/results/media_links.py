"""References to a video in output files: URI, relative path and MIME type."""

from __future__ import annotations

import os
from pathlib import Path
from urllib.parse import quote

# The system's table lacks many types, and treats .ts as a translation file.
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
    """The MIME type of a video by its suffix; `video/*` for unknown suffixes."""
    return MEDIA_TYPES.get(Path(path).suffix.lower(), "video/*")


def relative_path(path: str, folder: str | os.PathLike[str]) -> str | None:
    """Relative path from a folder, with forward slashes and a leading dot; None for another drive."""
    try:
        return "./" + Path(os.path.relpath(os.path.abspath(path), os.path.abspath(folder))).as_posix()
    except ValueError:
        return None


def file_uri(path: str) -> str:
    """`file:///...` URI of a path, absolute and quoted; non-UTF-8 bytes are preserved."""
    return "file://" + quote(os.fsencode(Path(os.path.abspath(path)).as_posix()))


def relative_url(path: str, folder: str | os.PathLike[str]) -> str:
    """Relative URL from a folder, quoted, for links in a page there."""
    way = relative_path(path, folder)
    return file_uri(path) if way is None else quote(os.fsencode(way))
