"""ActivityNet-style JSON, used by THUMOS14, MultiTHUMOS, ActivityNet, HACS and custom data.

`{"version", "database": {VIDEO: {"subset", "duration", "fps"?, "annotations": [{"label", "segment": [start, end]}]}}}`,
in seconds; a video without subset is a training video. HACS writes durations as strings; test sets have no list of
annotations. Files with DETAD's characteristics have no durations; they follow from the length and coverage of each
annotation. An unknown duration is the end of the last segment. A top-level list `labels` gives the order of the labels.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation
from tal_cli.datasets.formats.values import DEFAULT_SUBSET, How, finite, last_end
from tal_cli.extractors.errors import AnnotationError
from tal_cli.extractors.files.json_files import parse_json

NAME = "ActivityNet-style JSON"


def recognises(head: str) -> bool:
    """Whether the file begins like a JSON object."""
    return head.startswith("{")


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file.

    Raises:
        AnnotationError: invalid content; the message names the video.
    """
    content = parse_json(path, text)
    database = content.get("database")
    if database is None and "results" in content:
        remedy = "`tal datasets convert RESULTS OUT.json` takes their segments as annotations"
        raise AnnotationError(path, "not an annotation file: it holds results", remedy)
    if not isinstance(database, dict):
        raise AnnotationError(path, 'not an annotation file: expected {"database": {VIDEO: ...}} at the top')
    reader = _Reader(path, how.label_key)
    videos = {name: reader.video(name, entry) for name, entry in database.items()}
    labels, unlisted = reader.labels(content.get("labels"))
    return Annotations(str(content.get("version", "")), videos, labels, unlisted)


class _Reader:
    """Validates the entries of one file and collects its labels."""

    def __init__(self, path: str | Path, label_key: str) -> None:
        self._path = path
        self._label_key = label_key
        self._ids: dict[str, set[int | None]] = {}
        self._plain: dict[str, None] = {}  # labels from the entry `label`: a list of labels contains those

    def labels(self, listed: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Labels in the order of the file's list if it is complete, else by id, else alphabetically; and the labels
        missing from the list."""
        if not isinstance(listed, list) or not listed or not all(isinstance(label, str) for label in listed):
            return self._ordered(), ()
        named = dict.fromkeys(listed)
        whole = self._ids.keys() <= named.keys()
        return tuple(named) if whole else self._ordered(), tuple(label for label in self._plain if label not in named)

    def _ordered(self) -> tuple[str, ...]:
        ids = {label: next(iter(found)) for label, found in self._ids.items() if len(found) == 1}
        numbered = {label: index for label, index in ids.items() if index is not None}
        if len(numbered) == len(self._ids) == len(set(numbered.values())):
            return tuple(sorted(numbered, key=numbered.__getitem__))
        return tuple(sorted(self._ids))

    def video(self, name: str, entry: Any) -> VideoAnnotation:
        if not isinstance(entry, dict):
            raise self._error(name, "expected an object")
        subset = entry.get("subset", DEFAULT_SUBSET)
        if not isinstance(subset, str) or not subset:
            raise self._error(name, "no subset")
        told = _duration(entry)
        duration = None if told is None else self._number(name, "duration", told)
        fps = self._number(name, "fps", entry["fps"]) if entry.get("fps") is not None else None
        if duration is not None and duration < 0:
            raise self._error(name, "a negative duration")
        if fps is not None and fps <= 0:
            raise self._error(name, "fps is not above zero")
        items = entry.get("annotations") or []
        if not isinstance(items, list):
            raise self._error(name, "annotations are not a list")
        segments = tuple(self._segment(name, index, item) for index, item in enumerate(items))
        return VideoAnnotation(
            name, subset.lower(), last_end(segments) if duration is None else duration, fps, segments
        )

    def _segment(self, video: str, index: int, item: Any) -> GroundTruth:
        where = f"annotation {index + 1}"
        if not isinstance(item, dict):
            raise self._error(video, f"{where}: expected an object")
        key = self._label_key if self._label_key in item else "label"
        label = item.get(key)
        if isinstance(label, int) and not isinstance(label, bool):
            label = str(label)
        if not isinstance(label, str) or not label:
            raise self._error(video, f"{where}: no {self._label_key}")
        bounds = item.get("segment")
        if not isinstance(bounds, list) or len(bounds) != 2:
            raise self._error(video, f"{where}: segment is not [start, end]")
        start, end = (self._number(video, f"{where}: segment", bound) for bound in bounds)
        if key == "label":
            self._plain[label] = None
        identity = item.get(f"{key}_id")
        self._ids.setdefault(label, set()).add(identity if isinstance(identity, int) else None)
        return GroundTruth(label, start, end)

    def _number(self, video: str, what: str, value: Any) -> float:
        number = finite(value)
        if value is None:
            raise self._error(video, f"no {what}")
        if number is None:
            raise self._error(video, f"{what} is not a number: {value!r}"[:200])
        return number

    def _error(self, video: str, reason: str) -> AnnotationError:
        return AnnotationError(self._path, f"video {video}: {reason}")


def _duration(entry: dict[str, Any]) -> Any:
    """The duration of a video, or length / coverage of one of its annotations."""
    items = entry.get("annotations")
    if entry.get("duration") is not None or not isinstance(items, list):
        return entry.get("duration")
    for item in items:
        length, coverage = (finite(item.get(key)) if isinstance(item, dict) else None for key in ("length", "coverage"))
        if length and coverage:
            return length / coverage
    return None
