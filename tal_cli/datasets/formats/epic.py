"""EPIC-KITCHENS-100's own CSV files: EPIC_100_train.csv, EPIC_100_validation.csv.

Classes are named by EPIC_100_verb_classes.csv and EPIC_100_noun_classes.csv, durations and frame rates are those of
EPIC_100_video_info.csv; they are looked for beside the file, gzipped or not. Which class is the label `label_key` says:
verb, noun (names), verb_id, noun_id (numbers) or action ("verb,noun", both numbers).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path

from tal_cli.datasets.annotations import AnnotationError, Annotations
from tal_cli.datasets.formats.values import Entry, How, finite, gather, seconds, sorted_labels
from tal_cli.datasets.json_files import read_text

NAME = "EPIC-KITCHENS-100 CSV"
NEEDED = ("video_id", "start_timestamp", "stop_timestamp", "verb_class", "noun_class")
SUBSETS = {"train": "training", "validation": "validation", "test": "test"}

Row = dict[str, str]
Label = Callable[[Row], str]


def recognises(head: str) -> bool:
    """Whether a file's first line names EPIC's columns."""
    lines = head.splitlines()
    return bool(lines) and set(NEEDED) <= set(lines[0].split(","))


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file.

    Raises:
        AnnotationError: a row that is none, no class of that key, or no file that names the classes.
    """
    label, names = _labels(path, how.label_key)
    information = _information(path)
    subset = next((name for part, name in SUBSETS.items() if part in path.name.lower()), None)
    entries = []
    for number, row in enumerate(csv.DictReader(io.StringIO(text)), start=2):
        start, end = seconds(row["start_timestamp"] or ""), seconds(row["stop_timestamp"] or "")
        video = row["video_id"]
        if start is None or end is None or not video:
            raise AnnotationError(path, f"line {number}, video {video}: start and stop are no h:m:s")
        try:
            entries.append(Entry(video, label(row), start, end, subset, *information.get(video, (None, None))))
        except (KeyError, IndexError, ValueError) as error:
            raise AnnotationError(path, f"line {number}, video {video}: no such class: {error}") from error
    videos = gather(entries)
    return Annotations("EPIC-KITCHENS-100", videos, names or sorted_labels(videos))


def _labels(path: Path, label_key: str) -> tuple[Label, tuple[str, ...]]:
    """What makes a row's label, and all labels where they have a list."""
    if label_key in ("verb", "noun"):
        names = _names(path, label_key)
        return (lambda row: names[int(row[f"{label_key}_class"])]), names
    if label_key in ("verb_id", "noun_id"):
        column = label_key.replace("_id", "_class")
        return (lambda row: str(int(row[column]))), ()
    if label_key == "action":
        return (lambda row: f"{int(row['verb_class'])},{int(row['noun_class'])}"), ()
    raise AnnotationError(path, f"EPIC-KITCHENS has no {label_key}: choose verb, noun, verb_id, noun_id or action")


def _names(path: Path, kind: str) -> tuple[str, ...]:
    file = _beside(path, f"EPIC_100_{kind}_classes.csv")
    if file is None:
        raise AnnotationError(path, f"EPIC_100_{kind}_classes.csv is not beside it; it names the classes")
    return class_names(file)


def class_names(file: Path) -> tuple[str, ...]:
    """The names in EPIC_100_verb_classes.csv or EPIC_100_noun_classes.csv, by number.

    Raises:
        AnnotationError: it is not such a file.
    """
    rows = list(csv.DictReader(io.StringIO(read_text(file))))
    try:
        numbered = {int(row["id"]): row["key"] for row in rows}
        return tuple(numbered[number] for number in range(len(numbered)))
    except (KeyError, ValueError, TypeError) as error:
        raise AnnotationError(file, f"expected the columns id and key, numbered from 0 ({error})") from error


def _information(path: Path) -> dict[str, tuple[float | None, float | None]]:
    """Duration and frame rate of each video, where they are known."""
    file = _beside(path, "EPIC_100_video_info.csv")
    if file is None:
        return {}
    rows = csv.DictReader(io.StringIO(read_text(file)))
    return {row.get("video_id", ""): (finite(row.get("duration")), finite(row.get("fps"))) for row in rows}


def _beside(path: Path, name: str) -> Path | None:
    candidates = (path.parent / name, path.parent / f"{name}.gz")
    return next((candidate for candidate in candidates if candidate.is_file()), None)
