"""EPIC-KITCHENS-100's official CSV files, EPIC_100_train.csv and EPIC_100_validation.csv, and those of
C2-Action-Detection, with frame numbers at 30 frames per second.

Class names are read from EPIC_100_verb_classes.csv and EPIC_100_noun_classes.csv, durations and frame rates from
EPIC_100_video_info.csv, all in the same folder, gzipped or not. `label_key` selects the label: verb, noun (names),
verb_id, noun_id (numbers) or action ("verb,noun", both numbers).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tal_cli.datasets.annotations import Annotations
from tal_cli.datasets.formats.values import Entry, How, finite, gather, seconds, sorted_labels
from tal_cli.extractors.errors import AnnotationError
from tal_cli.extractors.files.json_files import read_text

NAME = "EPIC-KITCHENS-100 CSV"
SUBSETS = {"train": "training", "validation": "validation", "test": "test"}

Row = dict[str, str]
Label = Callable[[Row], str]


@dataclass(frozen=True)
class _Columns:
    """Column names of one kind of file; `fps` is the rate of its frame numbers, None for times."""

    video: str
    start: str
    stop: str
    verb: str
    noun: str
    fps: float | None = None

    @property
    def names(self) -> set[str]:
        return {self.video, self.start, self.stop, self.verb, self.noun}

    def time(self, cell: str) -> float | None:
        """Seconds."""
        if self.fps is None:
            return seconds(cell)
        frame = finite(cell)
        return None if frame is None else frame / self.fps


TIMES = _Columns("video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class")
FRAMES = _Columns("video", "start", "stop", "verb", "noun", fps=30.0)


def recognises(head: str) -> bool:
    """Whether the first line contains EPIC's columns."""
    return _columns(head.partition("\n")[0].rstrip().replace('"', "").split(",")) is not None


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file.

    Raises:
        AnnotationError: an invalid row, an unknown label key, or a missing file of class names.
    """
    rows = list(_rows(path, text))
    columns = _columns(rows[0][1] if rows else TIMES.names)
    if columns is None:
        raise AnnotationError(path, "EPIC's columns are missing from the first line")
    label, names = _labels(path, how.label_key, columns)
    information = _information(path)
    subset = next((name for part, name in SUBSETS.items() if part in path.name.lower()), None)
    entries = []
    for number, row in rows:
        video, start, end = row[columns.video], columns.time(row[columns.start]), columns.time(row[columns.stop])
        if start is None or end is None or not video:
            raise AnnotationError(path, f"line {number}, video {video}: start and stop are not times")
        try:
            entries.append(Entry(video, label(row), start, end, subset, *information.get(video, (None, None))))
        except (IndexError, ValueError) as error:
            raise AnnotationError(path, f"line {number}, video {video}: no such class ({error})") from error
    videos = gather(entries)
    return Annotations("EPIC-KITCHENS-100", videos, names or sorted_labels(videos))


def _columns(names: Iterable[str]) -> _Columns | None:
    """The kind of file with these columns; None for others."""
    found = set(names)
    if TIMES.names <= found:
        return TIMES
    # A custom table may have columns of the same names.
    return FRAMES if FRAMES.names | {"narration_id"} <= found else None


def _rows(path: Path, text: str) -> Iterator[tuple[int, Row]]:
    """Every row and its line number; missing cells are empty."""
    rows = csv.DictReader(io.StringIO(text.lstrip()), restval="")
    try:
        for row in rows:
            yield rows.line_num, row
    except csv.Error as error:
        raise AnnotationError(path, f"line {rows.line_num}: not a row of the table ({error})") from error


def _labels(path: Path, label_key: str, columns: _Columns) -> tuple[Label, tuple[str, ...]]:
    """The function from a row to its label, and all labels if there is a list."""
    kind = label_key.removesuffix("_id")
    column = {"verb": columns.verb, "noun": columns.noun}.get(kind, "")
    if label_key in ("verb", "noun"):
        names = _names(path, kind)
        return (lambda row: _named(names, row[column])), names
    if column:
        return (lambda row: str(int(row[column]))), ()
    if label_key == "action":
        return (lambda row: f"{int(row[columns.verb])},{int(row[columns.noun])}"), ()
    raise AnnotationError(path, f"EPIC-KITCHENS has no {label_key}: choose verb, noun, verb_id, noun_id or action")


def _named(names: tuple[str, ...], number: str) -> str:
    if int(number) < 0:
        raise ValueError(number)
    return names[int(number)]


def _names(path: Path, kind: str) -> tuple[str, ...]:
    file = _beside(path, f"EPIC_100_{kind}_classes.csv")
    if file is None:
        raise AnnotationError(path, f"EPIC_100_{kind}_classes.csv with the class names is missing from its folder")
    return class_names(file)


def class_names(file: Path) -> tuple[str, ...]:
    """The names in EPIC_100_verb_classes.csv or EPIC_100_noun_classes.csv, by number.

    Raises:
        AnnotationError: not such a file.
    """
    try:
        numbered = {int(row["id"]): row["key"] for _, row in _rows(file, read_text(file))}
        return tuple(numbered[number] for number in range(len(numbered)))
    except (KeyError, ValueError) as error:
        raise AnnotationError(file, "expected the columns id and key, numbered from 0") from error


def _information(path: Path) -> dict[str, tuple[float | None, float | None]]:
    """Duration and frame rate of each video, if known."""
    file = _beside(path, "EPIC_100_video_info.csv")
    if file is None:
        return {}
    rows = _rows(file, read_text(file))
    return {row.get("video_id", ""): (finite(row.get("duration")), finite(row.get("fps"))) for _, row in rows}


def _beside(path: Path, name: str) -> Path | None:
    candidates = (path.parent / name, path.parent / f"{name}.gz")
    return next((candidate for candidate in candidates if candidate.is_file()), None)
