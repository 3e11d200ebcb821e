"""Helpers of annotation readers: validated numbers, and videos collected from single segments."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, count, pairwise
from pathlib import Path, PurePosixPath
from typing import Any

from tal_cli import console
from tal_cli.datasets.annotations import STATE, Edges, GroundTruth, Ranges, VideoAnnotation
from tal_cli.inputs import VIDEO_SUFFIXES

BEHAVIOUR_VERSION = "tal 1"
DEFAULT_SUBSET = "training"
CLOCK_PARTS = 3
SUBJECTS, LABELS = "subject", "label"


@dataclass(frozen=True)
class Facts:
    """What is known of a video file: frames per second, frames, seconds, and how to find when each frame is shown."""

    fps: float | None = None
    frames: int | None = None
    duration: float | None = None
    edges: Edges | None = None

    def at(self, frame: int) -> float:
        """When a frame is shown, seconds; the number after the last frame's is the end. nan: the rate is not known."""
        if self.edges is not None and frame < len(edges := self.edges()):
            return edges[frame]
        return frame / self.fps if self.fps else math.nan


@dataclass(frozen=True)
class How:
    """Options of a reader.

    Attributes:
        label_key: entry of an annotation that is its label, if there are several.
        fps: frame rate of frame numbers, if the file does not contain it.
        label_attribute: attribute of CVAT's tracks that is the label.
        facts: what is known of video files, by stem, or by path without suffix where files have the same stem.
        tiers: whether tiers of a TextGrid are `subject`s, or `label`s.
    """

    label_key: str = "label"
    fps: float | None = None
    label_attribute: str | None = None
    facts: Mapping[str, Facts] = field(default_factory=dict)
    tiers: str = SUBJECTS

    def facts_of(self, video: str) -> Facts:
        """What is known of a video, the given frame rate first."""
        known = facts_in(self.facts, video) or Facts()
        return known if self.fps is None else Facts(self.fps, known.frames, known.duration)


def facts_in(facts: Mapping[str, Facts], video: str) -> Facts | None:
    """What is known of a video, by its path without suffix, else by its stem."""
    return facts.get(without_suffix(video)) or facts.get(stem(video))


@dataclass(frozen=True)
class Entry:
    """One segment of a file, with the properties of its video. No label: a video without segments."""

    video: str
    label: str | None
    start: float
    end: float
    subset: str | None = None
    duration: float | None = None
    fps: float | None = None
    kind: str = STATE
    subject: str | None = None
    comment: str = ""
    score: float | None = None


def finite(value: Any) -> float | None:
    """A finite number, or one in a string, as float; None for anything else."""
    try:
        # Python reads 1_0 as 10.
        number = math.nan if isinstance(value, bool) or "_" in str(value) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def seconds(text: str) -> float | None:
    """Seconds from `12.5`, `1:02.5` or `00:01:02.50`; None for anything else."""
    parts = text.strip().split(":")
    numbers = [finite(part) for part in parts]
    if not 1 <= len(parts) <= CLOCK_PARTS or any(number is None for number in numbers):
        return None
    if any(number is None or not 0 <= number < 60 for number in numbers[1:]):  # of a clock: minutes, seconds
        return None
    total = 0.0
    for number in numbers:
        total = 60 * total + (number or 0.0)
    return total


def is_video(name: str) -> bool:
    """Whether a name has the suffix of a video file."""
    return PurePosixPath(name).suffix.lower() in VIDEO_SUFFIXES


def stem(path: str) -> str:
    """A video's name without folder and suffix, as in features and predictions."""
    return without_suffix(path).rsplit("/", 1)[-1]


def named_after(path: Path, *endings: str) -> str:
    """The name that a file gives to its video: its own without `.gz`, suffix and these endings, in Unicode."""
    name = path.name.encode("utf-8", "backslashreplace").decode().removesuffix(".gz")
    name = name.rpartition(".")[0] or name
    for ending in endings:
        name = name.removesuffix(ending)
    return name


def without_suffix(path: str) -> str:
    """A path with slashes, without the suffix of a video file."""
    path = path.replace("\\", "/")
    return path.rsplit(".", 1)[0] if is_video(path) else path


def names_of(paths: Sequence[str]) -> list[str]:
    """Names of video files: their stems, with their folders if some have the same stem."""
    stems = [stem(path) for path in paths]
    return stems if len(set(stems)) == len(set(paths)) else [without_suffix(path) for path in paths]


def unused(name: str, observation: str, taken: Collection[str]) -> str:
    """A name for a further observation of a video."""
    if name not in taken:
        return name
    tried = f"{name} ({observation})"
    return next(each for each in chain([tried], (f"{tried} {n}" for n in count(2))) if each not in taken)


def framed(label: str, first: int, last: int, facts: Facts, subject: str | None = None) -> GroundTruth:
    """An instance of frames, both of which it holds; its times are nan where the frame rate is unknown."""
    return GroundTruth(label, facts.at(first), facts.at(last + 1), subject=subject, frames=(first, last))


def video_of(
    name: str, segments: Iterable[GroundTruth], facts: Facts | None = None, *, path: str = "", subset: str = "",
    observation: str = "", reviewed: Ranges | None = None, suggestions: Iterable[GroundTruth] = (),
    interval: tuple[float, float] | None = None,
) -> VideoAnnotation:  # fmt: skip
    """A video with its instances in order of time. What is not known of it follows from the rest."""
    facts = facts or Facts()
    ordered = tuple(sorted(segments, key=lambda item: (math.isnan(item.start), item.start)))
    duration = facts.duration or (facts.frames / facts.fps if facts.frames and facts.fps else last_end(ordered))
    return VideoAnnotation(
        name, subset or DEFAULT_SUBSET, duration, facts.fps, ordered, reviewed=reviewed, frames=facts.frames,
        path=path, observation=observation, suggestions=tuple(suggestions), interval=interval,
    )  # fmt: skip


def warn_of_no_rate(place: object) -> None:
    """Say that what is in a file, or in one video of it, has no times."""
    remedy = "`tal datasets convert` gives them, with --fps X or --videos DIR"
    console.warn(f"{place}: frames without a frame rate have no times; {remedy}")


def runs(values: Sequence[object]) -> list[tuple[int, int, object]]:
    """First and last index of each run of equal values, and the value."""
    edges = [0, *(n for n in range(1, len(values)) if values[n] != values[n - 1]), len(values)]
    return [(first, end - 1, values[first]) for first, end in pairwise(edges) if end > first]


def gather(entries: Iterable[Entry]) -> dict[str, VideoAnnotation]:
    """Videos from their segments, in order of first occurrence.

    Defaults: the subset is `training`, the duration is the end of the last segment.
    """
    by_video: dict[str, list[Entry]] = {}
    for entry in entries:
        by_video.setdefault(entry.video, []).append(entry)
    return {name: _video(name, items) for name, items in by_video.items()}


def _video(name: str, items: list[Entry]) -> VideoAnnotation:
    segments = tuple(
        GroundTruth(i.label, i.start, i.end, i.kind, i.subject, comment=i.comment, score=i.score)
        for i in items
        if i.label is not None
    )
    duration = next((item.duration for item in items if item.duration is not None), last_end(segments))
    subset = next((item.subset for item in items if item.subset), DEFAULT_SUBSET)
    fps = next((item.fps for item in items if item.fps), None)
    return VideoAnnotation(name, subset.lower(), duration, fps, segments)


def last_end(segments: Iterable[GroundTruth], reviewed: Ranges | None = None) -> float:
    """End of the last segment or reviewed range in seconds; replaces an unknown duration."""
    ends = [max(item.start, item.end) for item in segments if not math.isnan(item.start)]
    return max((0.0, *ends, *(end for _, end in reviewed or ())))


def sorted_labels(videos: dict[str, VideoAnnotation]) -> tuple[str, ...]:
    """All labels that occur, in alphabetical order."""
    return tuple(sorted({item.label for video in videos.values() for item in video.segments}))
