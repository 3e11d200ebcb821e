"""The loss of a batch and the parameter groups of the optimiser.

Released loss (variant `released`): coarse and refined predictions are both trained, weighted by `coarse_weight` and
`refined_weight`; sums are divided by one running number of positives that is updated twice per step. Loss of the text
(variant `paper`, equation 13): only refined predictions are trained; positives are averaged over N_pos, negatives over
N_neg, where a point is positive or negative for all classes; the IoU that weights a positive's class loss passes no
gradient. Decoders of queries have a loss of their own (`query_loss.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.layers.feed_forward import SlowLinear
from tal_cli.models.layers.pyramid import PyramidLayout, level_masks, pyramid_points
from tal_cli.models.layers.shared_random import BatchPart, draw
from tal_cli.models.predictions import Predictions, decode_distances
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import QueriesSettings
from tal_cli.models.recipe.training import CenterAssignment, CostAssignment, TrainingConfig
from tal_cli.models.training.assignment import ASSIGNMENTS, PointRanges, Targets, match_centers, pad_ground_truth
from tal_cli.models.training.loss_terms import (
    CLASS_LOSSES,
    REGRESSION_LOSSES,
    Losses,
    Tally,
    centred_iou_loss,
    focal_loss,
    varifocal_loss,
)
from tal_cli.models.training.query_loss import known_segments, query_counts, query_loss

SLOW_RATE = 0.1  # of the learning rate, for `SlowLinear`
MOMENTUM = 0.9  # of the running number of positives


@dataclass
class LossNormalizer:
    """Running mean of positives per batch; the only loss state that a resumed run needs."""

    value: float

    def update(self, positives: float) -> float:
        """Updates with one batch's number of positive points (or their weight) and returns the new value."""
        self.value = MOMENTUM * self.value + (1 - MOMENTUM) * max(positives, 1)
        return self.value


@dataclass(frozen=True)
class Positives:
    """The P positive (video, cell, class) entries, and the distances predicted there."""

    video: Tensor  # int64 [P]
    cell: Tensor  # int64 [P], packed
    label: Tensor  # int64 [P]
    target: Tensor  # float32 [P, 2], cells of the level
    coarse: Tensor  # float32 [P, 2]
    refined: Tensor  # float32 [P, 2]
    weight: Tensor  # float32 [P], of the distances' loss
    points: int  # number of positive points, fewer than P where a point has two labels
    total: float  # of the points' weights
    negatives: int  # number of valid points that are not positive


def batch_loss(
    detector: TemporalDetector,
    rows_BTC: Tensor,
    mask_BT: Tensor,
    segments: Sequence[Tensor],
    labels: Sequence[Tensor],
    normalizer: LossNormalizer,
    training: TrainingConfig,
    tally: Tally | None = None,
    reviewed_BTK: Tensor | None = None,
    step: int | None = None,
) -> Losses:
    """Forward pass and loss of a padded batch, or of a part of one.

    Features [B, T, C]; mask bool [B, T]; per video segments float [n, 2] in grid cells and labels int64 [n]; reviewed
    bool [B, T, 1], or [B, T, C] for C classes: where the truth is known, so that it is learned (None: everywhere).
    While the detector trains, features are `disturbed`. Updates `normalizer`. `tally` returns the counts of the whole
    batch for those of this part; the losses of all parts then add up to the batch's. `step`: of training, from 0 (None:
    after any warm-up of losses).
    """
    if detector.training:
        rows_BTC = disturbed(rows_BTC, training, detector.part)
    predictions = detector(rows_BTC, mask_BT)
    if predictions.queries is not None:
        return query_loss(predictions.queries, detector.config, segments, labels, tally, reviewed_BTK, step)
    known = None
    if reviewed_BTK is not None:
        known = at_points(reviewed_BTK, predictions.layout)
        # Points of unknown truth count as padding: neither as positives nor as negatives, also in what divides sums.
        predictions = replace(predictions, valid=predictions.valid & known.any(dim=2))
    targets = batch_targets(predictions, detector.config, segments, labels, training.assignment)
    targets = replace(targets, known=known)
    return prediction_loss(predictions, targets, detector.config, normalizer, training, tally)


def disturbed(rows_BTC: Tensor, training: TrainingConfig, part: BatchPart | None) -> Tensor:
    """Features with the recipe's noise, and without some channels of each video, the others scaled up as in dropout."""
    if training.input_noise > 0:
        rows_BTC = rows_BTC + draw(torch.randn, rows_BTC, tuple(rows_BTC.shape[1:]), part) * training.input_noise
    if training.input_dropout > 0:
        kept = draw(torch.rand, rows_BTC, (1, rows_BTC.shape[2]), part) >= training.input_dropout
        rows_BTC = rows_BTC * (kept / (1 - training.input_dropout))
    return rows_BTC


@torch.no_grad()
def count_points(
    config: ModelConfig,
    mask_BT: Tensor,
    segments: Sequence[Tensor],
    labels: Sequence[Tensor],
    assignment: CenterAssignment,
    reviewed_BTK: Tensor | None = None,
) -> Tensor:
    """The counts of `Tally` for padded videos, before any forward pass; see `batch_loss` for the shapes."""
    if isinstance(config.decoder, QueriesSettings):
        return query_counts(config.decoder, known_segments(segments, labels, reviewed_BTK)[1])
    masks = level_masks(mask_BT, config)
    layout = PyramidLayout(tuple(mask.shape[1] for mask in masks), 0)
    ranges = point_ranges(config, layout, mask_BT.device)
    ground_truth = pad_ground_truth(segments, labels, mask_BT.device)
    matches, _ = match_centers(ranges, ground_truth, assignment)
    valid, positive = layout.pack(masks)[..., 0], matches.any(dim=1)
    if reviewed_BTK is not None:
        known = at_points(reviewed_BTK, layout)
        valid = valid & known.any(dim=2)
        found = torch.einsum("bns,bnc->bsc", matches.float(), ground_truth.one_hot(config.classes)) > 0
        positive = (found & known).any(dim=2)
    positives = (positive & valid).sum()
    return torch.stack((positives, positives, valid.sum() - positives)).double()


@torch.no_grad()
def batch_targets(
    predictions: Predictions,
    config: ModelConfig,
    segments: Sequence[Tensor],
    labels: Sequence[Tensor],
    assignment: CenterAssignment | CostAssignment,
) -> Targets:
    """Targets for the points of `predictions`, before label smoothing."""
    device = predictions.coarse.device
    ground_truth = pad_ground_truth(segments, labels, device)
    ranges = point_ranges(config, predictions.layout, device)
    return ASSIGNMENTS[assignment.name](predictions, ranges, ground_truth, assignment)


def at_points(values_BTK: Tensor, layout: PyramidLayout) -> Tensor:
    """Values of grid cells [B, T, K] at the points of a pyramid, [B, S, K]; False or 0 in the gaps."""
    return layout.pack([values_BTK[:, :: 1 << level] for level in range(len(layout.lengths))])


def point_ranges(config: ModelConfig, layout: PyramidLayout, device: torch.device) -> PointRanges:
    """The points of a layout and each one's regression range."""
    low, high = (layout.spread([edges[side] for edges in config.level_ranges], device) for side in (0, 1))
    return PointRanges(pyramid_points(layout, device), low, high)


def prediction_loss(
    predictions: Predictions,
    targets: Targets,
    config: ModelConfig,
    normalizer: LossNormalizer,
    training: TrainingConfig,
    tally: Tally | None = None,
) -> Losses:
    """Loss of predictions against targets, by the formulas of `training.objective`. Updates `normalizer`."""
    positives = find_positives(predictions, targets)
    counts = torch.tensor([positives.points, positives.total, positives.negatives], dtype=torch.float64)
    if tally is not None:
        counts = tally(counts)
    points, weight, negatives = (max(count, 1.0) for count in counts.tolist())
    if (training.objective or config.variant) == "paper":
        return _paper_loss(predictions, targets, positives, training, points, negatives)
    norms = [normalizer.update(weight) for _ in range(2 if predictions.refines else 1)]
    return _released_loss(predictions, targets, positives, norms, training)


def find_positives(predictions: Predictions, targets: Targets) -> Positives:
    """Positive entries at valid cells, with their distances decoded.

    Where all classes share one prediction of the boundaries, a point with several labels counts once.
    """
    wanted = (targets.classes > 0) & _counted(predictions, targets)
    video, cell, label = wanted.nonzero(as_tuple=True)
    distances = decode_distances(predictions, video, cell, label)
    positive = wanted.any(dim=2)
    counts = positive.float() if targets.weights is None else positive * targets.weights
    weight = counts[video, cell]
    if not predictions.per_class:
        same = (video[1:] == video[:-1]) & (cell[1:] == cell[:-1])
        weight = weight * F.pad(~same, (1, 0), value=True)[: len(weight)]
    return Positives(
        video=video,
        cell=cell,
        label=label,
        target=targets.distances[video, cell],
        coarse=distances.coarse,
        refined=distances.refined,
        weight=weight,
        points=int(positive.sum()),
        total=float(counts.sum()),
        negatives=int((predictions.valid & ~positive).sum()),
    )


def _counted(predictions: Predictions, targets: Targets) -> Tensor:
    """Entries that the loss is of, bool [B, S, C or 1]."""
    valid = predictions.valid[..., None]
    return valid if targets.known is None else valid & targets.known


def _released_loss(
    predictions: Predictions,
    targets: Targets,
    positives: Positives,
    norms: Sequence[float],
    training: TrainingConfig,
) -> Losses:
    shares = (training.refined_weight, training.coarse_weight) if predictions.refines else (1.0, 0.0)
    coarse = (predictions.coarse.new_zeros(()),) * 2
    refined = _stage_loss(
        predictions.refined, positives.refined, predictions, targets, positives, training, weighted=True
    )
    refined = refined[0] / norms[0], refined[1] / norms[0]
    if predictions.refines:
        coarse = _stage_loss(
            predictions.coarse, positives.coarse, predictions, targets, positives, training, weighted=False
        )
        coarse = coarse[0] / norms[1], coarse[1] / norms[1]
    classification, regression = (shares[0] * a + shares[1] * b for a, b in zip(refined, coarse, strict=True))
    return Losses(
        total=classification + training.regression_weight * regression,
        classification=classification,
        regression=regression,
        refined_classification=refined[0],
        refined_regression=refined[1],
        coarse_classification=coarse[0],
        coarse_regression=coarse[1],
        positives=positives.points,
    )


def _stage_loss(
    logits: Tensor,
    distances: Tensor,
    predictions: Predictions,
    targets: Targets,
    positives: Positives,
    training: TrainingConfig,
    *,
    weighted: bool,
) -> tuple[Tensor, Tensor]:
    """Sums of class and distance losses. `weighted`: by the recipe's class loss, positives counting by their IoU."""
    smoothing = training.label_smoothing
    wanted = targets.classes * (1 - smoothing) + smoothing / (logits.shape[2] + 1)
    class_loss = CLASS_LOSSES[training.class_loss] if weighted else focal_loss
    loss = class_loss(logits, wanted) * _counted(predictions, targets)
    if weighted and training.iou_weight_power:
        iou = 1 - centred_iou_loss(distances, positives.target)
        entries = (positives.video, positives.cell, positives.label)
        loss = loss * torch.ones_like(loss).index_put(entries, iou**training.iou_weight_power)
    if targets.weights is not None:
        loss = loss * targets.weights[..., None]
    regression = REGRESSION_LOSSES[training.regression_loss](distances, positives.target) * positives.weight
    return loss.sum(), regression.sum()


def _paper_loss(
    predictions: Predictions,
    targets: Targets,
    positives: Positives,
    training: TrainingConfig,
    points: float,
    negatives: float,
) -> Losses:
    counted = _counted(predictions, targets)
    is_positive = ((targets.classes > 0) & counted).any(dim=2, keepdim=True)
    loss = varifocal_loss(predictions.refined, targets.classes)
    iou_loss = centred_iou_loss(positives.refined, positives.target)
    entries = (positives.video, positives.cell, positives.label)
    weight = torch.ones_like(loss).index_put(entries, (1 - iou_loss).detach())
    positive, negative = counted & is_positive, counted & ~is_positive
    classification = (loss * weight * positive).sum() / points + (loss * negative).sum() / negatives
    regression = iou_loss.sum() / points
    total = classification + training.regression_weight * regression
    return Losses.of_one(total, classification, regression, positives.points)


def parameter_groups(detector: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Groups for AdamW: decay on convolution weights and the global filter's weights, none on biases, norms, scales.

    `rate_factor` of a group multiplies the learning rate.
    """
    groups: dict[tuple[bool, float], list[nn.Parameter]] = {(True, 1.0): [], (False, 1.0): []}
    for module in detector.modules():
        convolution = isinstance(module, nn.Conv1d | nn.ConvTranspose1d | nn.Linear)
        factor = SLOW_RATE if isinstance(module, SlowLinear) else 1.0
        for name, parameter in module.named_parameters(recurse=False):
            decays = (convolution and name == "weight") or name in (
                "weight_in",
                "weight_out",
                "in_proj_weight",
                "gates",
            )
            groups.setdefault((decays, factor), []).append(parameter)
    return [
        {"params": members, "weight_decay": weight_decay if decays else 0.0, "rate_factor": factor}
        for (decays, factor), members in groups.items()
    ]
