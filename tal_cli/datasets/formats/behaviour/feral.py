"""FERAL: JSON with a class number, or a list of 0 and 1, for each frame; `other` is background."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tal_cli.datasets.annotations import Annotations, GroundTruth
from tal_cli.datasets.formats.values import (
    BEHAVIOUR_VERSION,
    DEFAULT_SUBSET,
    Facts,
    How,
    framed,
    names_of,
    runs,
    sorted_labels,
    video_of,
    warn_of_no_rate,
)
from tal_cli.extractors.errors import AnnotationError
from tal_cli.extractors.files.json_files import parse_json

NAME = "FERAL"
BACKGROUND = "other"
SUBSETS = {"train": DEFAULT_SUBSET, "val": "validation", "test": "test"}


def recognises(head: str) -> bool:
    """Whether the file begins with FERAL's keys."""
    return head.startswith("{") and ('"class_names"' in head or '"is_multilabel"' in head)


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file; times are nan where the frame rate is not known.

    Raises:
        AnnotationError: invalid content; the message names the video.
    """
    content = parse_json(path, text)
    classes, labels = content.get("class_names"), content.get("labels")
    if isinstance(classes, list):
        classes = dict(enumerate(classes))
    if not isinstance(classes, dict) or not isinstance(labels, dict):
        reason = "no class_names" if isinstance(labels, dict) else "no labels; scores of FERAL are no annotations"
        raise AnnotationError(path, f"not labels of FERAL: {reason}")
    names = {str(number): str(name) for number, name in classes.items()}
    splits = content.get("splits") if isinstance(content.get("splits"), dict) else {}
    try:
        subsets = {video: SUBSETS.get(split, split) for split, videos in splits.items() for video in videos}
    except TypeError as error:
        raise AnnotationError(path, "splits: expected a list of videos for each") from error
    videos = {}
    for name, (file, rows) in zip(names_of(list(labels)), labels.items(), strict=True):
        facts = how.facts_of(file)
        try:
            segments = _segments(rows, names, facts)
        except (LookupError, TypeError, ValueError) as error:
            raise AnnotationError(path, f"video {file}: expected class numbers, or lists of 0 and 1") from error
        known = Facts(facts.fps, len(rows), facts.duration)
        videos[name] = video_of(name, segments, known, path=file, subset=subsets.get(file, ""))
        if facts.fps is None:
            warn_of_no_rate(f"{path}: {file}")
    found = set(sorted_labels(videos))
    return Annotations(BEHAVIOUR_VERSION, videos, tuple(name for name in names.values() if name in found))


def _segments(rows: Any, names: dict[str, str], facts: Facts) -> list[GroundTruth]:
    if not isinstance(rows, list):
        raise TypeError
    if rows and isinstance(rows[0], list):
        return [
            framed(name, first, last, facts)
            for place, name in enumerate(names[str(number)] for number in range(len(rows[0])))
            for first, last, state in runs([row[place] for row in rows])
            if state == 1
        ]
    return [
        framed(names[str(number)], first, last, facts)
        for first, last, number in runs(rows)
        if names[str(number)].lower() != BACKGROUND
    ]
