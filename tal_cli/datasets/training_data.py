"""Training data: feature files and the instances in them, cropped at random and collated into batches.

Shapes: B videos, C channels, T grid cells, n instances. Segments are [n, 2] in grid cells of their (cropped) sequence.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal_cli.datasets.annotations import VideoAnnotation
from tal_cli.datasets.described import described
from tal_cli.extractors.errors import MissingError
from tal_cli.extractors.features.lookup import FeatureFile, find_features
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.models.inference.resampling import Resampling
from tal_cli.models.layers.pyramid import pad_batch
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.recipe.training import TrainingConfig

MOST_CROPS = 200  # tries for a crop that holds an action
PRELOAD_SHARE = 0.5  # of the machine's memory that features may fill
NAMED_AT_MOST = 5

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class FeatureVideo:
    """One video to train on or to evaluate.

    Attributes:
        annotation: its ground truth in seconds.
        sequence: its clock; its features are empty where they are not held in memory.
        file: where its features are.
        features: float32 [T, C], or None where they are read when needed.
        length: T.
        segments: float32 [n, 2], grid cells; instances without length are left out.
        labels: int64 [n].
        resampling: to what length it is brought; the three above are after that.
    """

    annotation: VideoAnnotation
    sequence: FeatureSequence
    file: FeatureFile
    features: Tensor | None
    length: int
    segments: NDArray[np.float32]
    labels: NDArray[np.int64]
    resampling: Resampling | None = None

    def load(self) -> Tensor:
        """The features, float32 [T, C]."""
        rows = self.features if self.features is not None else torch.from_numpy(self.file.load().features)
        return rows if self.resampling is None else self.resampling.features(rows)


@dataclass(frozen=True)
class Crop:
    """A part [start, end) of a sequence and the instances that it keeps, relative to its start."""

    start: int
    end: int
    segments: NDArray[np.float32]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """Padded sequences: rows float32 [B, T, C], mask bool [B, T], and per video segments [n, 2] and labels [n]."""

    videos: tuple[str, ...]
    rows: Tensor
    mask: Tensor
    segments: list[Tensor]
    labels: list[Tensor]

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        if device.type == "cpu":
            return self
        lists = ([item.to(device) for item in items] for items in (self.segments, self.labels))
        return Batch(self.videos, self.rows.to(device), self.mask.to(device), *lists)


def load_videos(
    annotations: Sequence[VideoAnnotation],
    folder: Path,
    labels: Sequence[str],
    spec: FeatureSpec,
    *,
    progress: Progress | None = None,
) -> list[FeatureVideo]:
    """Read and check the feature files of these videos, and keep them in memory where they fit.

    Features are taken to follow `spec` where nothing beside them says what they are; their frame rate is then the
    recipe's or the annotation's.

    Raises:
        MissingError: there is no feature file for some videos; the first ones are named.
        UsageError: features that are not what `spec` asks for.
        FeatureError: a file cannot be read or holds values that are not finite.
    """
    files = [find_features(folder, video.name, video.subset) for video in annotations]
    absent = [video.name for video, file in zip(annotations, files, strict=True) if file is None]
    if absent:
        more = f" and {len(absent) - NAMED_AT_MOST} more" if len(absent) > NAMED_AT_MOST else ""
        reason = f"no features in {folder} for {', '.join(absent[:NAMED_AT_MOST])}{more}"
        raise MissingError(reason, "make them with `tal extract-features VIDEOS --output DIR`")
    index = {label: number for number, label in enumerate(labels)}
    room = _memory()
    videos = []
    for number, (annotation, file) in enumerate(zip(annotations, files, strict=True)):
        assert file is not None
        sequence = described(file.load(), spec, annotation, file)
        room -= sequence.features.nbytes
        videos.append(_video(annotation, sequence, file, index, keep=room > 0))
        if progress is not None:
            progress(number + 1, len(annotations))
    return videos


def resampled(video: FeatureVideo, recipe: Recipe) -> FeatureVideo:
    """The video as a recipe with `model.resample` trains on it: its length, its instances on the new grid."""
    resampling = Resampling.of(recipe, video.length)
    segments = resampling.to_new(video.segments).astype(np.float32)
    return replace(video, length=resampling.length, segments=segments, resampling=resampling)


def crop(video: FeatureVideo, config: TrainingConfig, spec: FeatureSpec, rng: np.random.Generator) -> Crop:
    """A random part of a video, as ActionFormer's `truncate_feats` draws it.

    Long videos are cropped to `max_length`, others to a share drawn from `crop_ratio`. Instances of which at least
    `truncate_threshold` is inside are kept, cut to the crop widened by half a window; up to 200 crops are tried until
    one holds an instance.
    """
    size = min(video.length, config.max_length)
    if video.length <= config.max_length and config.crop_ratio is not None:
        low, high = (round(ratio * video.length) for ratio in config.crop_ratio)
        size = int(rng.integers(max(low, 1), max(high, 1), endpoint=True))
    if size == video.length:
        return Crop(0, size, video.segments, video.labels)
    starts, ends = video.segments[:, 0], video.segments[:, 1]
    margin = 0.5 * spec.window / spec.stride if video.resampling is None else 0.5
    for first in rng.integers(0, video.length - size, size=MOST_CROPS, endpoint=True):
        left, right = np.maximum(starts, first - margin), np.minimum(ends, first + size + margin)
        kept = np.clip(right - left, 0, None) >= config.truncate_threshold * (ends - starts)
        kept &= right > left
        if kept.any() or not len(starts):
            break
    segments = np.stack([left[kept], right[kept]], axis=1) - first
    return Crop(int(first), int(first) + size, segments.astype(np.float32), video.labels[kept])


def collate(videos: Sequence[FeatureVideo], crops: Sequence[Crop], length: int) -> Batch:
    """Cropped videos as one batch, padded with zeros to `length` cells."""
    rows, mask = pad_batch(
        [video.load()[part.start : part.end] for video, part in zip(videos, crops, strict=True)], length
    )
    return Batch(
        videos=tuple(video.annotation.name for video in videos),
        rows=rows,
        mask=mask,
        segments=[torch.from_numpy(part.segments) for part in crops],
        labels=[torch.from_numpy(part.labels) for part in crops],
    )


def _video(
    annotation: VideoAnnotation, sequence: FeatureSequence, file: FeatureFile, index: dict[str, int], *, keep: bool
) -> FeatureVideo:
    bounds = np.asarray([(item.start, item.end) for item in annotation.segments], dtype=np.float64).reshape(-1, 2)
    labels = np.asarray([index[item.label] for item in annotation.segments], dtype=np.int64)
    length, channels = sequence.features.shape
    # Instances beyond the video's end, which published files have, are cut to what can be seen.
    segments = sequence.grid(np.clip(bounds, 0, sequence.duration))
    real = segments[:, 1] > segments[:, 0]
    features = torch.from_numpy(sequence.features) if keep else None
    clock = replace(sequence, features=np.empty((0, channels), dtype=np.float32))
    return FeatureVideo(annotation, clock, file, features, length, segments[real].astype(np.float32), labels[real])


def _memory() -> float:
    """Bytes that features may fill."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        total = 8 << 30
    return PRELOAD_SHARE * total
