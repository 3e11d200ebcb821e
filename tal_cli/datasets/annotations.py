"""Ground truth in memory, independent of the file format (`tal_cli.datasets.formats` reads files).

It is written as ActivityNet-style JSON,
`{"version", "database": {VIDEO: {"subset", "duration", "fps"?, "annotations": [{"label", "segment": [start, end]}]}}}`.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tal_cli.extractors.errors import AnnotationError
from tal_cli.extractors.files.atomic import write_atomically

ALL_SUBSETS = "all"
TRAINING_NAMES = ("training", "train")
VALIDATION_NAMES = ("validation", "val", "valid")
TEST_NAMES = ("test", "testing")


@dataclass(frozen=True)
class GroundTruth:
    """One annotated instance, in seconds, as in the file: some published ones are empty or end before they start."""

    label: str
    start: float
    end: float


@dataclass(frozen=True)
class VideoAnnotation:
    """One video: its subset in lower case, its duration in seconds and, if the file contains it, its frame rate."""

    name: str
    subset: str
    duration: float
    fps: float | None
    segments: tuple[GroundTruth, ...]


@dataclass(frozen=True)
class Annotations:
    """A data set's ground truth.

    Attributes:
        version: version string of the file.
        videos: videos by name, in file order.
        labels: all labels that occur, ordered by the file's ids if they are consistent, else alphabetically; if the
            data set has a list of classes, all of them in its order.
        unlisted: labels that occur but are not in the file's own list of labels.
    """

    version: str
    videos: dict[str, VideoAnnotation]
    labels: tuple[str, ...]
    unlisted: tuple[str, ...] = ()

    @property
    def subsets(self) -> dict[str, int]:
        """Number of videos in each subset."""
        counts: dict[str, int] = {}
        for video in self.videos.values():
            counts[video.subset] = counts.get(video.subset, 0) + 1
        return counts

    def with_one_label(self, label: str) -> Annotations:
        """The same instances, all with one label."""
        videos = {
            name: replace(video, segments=tuple(replace(item, label=label) for item in video.segments))
            for name, video in self.videos.items()
        }
        return replace(self, videos=videos, labels=(label,))

    def of(self, subset: str) -> list[VideoAnnotation]:
        """Videos of a subset, in file order; all videos for `all`."""
        return [video for video in self.videos.values() if subset in (video.subset, ALL_SUBSETS)]


def save_annotations(annotations: Annotations, path: str | Path) -> None:
    """Write an annotation file atomically; `load_annotations` reads an equal value back."""
    ids = {label: index for index, label in enumerate(annotations.labels)}
    database = {video.name: _video_json(video, ids) for video in annotations.videos.values()}
    document: dict[str, Any] = {"version": annotations.version, "database": database}
    if len({item.label for video in annotations.videos.values() for item in video.segments}) < len(ids):
        document["labels"] = list(annotations.labels)
    write_atomically(Path(path), (json.dumps(document, ensure_ascii=False, indent=1) + "\n").encode())


def split_names(annotations: Annotations, path: str | Path) -> tuple[str, str | None]:
    """The subsets to train on and to evaluate on, by their conventional names; the second may be None.

    With a subset `training`, evaluation is on `validation`, else on `test`; without one, it is on `validation`, as
    in THUMOS14. Only subsets with instances count: hidden test sets have none.

    Raises:
        AnnotationError: no subset with a conventional name has instances.
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
