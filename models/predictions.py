"""Outputs of a decoder, and boundaries decoded to distances: plain ones, or relative boundary bins (paper:
"Trident-head"; Shi et al. 2023).

Only the requested entries are decoded: training needs the positives, inference the candidates.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from tal_cli.models.layers.pyramid import Points, PyramidLayout, pyramid_points


@dataclass(frozen=True)
class PlainBoundaries:
    """Distances to start and end in cells of the level, the same for all classes."""

    distances: Tensor  # [B, S, 2], non-negative
    per_class: ClassVar[bool] = False

    def decode(self, points: Points, video: Tensor, cell: Tensor, label: Tensor) -> Tensor:
        """Distances [n, 2] at n entries given as int64 [n] indices."""
        return self.distances[video, cell].float()


@dataclass(frozen=True)
class BinnedBoundaries:
    """Logits whose softmax over N + 1 neighbouring cells gives the distance as an expectation."""

    offsets: Tensor  # [B, S, 2 (N + 1)] centre-offset logits of the start, then of the end bins
    starts: Tensor  # [B, S, C] start boundary logits
    ends: Tensor  # [B, S, C] end boundary logits
    per_class: ClassVar[bool] = True

    def decode(self, points: Points, video: Tensor, cell: Tensor, label: Tensor) -> Tensor:
        """Distances [n, 2] at n entries given as int64 [n] indices, in cells of the level.

        Each side's distance is the expected bin under softmax(boundary logits around the point + the point's own
        offset logits). Boundary logits outside the level count as 0, as published.
        """
        sides = self.offsets[video, cell].float().unflatten(1, (2, -1))
        bins = torch.arange(sides.shape[-1], device=cell.device)
        backward = cell[:, None] - bins.flip(0)
        forward = cell[:, None] + bins
        in_level = backward >= points.first[cell][:, None]
        near_start = self.starts[video[:, None], backward.clamp(min=0), label[:, None]].float() * in_level
        in_level = forward <= points.last[cell][:, None]
        last = self.starts.shape[1] - 1
        near_end = self.ends[video[:, None], forward.clamp(max=last), label[:, None]].float() * in_level
        left = torch.softmax(near_start + sides[:, 0], dim=-1) @ bins.flip(0).float()
        right = torch.softmax(near_end + sides[:, 1], dim=-1) @ bins.float()
        return torch.stack((left, right), dim=-1)


@dataclass(frozen=True)
class QueryBoundaries:
    """Boundaries of queries, which stand for no point: where distances are asked for, query q is a point at cell q."""

    starts: Tensor  # float32 [B, Q], level-0 cells
    ends: Tensor  # float32 [B, Q]
    per_class: ClassVar[bool] = False

    def decode(self, points: Points, video: Tensor, cell: Tensor, label: Tensor) -> Tensor:
        """Distances [n, 2] at n entries given as int64 [n] indices; one of them is negative outside of the segment."""
        time = points.time[cell]
        return torch.stack((time - self.starts[video, cell], self.ends[video, cell] - time), dim=-1)


@dataclass(frozen=True)
class Queries:
    """What every layer of a query decoder predicts, from which the loss is computed."""

    logits: Tensor  # float32 [layers, B, Q, C], or C + 1 where classes exclude each other and the last one is none
    segments: Tensor  # float32 [layers, B, Q, 2], centre and width in [0, 1] of the valid sequence
    quality: Tensor | None  # float32 [layers or 1, K, B, Q], logits of K qualities of the (last) segments
    counts: Tensor  # float32 [B], valid cells of each video
    # References of all queries [B, Q, 2] -> class logits [layers, B, Q, C] of layers that are given them (ReAct).
    again: Callable[[Tensor], Tensor] | None = None
    dense: Tensor | None = None  # float32 [B, T, C], logits of each cell's classes (PointTAD)


class Shift(ABC):
    """Correction of decoded boundaries."""

    in_level_cells: bool  # in cells of the level (True) or of level 0 (False)

    @property
    @abstractmethod
    def per_class(self) -> bool:
        """Whether corrections differ between classes."""

    @abstractmethod
    def at(self, video: Tensor, cell: Tensor, label: Tensor) -> Tensor:
        """Corrections added to start and end, float32 [n, 2], at n entries given as int64 [n] indices."""

    def apply(self, distances: Tensor, points: Points, video: Tensor, cell: Tensor, label: Tensor) -> Tensor:
        """Corrected distances [n, 2], clamped at 0."""
        shift = self.at(video, cell, label) * distances.new_tensor([-1.0, 1.0])
        if not self.in_level_cells:
            shift = shift / points.stride[cell][:, None]
        return (distances + shift).clamp(min=0)


@dataclass(frozen=True)
class BoundaryShift(Shift):
    """Corrections at every point."""

    start: Tensor  # [B, S, C or 1], added to the start
    end: Tensor  # [B, S, C or 1], added to the end
    in_level_cells: bool

    @property
    def per_class(self) -> bool:
        """Whether there is one per class."""
        return self.start.shape[2] > 1

    def at(self, video: Tensor, cell: Tensor, label: Tensor) -> Tensor:
        """Picks them from the dense corrections."""
        target = label if self.per_class else torch.zeros_like(label)
        return torch.stack((self.start[video, cell, target], self.end[video, cell, target]), dim=-1).float()


@dataclass(frozen=True)
class Predictions:
    """Everything predicted for B videos at the S packed cells of the pyramid (C classes).

    A decoder that refines class scores sets `factor`, one that refines boundaries sets `shift`; with neither,
    `refined` is `coarse`. Of a decoder of queries, which sets `queries`, they are the queries, on one level.
    """

    layout: PyramidLayout
    valid: Tensor  # bool [B, S]: inside a level and not padding
    coarse: Tensor  # [B, S, C] class logits before refinement
    refined: Tensor  # [B, S, C] class logits after refinement: scores are their sigmoid
    boundaries: PlainBoundaries | BinnedBoundaries | QueryBoundaries
    factor: Tensor | None = None  # [B, S, C] raw refinement factor
    shift: Shift | None = None
    queries: Queries | None = None

    @property
    def per_class(self) -> bool:
        """Whether boundaries differ between classes."""
        return self.boundaries.per_class or (self.shift is not None and self.shift.per_class)

    @property
    def refines(self) -> bool:
        """Whether refined predictions differ from coarse ones."""
        return self.factor is not None or self.shift is not None


@dataclass(frozen=True)
class Distances:
    """Distances [n, 2] from a point to start and end, in cells of the point's level, before and after refinement."""

    coarse: Tensor
    refined: Tensor


def decode_distances(predictions: Predictions, video: Tensor, cell: Tensor, label: Tensor) -> Distances:
    """Distances at n entries given as int64 [n] indices of video, packed cell and class."""
    points = pyramid_points(predictions.layout, cell.device)
    coarse = predictions.boundaries.decode(points, video, cell, label)
    shift = predictions.shift
    refined = coarse if shift is None else shift.apply(coarse, points, video, cell, label)
    return Distances(coarse=coarse, refined=refined)


def decode_everywhere(predictions: Predictions) -> Distances:
    """Distances at every video and packed cell, [B, S, C, 2] where they differ between classes, else [B, S, 2]."""
    videos, cells, classes = predictions.coarse.shape
    shape: tuple[int, ...] = (videos, cells, classes, 2)
    if not predictions.per_class:
        classes, shape = 1, (videos, cells, 2)
    device = predictions.coarse.device
    grid = torch.meshgrid(*(torch.arange(n, device=device) for n in (videos, cells, classes)), indexing="ij")
    decoded = decode_distances(predictions, *(index.flatten() for index in grid))
    return Distances(decoded.coarse.view(shape), decoded.refined.view(shape))
