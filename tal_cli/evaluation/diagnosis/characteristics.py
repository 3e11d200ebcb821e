"""Characteristics of instances: coverage of the video, length, and number of instances in the video.

These are the characteristics of Alwassel et al. (2018) that can be computed from any annotations, with their buckets.
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

# Boundaries are decimal numbers; round, so that the bucket does not depend on floating-point errors.
DECIMALS = 9
SIZES = ("XS", "S", "M", "L", "XL")


@dataclass(frozen=True)
class Characteristic:
    """One characteristic and its buckets.

    Attributes:
        name: coverage, length or num-instances, as in the published tool.
        title: title in figures.
        edges: inclusive upper bounds of all buckets but the last, which has none.
        unit: unit of the edges.
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
        """Range of each bucket, as text."""
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
    """One characteristic of all instances: `bucket` is the bucket index of each, [G] in file order."""

    characteristic: Characteristic
    bucket: Ints

    @property
    def counts(self) -> Ints:
        """Instances per bucket."""
        return np.bincount(self.bucket, minlength=len(self.characteristic.buckets))


def usable(videos: Sequence[VideoAnnotation]) -> list[VideoAnnotation]:
    """The videos with the instances that the published tool analyses: neither empty nor longer than the video."""
    kept = [
        replace(video, segments=tuple(s for s in video.segments if s.start < s.end and _coverage(video, s) <= 1))
        for video in videos
    ]
    return [video for video in kept if video.segments]


def characterise(videos: Sequence[VideoAnnotation], counts: dict[str, int], scale: str) -> tuple[Bucketed, ...]:
    """Assign the instances of these videos to buckets.

    Args:
        videos: the result of `usable`.
        counts: number of instances of each video, including unusable ones.
        scale: one of SCALES, or `auto`: the one that divides the instances most evenly.

    Raises:
        UsageError: an unknown scale.
    """
    pairs = [(video, item) for video in videos for item in video.segments]
    values = (
        [_coverage(video, item) for video, item in pairs],
        [item.end - item.start for _, item in pairs],
        [float(counts[video.name]) for video, _ in pairs],
    )
    if scale != "auto" and scale not in SCALES:
        raise UsageError(f"no scale named {scale!r}", f"use one of auto, {', '.join(SCALES)}")
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
