"""Assignment of segments to points: center sampling, regression ranges, shortest segment first (paper: "center
sampling", after Zhang et al. 2022), and TemporalMaxer's assignment by cost on top of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tal_cli.models.layers.pyramid import Points
from tal_cli.models.predictions import Predictions
from tal_cli.models.recipe.training import CenterAssignment, CostAssignment
from tal_cli.models.training.loss_terms import centred_diou_loss, focal_loss

SAME_LENGTH = 1e-3  # grid cells; segments this close to the shortest one all label a point


@dataclass(frozen=True)
class Targets:
    """Targets of B videos at S packed cells."""

    classes: Tensor  # float32 [B, S, C], 1 for the classes to predict
    distances: Tensor  # float32 [B, S, 2], to start and end in cells of the level; meaningful where a class is set
    weights: Tensor | None = None  # float32 [B, S], weight of a point; None: all 1
    known: Tensor | None = None  # bool [B, S, C], whether the truth is known; None: of every class at valid points


@dataclass(frozen=True)
class PointRanges:
    """Points and the distances to a boundary (grid cells) that each one's level is responsible for, [S] each."""

    points: Points
    low: Tensor
    high: Tensor


@dataclass(frozen=True)
class GroundTruth:
    """Segments of B videos, padded to the same number n >= 1."""

    segments: Tensor  # float32 [B, n, 2], grid cells
    labels: Tensor  # int64 [B, n]
    present: Tensor  # bool [B, n], False where it is padding

    def distances(self, points: Points) -> tuple[Tensor, Tensor]:
        """From every point to start and end of every segment, [B, n, S] each, grid cells."""
        return points.time - self.segments[:, :, 0, None], self.segments[:, :, 1, None] - points.time

    def one_hot(self, classes: int) -> Tensor:
        """float32 [B, n, C]."""
        return F.one_hot(self.labels, classes).to(torch.float32)


def pad_ground_truth(segments: Sequence[Tensor], labels: Sequence[Tensor], device: torch.device) -> GroundTruth:
    """Ragged ground truth: per video segments float [n, 2] in grid cells, and labels int64 [n]."""
    most = max(1, *(len(label) for label in labels))
    padded = torch.zeros(len(segments), most, 2, device=device)
    label = torch.zeros(len(segments), most, dtype=torch.int64, device=device)
    present = torch.zeros(len(segments), most, dtype=torch.bool, device=device)
    for index, (segment, names) in enumerate(zip(segments, labels, strict=True)):
        if len(names):
            padded[index, : len(names)] = segment.to(device, torch.float32)
            label[index, : len(names)] = names.to(device)
            present[index, : len(names)] = True
    return GroundTruth(padded, label, present)


def assign_by_center(
    predictions: Predictions, ranges: PointRanges, ground_truth: GroundTruth, settings: CenterAssignment
) -> Targets:
    """Assigns every point the shortest of its candidate segments, and all ties."""
    matches, shortest = match_centers(ranges, ground_truth, settings)
    return label_points(matches, shortest, ranges.points, ground_truth, classes=predictions.coarse.shape[2])


def match_centers(
    ranges: PointRanges, ground_truth: GroundTruth, settings: CenterAssignment | CostAssignment
) -> tuple[Tensor, Tensor]:
    """Whether a point may learn a segment, bool [B, n, S], and the shortest such segment per point, int64 [B, S].

    A segment is assigned within `radius` strides of its centre (None: everywhere inside it) by points whose level is
    responsible for their distance to its further end.
    """
    points, radius = ranges.points, settings.radius
    start, end = ground_truth.segments[:, :, 0, None], ground_truth.segments[:, :, 1, None]  # [B, n, 1]
    left, right = ground_truth.distances(points)
    inner_left, inner_right = left, right
    if radius is not None:
        centre, reach = 0.5 * (start + end), radius * points.stride
        inner_left = points.time - torch.maximum(centre - reach, start)
        inner_right = torch.minimum(centre + reach, end) - points.time
    furthest = torch.maximum(left, right)
    chosen = (torch.minimum(inner_left, inner_right) > 0) & (furthest >= ranges.low) & (furthest <= ranges.high)
    chosen &= ground_truth.present[:, :, None] & (points.stride > 0)
    length = torch.where(chosen, end - start, torch.inf)
    shortest, index = length.min(dim=1)  # [B, S]
    if isinstance(settings, CenterAssignment) and settings.labels == "all":
        return chosen, index
    return chosen & (length <= shortest[:, None] + SAME_LENGTH), index


def assign_by_cost(
    predictions: Predictions, ranges: PointRanges, ground_truth: GroundTruth, settings: CostAssignment
) -> Targets:
    """Assigns points of center sampling the boundaries of the segment of least cost around them (Tang et al. 2023).

    Points inside a segment that are not among the fraction `keep` of least cost for any segment are weighted by
    `confuse_weight`.
    """
    matches, _ = match_centers(ranges, ground_truth, settings)
    cost = _cost(predictions, ranges.points, ground_truth, settings)
    around = cost < torch.inf
    kept = (around.sum(-1) * settings.keep).long()  # [B, n]
    rank = cost.argsort(dim=-1).argsort(dim=-1)
    best = (rank < kept[:, :, None]).any(dim=1)
    weights = torch.where(around.any(dim=1) & ~best, settings.confuse_weight, 1.0)
    classes = predictions.coarse.shape[2]
    return label_points(
        matches & around, cost.argmin(dim=1), ranges.points, ground_truth, classes=classes, weights=weights
    )


def _cost(predictions: Predictions, points: Points, ground_truth: GroundTruth, settings: CostAssignment) -> Tensor:
    """[B, n, S]: cost of assigning a segment to a valid point inside it; infinite elsewhere."""
    left, right = ground_truth.distances(points)
    inside = (left >= 0) & (right >= 0) & ground_truth.present[:, :, None] & predictions.valid[:, None]
    video, number, cell = inside.nonzero(as_tuple=True)
    label = ground_truth.labels[video, number]
    predicted = predictions.boundaries.decode(points, video, cell, label)
    target = torch.stack((left[inside], right[inside]), dim=-1) / points.stride[cell][:, None]
    logits = predictions.coarse[video, cell]
    classification = focal_loss(logits, F.one_hot(label, logits.shape[1])).sum(-1)
    boundaries = centred_diou_loss(predicted, target)
    cost = left.new_full(left.shape, torch.inf)
    cost[inside] = classification * settings.class_weight + boundaries * settings.iou_weight
    return cost


def label_points(
    matches: Tensor,
    nearest: Tensor,
    points: Points,
    ground_truth: GroundTruth,
    *,
    classes: int,
    weights: Tensor | None = None,
) -> Targets:
    """Targets of points that learn the labels of all `matches` (bool [B, n, S]) and the boundaries of one segment each
    (`nearest`, int64 [B, S])."""
    found = torch.einsum("bns,bnc->bsc", matches.to(torch.float32), ground_truth.one_hot(classes)).clamp_(max=1.0)
    sides = [side.gather(1, nearest[:, None])[:, 0] for side in ground_truth.distances(points)]
    distances = torch.stack(sides, dim=-1) / points.stride.clamp(min=1)[:, None]
    return Targets(classes=found, distances=distances, weights=weights)


# name -> function(predictions, ranges, ground_truth, the assignment's own settings)
ASSIGNMENTS: dict[str, Callable[[Predictions, PointRanges, GroundTruth, Any], Targets]] = {
    "center": assign_by_center,
    "cost": assign_by_cost,
}
