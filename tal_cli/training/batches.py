"""Selection of the videos and crops of each training step, determined by the seed and the step alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from tal_cli.datasets.training_data import Crop, FeatureVideo, crop
from tal_cli.extractors.errors import UsageError
from tal_cli.extractors.files.prefetch import prefetch
from tal_cli.models.layers.pyramid import pad_batch, padded_length
from tal_cli.models.layers.shared_random import BatchPart
from tal_cli.models.recipe.schema import Recipe
from tal_cli.training.distributed import Processes


@dataclass(frozen=True)
class Batch:
    """Padded sequences: rows float32 [B, T, C], mask bool [B, T], and per video segments [n, 2] and labels [n]; where
    the truth is known, bool [B, T, 1 or labels] (None: everywhere). starts: the first row of each in its video."""

    videos: tuple[str, ...]
    starts: tuple[int, ...]
    rows: Tensor
    mask: Tensor
    segments: list[Tensor]
    labels: list[Tensor]
    reviewed: Tensor | None = None

    @classmethod
    def of(cls, cropped: Sequence[tuple[FeatureVideo, Crop]], length: int) -> Batch:
        """Cropped videos, padded with zeros to `length` cells."""
        rows, mask = pad_batch([video.load()[part.start : part.end] for video, part in cropped], length)
        return cls(
            videos=tuple(video.annotation.name for video, _ in cropped),
            starts=tuple(part.start for _, part in cropped),
            rows=rows,
            mask=mask,
            segments=[torch.from_numpy(part.segments) for _, part in cropped],
            labels=[torch.from_numpy(part.labels) for _, part in cropped],
            reviewed=_reviewed([part for _, part in cropped], length),
        )

    def to(self, device: torch.device) -> Batch:
        """The same batch on a device."""
        if device.type == "cpu":
            return self
        segments, labels = ([item.to(device) for item in items] for items in (self.segments, self.labels))
        reviewed = None if self.reviewed is None else self.reviewed.to(device)
        return Batch(self.videos, self.starts, self.rows.to(device), self.mask.to(device), segments, labels, reviewed)


def _reviewed(crops: Sequence[Crop], length: int) -> Tensor | None:
    """Where the truth of crops is known, padded to `length` cells; None: everywhere."""
    told = [crop.reviewed for crop in crops if crop.reviewed is not None]
    if not told:
        return None
    reviewed = torch.ones(len(crops), length, max(part.shape[1] for part in told), dtype=torch.bool)
    for row, part in zip(reviewed, crops, strict=True):
        if part.reviewed is not None:
            row[: len(part.reviewed)] = torch.from_numpy(part.reviewed)
    return reviewed


Parts = list[tuple[BatchPart, Batch]]


class Batches:
    """The batches of a run.

    Attributes:
        size: videos in a batch; at most the number of training videos.
        per_epoch: batches in an epoch; the last incomplete one is dropped.
        cells: grid cells of the largest batch, padding included.
    """

    def __init__(self, videos: Sequence[FeatureVideo], recipe: Recipe) -> None:
        self._videos = videos
        self._recipe = recipe
        self.size = min(recipe.training.batch_size, len(videos))
        self.per_epoch = len(videos) * recipe.training.crops // self.size
        longest = min(max(video.length for video in videos), recipe.training.max_length)
        self.cells = self.size * padded_length(recipe.model, longest)

    def videos(self, step: int) -> tuple[str, ...]:
        """Names of the videos of a step (counted from 0)."""
        return tuple(self._video(draw).annotation.name for draw in self._chosen(step))

    def parts(self, step: int, ranges: Sequence[range]) -> Parts:
        """The videos at these positions of a step's batch, padded to the length of the full batch."""
        config, spec = self._recipe.training, self._recipe.features
        chosen = self._chosen(step)
        seeds = (np.random.default_rng([config.seed, step // self.per_epoch, 1 + draw]) for draw in chosen)
        crops = [crop(self._video(draw), config, spec, rng) for draw, rng in zip(chosen, seeds, strict=True)]
        length = padded_length(self._recipe.model, max(part.end - part.start for part in crops))
        cropped = [(self._video(draw), part) for draw, part in zip(chosen, crops, strict=True)]
        return [
            (BatchPart(places.start, self.size), Batch.of(cropped[places.start : places.stop], length))
            for places in ranges
        ]

    def each(self, steps: range, ranges: Sequence[range], device: torch.device) -> Iterator[Parts]:
        """`parts` of consecutive steps; on a GPU the next step is prepared in a thread during the current one.

        Not on a CPU: there a second computing thread slows each operation of the first by a third.
        """
        prepared = (self.parts(step, ranges) for step in steps)
        return prepared if device.type == "cpu" else prefetch(prepared, 1)

    def _video(self, draw: int) -> FeatureVideo:
        return self._videos[draw % len(self._videos)]

    def _chosen(self, step: int) -> list[int]:
        """Indices of the crops in a step's batch; an epoch has `training.crops` of each video."""
        epoch, index = divmod(step, self.per_epoch)
        draws = len(self._videos) * self._recipe.training.crops
        order = np.random.default_rng([self._recipe.training.seed, epoch, 0]).permutation(draws)
        return [int(i) for i in order[index * self.size : (index + 1) * self.size]]


def split_batch(size: int, processes: Processes, passes: int) -> list[range]:
    """Positions in the batch for each forward pass of this process.

    Raises:
        UsageError: a batch has fewer videos than there are processes.
    """
    if size < processes.count:
        raise UsageError(
            f"a batch of {size} cannot be split over {processes.count} processes",
            "raise --batch-size, or use fewer processes",
        )
    mine = processes.share(size)
    passes = min(passes, len(mine))
    edges = [mine.start + len(mine) * number // passes for number in range(passes + 1)]
    return [range(first, end) for first, end in itertools.pairwise(edges)]
