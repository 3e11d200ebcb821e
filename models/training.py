"""The loss of a batch and the parameter groups of the optimiser.

Released arithmetic (variant `released`): coarse and refined predictions both learn, by `coarse_weight` and
`refined_weight`; sums are divided by one running number of positives that is updated twice a step. Text arithmetic
(variant `paper`, equation 13): only refined predictions learn; positives are averaged over N_pos, negatives over N_neg,
points being positive or negative as a whole; the IoU that weighs a positive's class loss passes no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.optimizer import ParamsT

from models.architectures import ModelConfig
from models.boundaries import Predictions, decode_distances
from models.detector import TemporalDetector
from models.losses import CLASS_LOSSES, REGRESSION_LOSSES, centred_iou_loss, focal_loss, varifocal_loss
from models.pyramid import pyramid_points
from models.recipe import CenterAssignment, CostAssignment, TrainingConfig
from models.targets import ASSIGNMENTS, PointRanges, Targets, pad_ground_truth

MOMENTUM = 0.9  # of the running number of positives


@dataclass
class LossNormalizer:
    """Running mean of positives per batch; the one piece of loss state that a resumed run needs."""

    value: float

    def update(self, positives: float) -> float:
        """Take one batch's number of positive points (or their weight) in and give the new value."""
        self.value = MOMENTUM * self.value + (1 - MOMENTUM) * max(positives, 1)
        return self.value


@dataclass(frozen=True)
class Losses:
    """Scalars of one batch; `total` is what is minimised, the others are its weighted parts and theirs."""

    total: Tensor
    classification: Tensor
    regression: Tensor
    refined_classification: Tensor
    refined_regression: Tensor
    coarse_classification: Tensor
    coarse_regression: Tensor
    positives: int


@dataclass(frozen=True)
class Positives:
    """The P (video, cell, class) entries that are to be found, and the distances predicted there."""

    video: Tensor  # int64 [P]
    cell: Tensor  # int64 [P], packed
    label: Tensor  # int64 [P]
    target: Tensor  # float32 [P, 2], cells of the level
    coarse: Tensor  # float32 [P, 2]
    refined: Tensor  # float32 [P, 2]
    weight: Tensor  # float32 [P], of the distances' loss
    points: int  # number of positive points, fewer than P where a point has two labels
    total: float  # of the points' weights


def batch_loss(
    detector: TemporalDetector,
    features_BCT: Tensor,
    mask_B1T: Tensor,
    segments: Sequence[Tensor],
    labels: Sequence[Tensor],
    normalizer: LossNormalizer,
    training: TrainingConfig,
) -> Losses:
    """Forward pass and loss of a padded batch.

    features [B, C, T]; mask bool [B, 1, T]; per video segments float [n, 2] in grid cells and labels int64 [n].
    Adds the recipe's input noise to the features while the detector trains. Updates `normalizer`.
    """
    if detector.training and training.input_noise > 0:
        features_BCT = features_BCT + torch.randn_like(features_BCT) * training.input_noise
    predictions = detector(features_BCT, mask_B1T)
    targets = batch_targets(predictions, detector.config, segments, labels, training.assignment)
    return prediction_loss(predictions, targets, detector.config, normalizer, training)


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
    layout = predictions.layout
    low, high = (layout.spread([edges[side] for edges in config.level_ranges], device) for side in (0, 1))
    assign = ASSIGNMENTS[assignment.name]
    truth = pad_ground_truth(segments, labels, device)
    return assign(predictions, PointRanges(pyramid_points(layout, device), low, high), truth, assignment)


def prediction_loss(
    predictions: Predictions,
    targets: Targets,
    config: ModelConfig,
    normalizer: LossNormalizer,
    training: TrainingConfig,
) -> Losses:
    """Loss of predictions against targets, with the arithmetic of `training.objective`. Updates `normalizer`."""
    positives = find_positives(predictions, targets)
    if (training.objective or config.variant) == "paper":
        return _paper_loss(predictions, targets, positives, training)
    return _released_loss(predictions, targets, positives, normalizer, training)


def find_positives(predictions: Predictions, targets: Targets) -> Positives:
    """Positive entries at valid cells, with their distances decoded.

    Where all classes share one prediction of the boundaries, a point with several labels counts once.
    """
    wanted = (targets.classes > 0) & predictions.valid
    video, cell, label = wanted.transpose(1, 2).nonzero(as_tuple=True)
    distances = decode_distances(predictions, video, cell, label)
    positive = wanted.any(dim=1)
    counts = positive.float() if targets.weights is None else positive * targets.weights
    weight = counts[video, cell]
    if not predictions.boundaries.per_class:
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
    )


def _released_loss(
    predictions: Predictions,
    targets: Targets,
    positives: Positives,
    normalizer: LossNormalizer,
    training: TrainingConfig,
) -> Losses:
    shares = (training.refined_weight, training.coarse_weight) if predictions.refines else (1.0, 0.0)
    refined = coarse = (predictions.refined.new_zeros(()),) * 2
    norm = normalizer.update(positives.total)
    refined = _stage_loss(
        predictions.refined, positives.refined, predictions, targets, positives, training, weighted=True
    )
    refined = refined[0] / norm, refined[1] / norm
    if predictions.refines:
        norm = normalizer.update(positives.total)
        coarse = _stage_loss(
            predictions.coarse, positives.coarse, predictions, targets, positives, training, weighted=False
        )
        coarse = coarse[0] / norm, coarse[1] / norm
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
    wanted = targets.classes * (1 - smoothing) + smoothing / (logits.shape[1] + 1)
    class_loss = CLASS_LOSSES[training.class_loss] if weighted else focal_loss
    loss = class_loss(logits, wanted) * predictions.valid
    if weighted and training.iou_weight_power:
        iou = 1 - centred_iou_loss(distances, positives.target)
        entries = (positives.video, positives.label, positives.cell)
        loss = loss * torch.ones_like(loss).index_put(entries, iou**training.iou_weight_power)
    if targets.weights is not None:
        loss = loss * targets.weights[:, None]
    regression = REGRESSION_LOSSES[training.regression_loss](distances, positives.target) * positives.weight
    return loss.sum(), regression.sum()


def _paper_loss(predictions: Predictions, targets: Targets, positives: Positives, training: TrainingConfig) -> Losses:
    valid = predictions.valid
    is_positive = (targets.classes > 0).any(dim=1, keepdim=True) & valid
    loss = varifocal_loss(predictions.refined, targets.classes)
    iou_loss = centred_iou_loss(positives.refined, positives.target)
    entries = (positives.video, positives.label, positives.cell)
    weight = torch.ones_like(loss).index_put(entries, (1 - iou_loss).detach())
    count = max(positives.points, 1)
    negatives = (valid & ~is_positive).sum().clamp(min=1)
    classification = (loss * weight * is_positive).sum() / count + (loss * (valid & ~is_positive)).sum() / negatives
    regression = iou_loss.sum() / count
    nothing = torch.zeros_like(classification).detach()
    return Losses(
        total=classification + training.regression_weight * regression,
        classification=classification,
        regression=regression,
        refined_classification=classification,
        refined_regression=regression,
        coarse_classification=nothing,
        coarse_regression=nothing,
        positives=positives.points,
    )


def parameter_groups(detector: nn.Module, weight_decay: float) -> ParamsT:
    """Groups for AdamW: decay on convolution weights and the global filter's weights, none on biases, norms, scales."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for module in detector.modules():
        convolution = isinstance(module, nn.Conv1d | nn.ConvTranspose1d | nn.Linear)
        for name, parameter in module.named_parameters(recurse=False):
            decays = (convolution and name == "weight") or name in ("weight_in", "weight_out")
            (decayed if decays else free).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]
