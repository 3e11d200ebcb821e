"""Ground truth: ActivityNet-style JSON, as THUMOS14, MultiTHUMOS, ActivityNet, HACS and people's own data have it.

`{"version", "database": {VIDEO: {"subset", "duration", "fps"?, "annotations": [{"label", "segment": [start, end]}]}}}`,
seconds. HACS writes durations as strings; files without annotations (test sets) leave the list out.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tal_cli.datasets.json_files import read_json
from tal_cli.errors import InputProblem
from tal_cli.output.files import write_atomically

ALL_SUBSETS = "all"
TRAINING_NAMES = ("training", "train")
VALIDATION_NAMES = ("validation", "val", "valid")
TEST_NAMES = ("test", "testing")


class AnnotationError(InputProblem):
    """An annotation file that cannot be understood; the message names the file and the video."""


@dataclass(frozen=True)
class GroundTruth:
    """One annotated instance, seconds. As in the file: some published ones have no length or end before they start."""

    label: str
    start: float
    end: float


@dataclass(frozen=True)
class VideoAnnotation:
    """One video: its subset in lower case, its duration in seconds and, where the file tells, its frames per second."""

    name: str
    subset: str
    duration: float
    fps: float | None
    segments: tuple[GroundTruth, ...]


@dataclass(frozen=True)
class Annotations:
    """A data set's ground truth.

    Attributes:
        version: as the file has it.
        videos: by name, in file order.
        labels: every label that occurs, by the file's ids where it has consistent ones, else in alphabetical order.
    """

    version: str
    videos: dict[str, VideoAnnotation]
    labels: tuple[str, ...]

    @property
    def subsets(self) -> dict[str, int]:
        """Names of the subsets and how many videos each has."""
        counts: dict[str, int] = {}
        for video in self.videos.values():
            counts[video.subset] = counts.get(video.subset, 0) + 1
        return counts

    def of(self, subset: str) -> list[VideoAnnotation]:
        """The videos of a subset, in file order; those of every subset for `all`."""
        return [video for video in self.videos.values() if subset in (video.subset, ALL_SUBSETS)]


def load_annotations(path: str | Path, label_key: str = "label") -> Annotations:
    """Read an annotation file, gzipped or not.

    Args:
        path: the file.
        label_key: which entry of an annotation is its label; EPIC-KITCHENS files have `verb`, `verb_id` and others.

    Raises:
        AnnotationError: the file is not such a file; the message names the video that is wrong.
    """
    content = read_json(path)
    database = content.get("database") if isinstance(content, dict) else None
    if not isinstance(database, dict):
        raise AnnotationError(path, 'not an annotation file: expected {"database": {VIDEO: ...}} at the top')
    reader = _Reader(path, label_key)
    videos = {name: reader.video(name, entry) for name, entry in database.items()}
    return Annotations(str(content.get("version", "")), videos, reader.labels())


def save_annotations(annotations: Annotations, path: str | Path) -> None:
    """Write an annotation file that `load_annotations` reads back to an equal value; it appears whole or not at all."""
    ids = {label: index for index, label in enumerate(annotations.labels)}
    database = {video.name: _video_json(video, ids) for video in annotations.videos.values()}
    document = {"version": annotations.version, "database": database}
    write_atomically(Path(path), (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode())


def split_names(annotations: Annotations, path: str | Path) -> tuple[str, str | None]:
    """The subsets to train on and to evaluate on, by their usual names; the second may be absent.

    A file with `training` has its evaluation in `validation`, else in `test`; one without trains on `validation`, as
    THUMOS14 does. Only subsets with instances count: those of hidden test sets have none.

    Raises:
        AnnotationError: no subset of a usual name has instances.
    """
    filled = {video.subset for video in annotations.videos.values() if video.segments}
    order = [name for name in (*TRAINING_NAMES, *VALIDATION_NAMES, *TEST_NAMES) if name in filled]
    if not order:
        found = ", ".join(annotations.subsets) or "none"
        raise AnnotationError(
            path, f"no subset to train on: expected training or validation with instances, found {found}"
        )
    kinds = [names for names in (TRAINING_NAMES, VALIDATION_NAMES, TEST_NAMES) if order[0] not in names]
    return order[0], next((name for name in order[1:] for names in kinds if name in names), None)


def _video_json(video: VideoAnnotation, ids: dict[str, int]) -> dict[str, Any]:
    entry: dict[str, Any] = {"subset": video.subset, "duration": video.duration}
    if video.fps is not None:
        entry["fps"] = video.fps
    entry["annotations"] = [
        {"label": item.label, "label_id": ids[item.label], "segment": [item.start, item.end]} for item in video.segments
    ]
    return entry


class _Reader:
    """Checks one file's entries and collects its labels."""

    def __init__(self, path: str | Path, label_key: str) -> None:
        self._path = path
        self._label_key = label_key
        self._ids: dict[str, set[int | None]] = {}

    def labels(self) -> tuple[str, ...]:
        ids = {label: next(iter(found)) for label, found in self._ids.items() if len(found) == 1}
        numbered = {label: index for label, index in ids.items() if index is not None}
        if len(numbered) == len(self._ids) == len(set(numbered.values())):
            return tuple(sorted(numbered, key=numbered.__getitem__))
        return tuple(sorted(self._ids))

    def video(self, name: str, entry: Any) -> VideoAnnotation:
        if not isinstance(entry, dict):
            raise self._error(name, "expected an object")
        subset = entry.get("subset")
        if not isinstance(subset, str) or not subset:
            raise self._error(name, "no subset")
        duration = self._number(name, "duration", entry.get("duration"))
        fps = self._number(name, "fps", entry["fps"]) if entry.get("fps") is not None else None
        if duration < 0 or (fps is not None and fps <= 0):
            raise self._error(name, "a negative duration" if duration < 0 else "fps is not above zero")
        items = entry.get("annotations") or []
        if not isinstance(items, list):
            raise self._error(name, "annotations are not a list")
        segments = tuple(self._segment(name, index, item) for index, item in enumerate(items))
        return VideoAnnotation(name, subset.lower(), duration, fps, segments)

    def _segment(self, video: str, index: int, item: Any) -> GroundTruth:
        where = f"annotation {index + 1}"
        if not isinstance(item, dict):
            raise self._error(video, f"{where}: expected an object")
        label = item.get(self._label_key)
        if isinstance(label, int) and not isinstance(label, bool):
            label = str(label)
        if not isinstance(label, str) or not label:
            raise self._error(video, f"{where}: no {self._label_key}")
        bounds = item.get("segment")
        if not isinstance(bounds, list) or len(bounds) != 2:
            raise self._error(video, f"{where}: segment is not [start, end]")
        start, end = (self._number(video, f"{where}: segment", bound) for bound in bounds)
        identity = item.get(f"{self._label_key}_id")
        self._ids.setdefault(label, set()).add(identity if isinstance(identity, int) else None)
        return GroundTruth(label, start, end)

    def _number(self, video: str, what: str, value: Any) -> float:
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = math.nan
        if not math.isfinite(number):
            raise self._error(video, f"{what} is not a number: {value!r}"[:200])
        return number

    def _error(self, video: str, reason: str) -> AnnotationError:
        return AnnotationError(self._path, f"video {video}: {reason}")
