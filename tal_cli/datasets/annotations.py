"""Ground truth in memory, independent of the file format (`tal_cli.datasets.formats` reads files).

It is written as ActivityNet-style JSON,
`{"version", "database": {VIDEO: {"subset", "duration", "fps"?, "annotations": [{"label", "segment": [start, end]}]}}}`,
with more keys where there is more to say: see `docs/how-to/own-data.md`.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from tal_cli.extractors.errors import AnnotationError
from tal_cli.extractors.files.atomic import write_atomically

ALL_SUBSETS = "all"
TRAINING_NAMES = ("training", "train")
VALIDATION_NAMES = ("validation", "val", "valid")
TEST_NAMES = ("test", "testing")


STATE, POINT = "state", "point"
DECIMALS = 6  # of seconds as they are written: far below a frame
PENDING, REJECTED, ACCEPTED, CORRECTED = "pending", "rejected", "accepted", "corrected"
UNDECIDED = (PENDING, REJECTED)  # statuses of suggestions that are no annotations

Ranges = tuple[tuple[float, float], ...]  # seconds, in rising order, without overlap
Edges = Callable[[], Sequence[float]]  # seconds at which each frame is first shown, and at which the last one ends


@dataclass(frozen=True)
class GroundTruth:
    """One annotated instance, in seconds, as in the file: some published ones are empty or end before they start.

    Attributes:
        label, start, end: times are nan where the file has image numbers only.
        kind: `state`, or `point`, whose end is its start.
        subject: who does it; None where none was chosen.
        modifiers: the values chosen of each of the label's sets of modifiers, in the order of the sets.
        comment, comment_end: at the start and at the end.
        source: `person`, `model`, or what the file says.
        score: of the model, in [0, 1].
        status: `accepted` or `corrected` for a former suggestion; `pending` or `rejected` ones are `suggestions`.
        id, by, at: identifier, author, and time of writing in ISO form.
        frames: first and last frame, row or image in the file's own count, which nothing relies on.
        part: (i, n) for the i-th of n pieces of an instance that runs on over several videos.
    """

    label: str
    start: float
    end: float
    kind: str = STATE
    subject: str | None = None
    modifiers: tuple[tuple[str, ...], ...] = ()
    comment: str = ""
    comment_end: str = ""
    source: str = ""
    score: float | None = None
    status: str = ""
    id: str = ""
    by: str = ""
    at: str = ""
    frames: tuple[int | None, int | None] | None = None
    part: tuple[int, int] | None = None


@dataclass(frozen=True)
class VideoAnnotation:
    """One video: its subset in lower case, its duration in seconds and, if the file contains it, its frame rate.

    Attributes:
        segments: the instances.
        reviewed: what a person has looked at, in seconds; None: all of it. Elsewhere nothing is known.
        reviewed_labels: the same for single labels, where it differs.
        frames: number of frames.
        path: the video file as the annotation file names it.
        observation: name of the session in the source; one video may have several, which have names of their own.
        suggestions: what a model proposed and is not accepted yet.
        interval: what was to be observed, seconds on the clock of the observation, of which an end of 0 is the last;
            None: all.
        edges: finds when each frame is shown, where the video file is at hand.
    """

    name: str
    subset: str
    duration: float
    fps: float | None
    segments: tuple[GroundTruth, ...]
    reviewed: Ranges | None = None
    reviewed_labels: tuple[tuple[str, Ranges | None], ...] = ()
    frames: int | None = None
    path: str = ""
    observation: str = ""
    suggestions: tuple[GroundTruth, ...] = ()
    interval: tuple[float, float] | None = None
    edges: Edges | None = field(default=None, compare=False, repr=False)

    def reviewed_of(self, label: str) -> Ranges | None:
        """Where a label is settled, in seconds; None: everywhere."""
        return dict(self.reviewed_labels).get(label, self.reviewed)

    @property
    def settled(self) -> tuple[GroundTruth, ...]:
        """The instances that can be learned and counted: decided, with times, and partly inside what was reviewed."""
        return tuple(
            item
            for item in self.segments
            if item.status not in UNDECIDED
            and not math.isnan(item.start)
            and touches(self.reviewed_of(item.label), item.start, item.end)
        )

    @property
    def is_unseen(self) -> bool:
        """Whether nothing of the video was reviewed, for any label."""
        return self.reviewed == () and not any(ranges != () for _, ranges in self.reviewed_labels)


@dataclass(frozen=True)
class ModifierSet:
    """Modifiers of a label: `one` of its values, `several` of them, a `number`, or a value of `external` data."""

    name: str
    kind: str = "one"
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class LabelDefinition:
    """What a label is.

    Attributes:
        name, kind: kind is `state` or `point`.
        key: keyboard key that sets it.
        group: labels of a group exclude one another.
        color: `#RRGGBB`.
        modifiers: its sets of modifiers.
        category: the ethogram's category.
        excludes: further labels that it ends.
    """

    name: str
    kind: str = STATE
    key: str = ""
    group: str = ""
    color: str = ""
    modifiers: tuple[ModifierSet, ...] = ()
    category: str = ""
    excludes: tuple[str, ...] = ()


def touches(ranges: Ranges | None, start: float, end: float) -> bool:
    """Whether an instance lies at least partly inside ranges (None: everywhere); times in seconds."""
    return ranges is None or any(
        (first < end and start < last) or first <= start == end < last for first, last in ranges
    )


def joined(parts: Iterable[tuple[float, float]]) -> Ranges:
    """Any ranges in rising order, joined where they overlap or touch, without empty ones."""
    done: list[tuple[float, float]] = []
    for start, end in sorted(parts):
        if done and start <= done[-1][1]:
            done[-1] = (done[-1][0], max(done[-1][1], end))
        elif end > start:
            done.append((start, end))
    return tuple(done)


def ranges_of(parts: Iterable[tuple[float, float]]) -> Ranges:
    """The ranges that a file has as `reviewed`. Raises ValueError for one without duration."""
    told = list(parts)
    for start, end in told:
        if end <= start:
            how = "is empty" if start == end else "ends before it starts"
            raise ValueError(f"reviewed: [{start:g}, {end:g}] {how}; write [start, end] in seconds")
    return joined(told)


def common(first: Ranges | None, second: Ranges | None) -> Ranges | None:
    """What is in both of two sets of ranges; None is everything."""
    if first is None or second is None:
        return second if first is None else first
    both = ((max(a, c), min(b, d)) for a, b in first for c, d in second)
    return tuple(sorted((start, end) for start, end in both if start < end))


@dataclass(frozen=True)
class Annotations:
    """A data set's ground truth.

    Attributes:
        version: version string of the file.
        videos: videos by name, in file order.
        labels: all labels that occur, ordered by the file's ids if they are consistent, else alphabetically; if the
            data set has a list of classes, all of them in its order.
        unlisted: labels that occur but are not in the file's own list of labels.
        definitions: what the file says of its labels; may be empty.
        subjects: the file's list of subjects; may be empty.
    """

    version: str
    videos: dict[str, VideoAnnotation]
    labels: tuple[str, ...]
    unlisted: tuple[str, ...] = ()
    definitions: tuple[LabelDefinition, ...] = ()
    subjects: tuple[str, ...] = ()

    @property
    def subsets(self) -> dict[str, int]:
        """Number of videos in each subset."""
        counts: dict[str, int] = {}
        for video in self.videos.values():
            counts[video.subset] = counts.get(video.subset, 0) + 1
        return counts

    def with_one_label(self, label: str) -> Annotations:
        """The same instances, all with one label, which is settled where all labels are."""
        videos = {
            name: replace(
                video,
                segments=tuple(replace(item, label=label) for item in video.segments),
                reviewed=functools.reduce(common, (ranges for _, ranges in video.reviewed_labels), video.reviewed),
                reviewed_labels=(),
            )
            for name, video in self.videos.items()
        }
        return replace(self, videos=videos, labels=(label,))

    def settled(self) -> Annotations:
        """What can be learned and counted: videos of which something was reviewed, with their settled instances."""
        videos = {
            name: replace(video, segments=video.settled) for name, video in self.videos.items() if not video.is_unseen
        }
        return replace(self, videos=videos)

    def rounded(self) -> Annotations:
        """The annotations with their seconds as they are written: short numbers, of which frames are found again."""
        videos = {
            name: replace(
                video,
                duration=round(video.duration, DECIMALS),
                segments=tuple(map(_rounded, video.segments)),
                suggestions=tuple(map(_rounded, video.suggestions)),
                reviewed=_rounded_ranges(video.reviewed),
                reviewed_labels=tuple((label, _rounded_ranges(ranges)) for label, ranges in video.reviewed_labels),
            )
            for name, video in self.videos.items()
        }
        return replace(self, videos=videos)

    def of(self, subset: str) -> list[VideoAnnotation]:
        """Videos of a subset, in file order; all videos for `all`."""
        return [video for video in self.videos.values() if subset in (video.subset, ALL_SUBSETS)]


def _rounded(item: GroundTruth) -> GroundTruth:
    return replace(item, start=round(item.start, DECIMALS), end=round(item.end, DECIMALS))


def _rounded_ranges(ranges: Ranges | None) -> Ranges | None:
    return None if ranges is None else tuple((round(a, DECIMALS), round(b, DECIMALS)) for a, b in ranges)


def save_annotations(annotations: Annotations, path: str | Path) -> None:
    """Write an annotation file atomically; `load_annotations` reads an equal value back, to the microsecond."""
    text = json.dumps(annotations_json(annotations), ensure_ascii=False, indent=1)
    write_atomically(Path(path), (text + "\n").encode("utf-8", "backslashreplace"))


def annotations_json(annotations: Annotations) -> dict[str, Any]:
    """The JSON document of annotations; what is as usual (see the attributes' defaults) has no key."""
    annotations = annotations.rounded()
    ids = {label: index for index, label in enumerate(annotations.labels)}
    document: dict[str, Any] = {"version": annotations.version}
    if annotations.definitions:
        document["labels"] = [_said(item) for item in annotations.definitions]
    elif len({item.label for video in annotations.videos.values() for item in video.segments}) < len(ids):
        document["labels"] = list(annotations.labels)
    if annotations.subjects:
        document["subjects"] = annotations.subjects
    document["database"] = {video.name: _video_json(video, ids) for video in annotations.videos.values()}
    return document


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
    entry: dict[str, Any] = {"path": video.path} if video.path else {}
    entry |= {"subset": video.subset, "duration": video.duration}
    for key in ("fps", "frames", "observation", "interval", "reviewed"):
        if (value := getattr(video, key)) not in (None, ""):
            entry[key] = value
    if video.reviewed_labels:
        entry["reviewed_labels"] = dict(video.reviewed_labels)
    entry["annotations"] = [_instance(item, ids) for item in video.segments]
    if video.suggestions:
        entry["suggestions"] = [_instance(item, {}) for item in video.suggestions]
    return entry


def _instance(item: GroundTruth, ids: dict[str, int]) -> dict[str, Any]:
    said = _said(item)
    bounds = [None if math.isnan(bound) else bound for bound in (said.pop("start"), said.pop("end"))]
    label = {"label": said.pop("label")} | ({"label_id": ids[item.label]} if item.label in ids else {})
    return {**label, "segment": bounds, **said}


def _said(item: GroundTruth | LabelDefinition) -> dict[str, Any]:
    """The attributes without those that have their defaults."""
    usual = {field.name: field.default for field in fields(item)}
    return {key: value for key, value in asdict(item).items() if value != usual[key]}
