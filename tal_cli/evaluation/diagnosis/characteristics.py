"""What instances are like: how much of their video they cover, how long they are, how many their video has.

The three that can be computed from any annotations, of those that Alwassel et al. (2018) analyse, in their buckets.
Their tool has one scale of buckets for ActivityNet and one for THUMOS14.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from tal_cli.datasets.annotations import GroundTruth, VideoAnnotation
from tal_cli.extractors.errors import UsageError

Ints = NDArray[np.int64]

# Boundaries are decimal numbers: which side of one an instance is on must not depend on a division's last bit.
DECIMALS = 9
SIZES = ("XS", "S", "M", "L", "XL")


@dataclass(frozen=True)
class Characteristic:
    """One characteristic and its buckets.

    Attributes:
        name: coverage, length or num-instances, as the published tool has it.
        title: for figures.
        edges: upper bounds of all buckets but the last, which has none; a bound belongs to the bucket below it.
        unit: of the edges.
    """

    name: str
    title: str
    edges: tuple[float, ...]
    unit: str

    @property
    def buckets(self) -> tuple[str, ...]:
        """Names of the buckets, from small to large."""
        return SIZES[: len(self.edges) + 1]

    @property
    def ranges(self) -> tuple[str, ...]:
        """What each bucket holds, as text."""
        bounds = [f"{edge:g}" for edge in self.edges]
        first, last = f"up to {bounds[0]}", f"above {bounds[-1]}"
        middle = [f"{low} to {high}" for low, high in pairwise(bounds)]
        return tuple(f"{text} {self.unit}".rstrip() for text in (first, *middle, last))


def _scale(
    coverage: Sequence[float], length: Sequence[float], instances: Sequence[float]
) -> tuple[Characteristic, ...]:
    return (
        Characteristic("coverage", "Coverage", tuple(coverage), "of the video"),
        Characteristic("length", "Length", tuple(length), "s"),
        Characteristic("num-instances", "# Instances", tuple(instances), "in the video"),
    )


SCALES = {
    "thumos": _scale((0.02, 0.04, 0.06, 0.08), (3, 6, 12, 18), (1, 40, 80)),
    "activitynet": _scale((0.2, 0.4, 0.6, 0.8), (30, 60, 120, 180), (1, 4, 8)),
}


@dataclass(frozen=True)
class Bucketed:
    """One characteristic of all instances: `bucket` is the bucket's number of each, [G] in file order."""

    characteristic: Characteristic
    bucket: Ints

    @property
    def counts(self) -> Ints:
        """Instances per bucket."""
        return np.bincount(self.bucket, minlength=len(self.characteristic.buckets))


def usable(videos: Sequence[VideoAnnotation]) -> list[VideoAnnotation]:
    """The videos that have instances, with those that the published tool analyses: no longer than the video, no shorter
    than nothing."""
    kept = [
        replace(video, segments=tuple(s for s in video.segments if s.start < s.end and _coverage(video, s) <= 1))
        for video in videos
    ]
    return [video for video in kept if video.segments]


def characterise(videos: Sequence[VideoAnnotation], counts: dict[str, int], scale: str) -> tuple[Bucketed, ...]:
    """Put the instances of these videos into buckets.

    Args:
        videos: as `usable` gives them.
        counts: how many instances each video has, those that are not usable included.
        scale: one of SCALES, or `auto`: the one under which the instances spread most evenly.

    Raises:
        UsageError: there is no such scale.
    """
    pairs = [(video, item) for video in videos for item in video.segments]
    values = (
        [_coverage(video, item) for video, item in pairs],
        [item.end - item.start for _, item in pairs],
        [float(counts[video.name]) for video, _ in pairs],
    )
    if scale != "auto" and scale not in SCALES:
        raise UsageError(f"no scale named {scale!r}", f"there are auto, {', '.join(SCALES)}")
    candidates = [
        tuple(
            Bucketed(item, np.searchsorted(np.asarray(item.edges), column, side="left").astype(np.int64))
            for item, column in zip(characteristics, values, strict=True)
        )
        for name, characteristics in SCALES.items()
        if scale in ("auto", name)
    ]
    return max(candidates, key=lambda buckets: sum(_evenness(item.counts) for item in buckets))


def _coverage(video: VideoAnnotation, item: GroundTruth) -> float:
    return round((item.end - item.start) / video.duration, DECIMALS) if video.duration > 0 else math.inf


def _evenness(counts: Ints) -> float:
    """Entropy of a distribution."""
    shares = counts[counts > 0] / max(counts.sum(), 1)
    return float(-(shares * np.log(shares)).sum())
