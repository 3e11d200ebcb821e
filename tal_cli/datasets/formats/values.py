"""Helpers of annotation readers: validated numbers, and videos collected from single segments."""

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
    """Options of a reader.

    Attributes:
        label_key: entry of an annotation that is its label, if there are several.
        fps: frame rate of frame numbers, if the file does not contain it.
    """

    label_key: str = "label"
    fps: float | None = None


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


def gather(entries: Iterable[Entry]) -> dict[str, VideoAnnotation]:
    """Videos from their segments, in order of first occurrence.

    Defaults: the subset is `training`, the duration is the end of the last segment.
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
    """End of the last segment in seconds; replaces an unknown duration."""
    return max((0.0, *(max(item.start, item.end) for item in segments if not math.isnan(item.start))))


def sorted_labels(videos: dict[str, VideoAnnotation]) -> tuple[str, ...]:
    """All labels that occur, in alphabetical order."""
    return tuple(sorted({item.label for video in videos.values() for item in video.segments}))
