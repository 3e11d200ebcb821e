"""What readers of annotation files share: numbers that are numbers, and videos gathered from single segments."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tal_cli.datasets.annotations import GroundTruth, VideoAnnotation

DEFAULT_SUBSET = "training"
CLOCK_PARTS = 3


@dataclass(frozen=True)
class How:
    """What a reader is told about a file.

    Attributes:
        label_key: which entry of an annotation is its label, where there are several.
        fps: the rate of frame numbers, where the file does not tell it.
    """

    label_key: str = "label"
    fps: float | None = None


@dataclass(frozen=True)
class Entry:
    """One segment as a file has it: its video, and what the file says of that. No label: a video without segments."""

    video: str
    label: str | None
    start: float
    end: float
    subset: str | None = None
    duration: float | None = None
    fps: float | None = None


def finite(value: Any) -> float | None:
    """A number as float, also one in a string; None for anything else and for what is not finite."""
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


def seconds(text: str) -> float | None:
    """Seconds from `12.5`, `1:02.5` or `00:01:02.50`; None for anything else."""
    parts = text.strip().split(":")
    numbers = [finite(part) for part in parts]
    if not 1 <= len(parts) <= CLOCK_PARTS or any(number is None for number in numbers):
        return None
    total = 0.0
    for number in numbers:
        total = 60 * total + (number or 0.0)
    return total


def gather(entries: Iterable[Entry]) -> dict[str, VideoAnnotation]:
    """Videos from their segments, in the order in which they first occur.

    What the file does not say: the subset is `training`, the duration is that of the last segment's end.
    """
    by_video: dict[str, list[Entry]] = {}
    for entry in entries:
        by_video.setdefault(entry.video, []).append(entry)
    return {name: _video(name, items) for name, items in by_video.items()}


def _video(name: str, items: list[Entry]) -> VideoAnnotation:
    segments = tuple(GroundTruth(item.label, item.start, item.end) for item in items if item.label is not None)
    duration = next((item.duration for item in items if item.duration is not None), last_end(segments))
    subset = next((item.subset for item in items if item.subset), DEFAULT_SUBSET)
    fps = next((item.fps for item in items if item.fps), None)
    return VideoAnnotation(name, subset.lower(), duration, fps, segments)


def last_end(segments: Iterable[GroundTruth]) -> float:
    """Where the last segment ends, seconds; what stands for a duration that nothing tells."""
    return max((0.0, *(max(item.start, item.end) for item in segments)))


def sorted_labels(videos: dict[str, VideoAnnotation]) -> tuple[str, ...]:
    """Every label that occurs, in alphabetical order."""
    return tuple(sorted({item.label for video in videos.values() for item in video.segments}))
