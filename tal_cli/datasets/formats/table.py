"""Custom CSV: a row per segment, with the columns video, label, start, end, and optionally subset, duration, fps.

Times are seconds or clock times (`1:02.5`). Instead of start and end there may be start_frame and end_frame, counted
from 0. The CSV of `tal detect` is such a file. Columns are found by name, in any order; the separator is comma,
semicolon or tab (or given by a first line `sep=;`), and numbers may have a decimal comma if the separator is not a
comma. A row without label, start and end is a video without segments; trailing cells may be missing.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from pathlib import Path

from tal_cli.datasets.annotations import POINT, STATE, Annotations
from tal_cli.datasets.formats.values import Entry, How, finite, gather, seconds, sorted_labels, stem
from tal_cli.extractors.errors import AnnotationError
from tal_cli.spreadsheets import header, lines, separator, with_point

NAME = "CSV with the columns video, label, start, end"
COLUMNS = {
    "video": ("video", "video_id", "video_name", "video_file", "media_file", "filename", "file_name", "file"),
    "label": ("label", "class", "class_name", "action", "activity", "event", "behavior", "behaviour", "name"),
    "start": ("start", "t_start", "start_time", "start_timestamp", "begin", "begin_time", "onset"),
    "end": ("end", "t_end", "end_time", "stop", "stop_time", "stop_timestamp", "offset"),
    "start_frame": ("start_frame", "frame_start"),
    "end_frame": ("end_frame", "frame_end", "stop_frame", "frame_stop"),
    "subset": ("subset", "split"),
    "duration": ("duration", "video_duration"),
    "fps": ("fps", "frame_rate"),
    "kind": ("kind", "type"),
    "subject": ("subject", "animal", "individual"),
    "comment": ("comment", "note"),
    "score": ("score", "confidence"),
}
NEEDED = ({"video", "label", "start", "end"}, {"video", "label", "start_frame", "end_frame"})
BOUNDS = ("start", "end", "start_frame", "end_frame")
NUMBERS = (*BOUNDS, "duration", "fps")
UNIT = re.compile(r"_*(\(|\[|_)(s|sec|seconds)[)\]]?$")  # as in "Start (s)", end_sec

Cells = dict[str, str]


def recognises(head: str) -> bool:
    """Whether the first line contains the required columns."""
    columns = _columns(_fields(header(head))).keys()
    return any(needed <= columns for needed in NEEDED)


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file.

    Raises:
        AnnotationError: an invalid row, or frame numbers without a frame rate; the message names the line.
    """
    videos = gather(_entry(path, line, cells, how) for line, cells in _rows(path, text))
    return Annotations("", videos, sorted_labels(videos))


def _rows(path: Path, text: str) -> Iterator[tuple[int, Cells]]:
    """The line number of every row, and the cells of the known columns."""
    delimiter = separator(header(text))
    rows = csv.reader(lines(text), delimiter=delimiter, skipinitialspace=True)
    try:
        fields = next(row for row in rows if row)
        columns = _columns(fields)
        names = _names(fields)
        if twice := [fields[place].strip() for place in columns.values() if names.count(names[place]) > 1]:
            raise AnnotationError(path, f"line {rows.line_num}: two columns are named {twice[0]}")
        for row in rows:
            if any(cell.strip() for cell in row):
                # Some programs omit trailing empty cells.
                cells = {name: row[place].strip() if place < len(row) else "" for name, place in columns.items()}
                numbers = {name: cells[name] for name in NUMBERS if name in cells}
                yield rows.line_num, cells | {name: with_point(cell, delimiter) for name, cell in numbers.items()}
    except csv.Error as error:
        raise AnnotationError(path, f"line {rows.line_num}: not a row of the table ({error})") from error


def _entry(path: Path, line: int, cells: Cells, how: How) -> Entry:
    video, label = stem(cells["video"]), cells["label"]
    if not video:
        raise AnnotationError(path, f"line {line}: no video")
    where = f"line {line}, video {video}"
    subset = cells.get("subset") or None
    duration, fps = (_optional(path, where, name, cells.get(name, "")) for name in ("duration", "fps"))
    fps = how.fps or fps
    if not label and not any(cells.get(name) for name in BOUNDS):
        return Entry(video, None, 0.0, 0.0, subset, duration, fps)
    kind = POINT if cells.get("kind", "").lower() == POINT else STATE
    if kind == POINT:
        cells = {**cells, "end": cells.get("start", ""), "end_frame": cells.get("start_frame", "")}
    start, end = _bounds(path, where, cells, fps)
    if not label or start is None or end is None:
        raise AnnotationError(path, f"{where}: expected a label, a start and an end in seconds")
    subject, comment, score = cells.get("subject") or None, cells.get("comment", ""), finite(cells.get("score"))
    return Entry(video, label, start, end, subset, duration, fps, kind, subject, comment, score)


def _bounds(path: Path, where: str, cells: Cells, fps: float | None) -> tuple[float | None, float | None]:
    """Start and end in seconds."""
    if "start" in cells and "end" in cells:
        return seconds(cells["start"]), seconds(cells["end"])
    if fps is None:
        reason = f"{where}: frame numbers without a known frame rate"
        raise AnnotationError(path, reason, "give --fps X, or add a column fps")
    first, last = finite(cells["start_frame"]), finite(cells["end_frame"])
    return (None, None) if first is None or last is None else (first / fps, last / fps)


def _optional(path: Path, where: str, name: str, cell: str) -> float | None:
    number = seconds(cell) if cell else None
    if cell and (number is None or number <= 0):
        raise AnnotationError(path, f"{where}: {name} is not a positive number: {cell!r}"[:200])
    return number


def _fields(line: str) -> list[str]:
    try:
        return next(csv.reader([line], delimiter=separator(line), skipinitialspace=True), [])
    except csv.Error:
        return []


def _names(fields: list[str]) -> list[str]:
    """Names of columns without case, blanks and units."""
    return [UNIT.sub("", re.sub(r"[\s-]+", "_", field.strip().lower())) for field in fields]


def _columns(fields: list[str]) -> dict[str, int]:
    """Index of each known column."""
    names = _names(fields)
    return {
        column: next(names.index(name) for name in known if name in names)
        for column, known in COLUMNS.items()
        if any(name in names for name in known)
    }
