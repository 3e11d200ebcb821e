"""One's own CSV: a row per segment, with the columns video, label, start, end, and where wanted subset, duration, fps.

Times are seconds or clocks (`1:02.5`). The CSV of `tal detect` is such a file. Columns are told by their names, in any
order; comma, semicolon or tab separate them. A row without label, start and end is a video in which nothing happens.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from tal_cli.datasets.annotations import AnnotationError, Annotations
from tal_cli.datasets.formats.values import Entry, How, finite, gather, seconds, sorted_labels
from tal_cli.inputs import VIDEO_SUFFIXES

NAME = "CSV with the columns video, label, start, end"
COLUMNS = {
    "video": ("video", "video_id", "video-id", "video_name", "filename", "file"),
    "label": ("label", "class", "action", "name"),
    "start": ("start", "t-start", "t_start", "start_time", "start_timestamp", "begin", "onset"),
    "end": ("end", "t-end", "t_end", "end_time", "stop", "stop_timestamp", "offset"),
    "subset": ("subset", "split"),
    "duration": ("duration", "video_duration", "video-duration"),
    "fps": ("fps", "frame_rate"),
}
REQUIRED = ("video", "label", "start", "end")


def recognises(head: str) -> bool:
    """Whether a file's first line names the columns that are needed."""
    lines = head.splitlines()
    return bool(lines) and all(name in _columns(_fields(lines[0])) for name in REQUIRED)


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file.

    Raises:
        AnnotationError: a row that is none; the message names its line.
    """
    videos = gather(_entries(path, text))
    return Annotations("", videos, sorted_labels(videos))


def _entries(path: Path, text: str) -> Iterator[Entry]:
    first = text.lstrip().splitlines()[0]
    rows = csv.reader(io.StringIO(text.lstrip()), delimiter=_delimiter(first))
    try:
        columns = _columns(next(rows))
        for row in rows:
            if any(cell.strip() for cell in row):
                yield _entry(path, rows.line_num, {name: row[place].strip() for name, place in columns.items()})
    except (csv.Error, IndexError) as error:
        raise AnnotationError(path, f"line {rows.line_num}: not a row of the table ({error})") from error


def _entry(path: Path, line: int, cells: dict[str, str]) -> Entry:
    video, label = _stem(cells["video"]), cells["label"]
    start, end = seconds(cells["start"]), seconds(cells["end"])
    subset = cells.get("subset") or None
    numbers = {name: _optional(path, line, name, cells.get(name, "")) for name in ("duration", "fps")}
    if not video:
        raise AnnotationError(path, f"line {line}: no video")
    if not label and not cells["start"] and not cells["end"]:
        return Entry(video, None, 0.0, 0.0, subset, numbers["duration"], numbers["fps"])
    if not label or start is None or end is None:
        raise AnnotationError(path, f"line {line}, video {video}: expected a label, a start and an end in seconds")
    return Entry(video, label, start, end, subset, numbers["duration"], numbers["fps"])


def _optional(path: Path, line: int, name: str, cell: str) -> float | None:
    number = finite(cell) if cell else None
    if cell and (number is None or number <= 0):
        raise AnnotationError(path, f"line {line}: {name} is not a number above zero: {cell!r}"[:200])
    return number


def is_video(name: str) -> bool:
    """Whether a file's name is that of a video."""
    return PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES


def _stem(name: str) -> str:
    """A video's name without folder and suffix, as features and predictions are named."""
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[0] if is_video(name) else name


def _delimiter(line: str) -> str:
    return max(",;\t", key=line.count)


def _fields(line: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=_delimiter(line)), [])
    except csv.Error:
        return []


def _columns(fields: list[str]) -> dict[str, int]:
    """Where each known column is."""
    names = [field.strip().lower() for field in fields]
    return {
        column: next(names.index(name) for name in known if name in names)
        for column, known in COLUMNS.items()
        if any(name in names for name in known)
    }
