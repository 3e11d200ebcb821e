"""Sending files to a player: whole or in ranges, as HTTP has it."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path

from tal_cli.labelling.web.messages import Refused, Request, Response

PIECE = 256 << 10  # bytes
AHEAD = 2 << 20  # bytes of an answer whose end the player leaves open: of more, a seek makes megabytes useless
RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def send_file(request: Request, path: Path, kind: str) -> Response:
    """A file, or the single range of it that is asked for.

    Raises:
        Refused: it cannot be read (404), or there is nothing in the range (416).
    """
    try:
        found = os.stat(path)
    except OSError as error:
        raise Refused(404, f"{path.name}: {error.strerror}; restart tal label if it was moved") from None
    if not stat.S_ISREG(found.st_mode):
        raise Refused(404, f"{path.name}: it is no file any more; restart tal label")
    size = found.st_size
    tag = f'"{found.st_mtime_ns:x}-{size:x}"'
    headers = {"Accept-Ranges": "bytes", "ETag": tag, "Cache-Control": "private, no-cache"}
    asked = request.headers.get("range", "")
    unchanged = request.headers.get("if-range", tag) == tag
    match = RANGE.fullmatch(asked.strip()) if unchanged else None
    if match is None or match[0] == "bytes=-":  # several ranges, or other units, may be ignored
        return Response(pieces(path, 0, size), 200, headers, kind, size)
    if match[1]:
        first = int(match[1])
        last = min(int(match[2]) if match[2] else first + AHEAD - 1, size - 1)
    else:
        first, last = max(0, size - int(match[2])), size - 1
    if first > last:
        raise Refused(416, f"{asked}: the file has {size} bytes", headers={"Content-Range": f"bytes */{size}"})
    headers["Content-Range"] = f"bytes {first}-{last}/{size}"
    return Response(pieces(path, first, last + 1), 206, headers, kind, last + 1 - first)


def pieces(path: Path, start: int, end: int) -> Iterator[bytes]:
    """The bytes of a file from start to end, PIECE at a time."""
    with path.open("rb", buffering=0) as file:
        file.seek(start)
        while start < end:
            data = file.read(min(PIECE, end - start))
            if not data:
                return
            start += len(data)
            yield data
