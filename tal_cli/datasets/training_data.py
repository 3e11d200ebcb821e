"""Training data: feature files with their instances, and random crops of both.

Shapes: B videos, C channels, T grid cells, n instances. Segments are [n, 2] in grid cells of their (cropped) sequence.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal_cli.datasets.annotations import POINT, VideoAnnotation
from tal_cli.datasets.checks import (
    NO_FRAME_RATE,
    OTHER_CHANNELS,
    OTHER_FEATURES,
    UNUSABLE_FEATURES,
    FeatureCheck,
    Problem,
    Progress,
    slack,
    summarise,
)
from tal_cli.extractors.errors import InputError, MissingError, UsageError
from tal_cli.extractors.features.lookup import FeatureFile
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.models.inference.resampling import Resampling
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.recipe.training import TrainingConfig

POINT_SECONDS, POINT_CELLS = 1.0, 2.0  # a point is learned as a segment around it that is at least so long
END_SECONDS = 1e-3  # durations are told to milliseconds
MOST_CROPS = 200  # attempts to find a crop that contains an instance
MEMORY_SHARE = 0.5  # fraction of the machine's memory for features
FIT = "extract them with `tal extract-features`, or change the recipe's `features` with --set"
REMEDIES = {
    OTHER_CHANNELS: FIT,
    OTHER_FEATURES: FIT,
    NO_FRAME_RATE: "add fps to the annotations, or --set features.sampling_rate=FPS",
}


@dataclass(frozen=True)
class FeatureVideo:
    """One video to train on or to evaluate.

    Attributes:
        annotation: ground truth in seconds.
        sequence: features and clock; without features if they are read on demand.
        file: the feature file.
        length: T.
        segments: float32 [n, 2], grid cells, without empty instances.
        labels: int64 [n].
        reviewed: where the truth is known, float64 [m, 2] in grid cells: one for all labels, or one per label; None:
            everywhere.
        resampling: length to resample to; the four attributes above refer to the resampled sequence.
    """

    annotation: VideoAnnotation
    sequence: FeatureSequence
    file: FeatureFile
    length: int
    segments: NDArray[np.float32]
    labels: NDArray[np.int64]
    reviewed: tuple[NDArray[np.float64], ...] | None = None
    resampling: Resampling | None = None

    def reviewed_cells(self, start: int, end: int) -> NDArray[np.bool_] | None:
        """Whether the truth is known at the cells [start, end), bool [cells, 1 or labels]; None: everywhere."""
        if self.reviewed is None:
            return None
        cells = np.arange(start, end)[:, None]
        return np.stack([((part[:, 0] <= cells) & (cells < part[:, 1])).any(axis=1) for part in self.reviewed], axis=1)

    def load(self) -> Tensor:
        """The features, float32 [T, C]."""
        rows = self.stored()
        return rows if self.resampling is None else self.resampling.features(rows)

    def stored(self) -> Tensor:
        """The rows of its file, float32, as many as they are."""
        held = self.sequence.features
        return torch.from_numpy(held if len(held) else self.file.load().features)


@dataclass(frozen=True)
class Crop:
    """A part [start, end) of a sequence, its instances relative to its start, and where the truth is known (see
    `FeatureVideo.reviewed_cells`)."""

    start: int
    end: int
    segments: NDArray[np.float32]
    labels: NDArray[np.int64]
    reviewed: NDArray[np.bool_] | None = None


def load_videos(
    annotations: Sequence[VideoAnnotation],
    source: Path,
    labels: Sequence[str],
    spec: FeatureSpec,
    *,
    progress: Progress | None = None,
) -> tuple[list[FeatureVideo], list[Problem]]:
    """The videos, and those problems of their features that do not prevent training.

    Every feature file is read and checked once and kept in memory while there is room; further files are memory-mapped,
    or read on demand if their format does not allow mapping. Features without a contract are assumed to follow `spec`;
    their frame rate is then that of the recipe or of the annotation.

    Raises:
        MissingError: some videos have no feature file; the first ones are named.
        UsageError: features that do not match `spec`.
        InputError: files that cannot be read or contain values that are not finite; the first ones are named.
    """
    check = FeatureCheck(source, spec)
    pairs = check.find(annotations)
    if check.problems:
        reason = "; ".join(summarise(check.problems))
        raise MissingError(f"{source}: {reason}", "extract them with `tal extract-features VIDEOS --output DIR`")
    index = {label: number for number, label in enumerate(labels)}
    room = _memory()

    def load(file: FeatureFile) -> FeatureSequence:
        return file.load(mapped=room <= 0)

    videos = []
    for (annotation, file), sequence, found in check.read(pairs, load, progress):
        for problem in found:
            if problem.kind in REMEDIES:
                raise UsageError(f"{file}: {problem.kind}: {problem.detail}", REMEDIES[problem.kind])
        held = room > 0 or is_mapped(sequence.features)
        room -= sequence.features.nbytes
        videos.append(_video(annotation, sequence, file, index, held=held))
    unusable = [problem for problem in check.problems if problem.kind == UNUSABLE_FEATURES]
    if unusable:
        raise InputError(source, "; ".join(summarise(unusable)), "`tal datasets check` lists all problems")
    return videos, check.problems


def is_mapped(array: object) -> bool:
    """Whether an array's values lie in a file that is mapped into memory."""
    return isinstance(array, np.memmap) or (isinstance(array, np.ndarray) and is_mapped(array.base))


def resampled(video: FeatureVideo, recipe: Recipe) -> FeatureVideo:
    """The video for a recipe with `model.resample`: resampled length, and instances on the new grid."""
    resampling = Resampling.of(recipe, video.length)
    segments = resampling.to_new(video.segments).astype(np.float32)
    reviewed = None if video.reviewed is None else tuple(resampling.to_new(part) for part in video.reviewed)
    return replace(video, length=resampling.length, segments=segments, reviewed=reviewed, resampling=resampling)


def crop(video: FeatureVideo, config: TrainingConfig, spec: FeatureSpec, rng: np.random.Generator) -> Crop:
    """A random crop of a video, sampled as by ActionFormer's `truncate_feats`.

    Long videos are cropped to `max_length`, others to a fraction sampled from `crop_ratio`. Instances of which at least
    `truncate_threshold` is inside are kept, clipped to the crop widened by half a window; up to 200 crops are sampled
    until one contains an instance, and a cell of which the truth is known.
    """
    size = min(video.length, config.max_length)
    if video.length <= config.max_length and config.crop_ratio is not None:
        low, high = (round(ratio * video.length) for ratio in config.crop_ratio)
        size = int(rng.integers(max(low, 1), max(high, 1), endpoint=True))
    if size == video.length:
        return Crop(0, size, video.segments, video.labels, video.reviewed_cells(0, size))
    starts, ends = video.segments[:, 0], video.segments[:, 1]
    margin = 0.5 * spec.window / spec.stride if video.resampling is None else 0.5
    for first in rng.integers(0, video.length - size, size=MOST_CROPS, endpoint=True):
        left, right = np.maximum(starts, first - margin), np.minimum(ends, first + size + margin)
        kept = np.clip(right - left, 0, None) >= config.truncate_threshold * (ends - starts)
        kept &= right > left
        reviewed = video.reviewed_cells(first, first + size)
        if (kept.any() or not len(starts)) and (reviewed is None or reviewed.any()):
            break
    segments = np.stack([left[kept], right[kept]], axis=1) - first
    return Crop(int(first), int(first) + size, segments.astype(np.float32), video.labels[kept], reviewed)


def _video(
    annotation: VideoAnnotation, sequence: FeatureSequence, file: FeatureFile, index: dict[str, int], *, held: bool
) -> FeatureVideo:
    items = annotation.settled
    bounds = np.asarray([(item.start, item.end) for item in items], dtype=np.float64).reshape(-1, 2)
    labels = np.asarray([index[item.label] for item in items], dtype=np.int64)
    points = np.asarray([item.kind == POINT for item in items], dtype=bool)
    bounds[points] += np.multiply(POINT_SECONDS / 2, (-1, 1))
    length = len(sequence.features)
    # Published files have instances beyond the end of the video; clip them.
    segments = sequence.grid(np.clip(bounds, 0, sequence.duration))
    short = points & (segments[:, 1] - segments[:, 0] < POINT_CELLS)
    segments[short] = segments[short].mean(axis=1, keepdims=True) + np.multiply(POINT_CELLS / 2, (-1, 1))
    real = segments[:, 1] > segments[:, 0]
    kept = sequence if held else replace(sequence, features=sequence.features[:0].copy())
    reviewed = _reviewed(annotation, sequence, index)
    return FeatureVideo(annotation, kept, file, length, segments[real].astype(np.float32), labels[real], reviewed)


def _reviewed(
    annotation: VideoAnnotation, sequence: FeatureSequence, index: dict[str, int]
) -> tuple[NDArray[np.float64], ...] | None:
    """Reviewed ranges in grid cells: one for all labels, or one per label; None: everything.

    Ranges that reach an end of the video have the cells beyond as well: windows are padded there.
    """
    own = dict(annotation.reviewed_labels)
    labels = list(index) if own.keys() & index.keys() else [""]
    ranges = [annotation.reviewed_of(label) for label in labels]
    if all(part is None for part in ranges):
        return None
    # An annotated duration that is much shorter is no end: where a file has none, it is that of the last segment.
    is_end = sequence.duration - annotation.duration <= slack(sequence.duration)
    last = (min(sequence.duration, annotation.duration) if is_end else sequence.duration) - END_SECONDS
    return tuple(
        sequence.grid(
            [(-np.inf if start <= 0 else start, np.inf if end >= last else end) for start, end in part]
            if part is not None
            else [(-np.inf, np.inf)]
        ).reshape(-1, 2)
        for part in ranges
    )


def _memory() -> float:
    """Bytes available for preloaded features."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        total = 8 << 30
    return MEMORY_SHARE * total
