"""Element-wise losses, and the terms of a batch's loss.

Distances are [n, 2] from a common point to start and end, non-negative; all in float32.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 1e-8
# Counts of a part of a batch -> of the whole batch, float64 [3]: positive points, their weight, negative points.
Tally = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Losses:
    """Scalars of one batch; `total` is minimised, the others are its weighted terms and their parts.

    Of queries, the last layer is the refined one and all others are coarse; weights are in the parts as well.
    """

    total: Tensor
    classification: Tensor
    regression: Tensor
    refined_classification: Tensor
    refined_regression: Tensor
    coarse_classification: Tensor
    coarse_regression: Tensor
    positives: int

    @classmethod
    def of_one(cls, total: Tensor, classification: Tensor, regression: Tensor, positives: int) -> Losses:
        """The losses where only one set of predictions is trained: it is the refined one, and nothing is coarse."""
        nothing = torch.zeros_like(total).detach()
        return cls(total, classification, regression, classification, regression, nothing, nothing, positives)


def focal_loss(logits: Tensor, targets: Tensor, *, alpha: float = 0.25, gamma: float = 2.0) -> Tensor:
    """Sigmoid focal loss per element (Lin et al. 2017); a negative alpha leaves the classes unbalanced."""
    logits, targets = logits.float(), targets.float()
    score = torch.sigmoid(logits)
    entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    right = score * targets + (1 - score) * (1 - targets)
    loss = entropy * (1 - right) ** gamma
    return loss * (alpha * targets + (1 - alpha) * (1 - targets)) if alpha >= 0 else loss


def varifocal_loss(
    logits: Tensor, targets: Tensor, *, alpha: float = 0.25, gamma: float = 2.0, weighted: bool = True
) -> Tensor:
    """Varifocal loss per element (Zhang et al. 2021, equation 2).

    Where the target is positive the cross entropy counts by the target itself (`weighted`) or by 1, elsewhere by
    alpha * score ** gamma, gradients flowing through the score.
    """
    logits, targets = logits.float(), targets.float()
    positive = targets > 0
    # Scores weight only targets that are not positive, where the distance to the target is the score itself.
    negative_weight = alpha * (torch.sigmoid(logits) - targets).abs() ** gamma
    weight = torch.where(positive, targets if weighted else torch.ones_like(targets), negative_weight)
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none") * weight


def centred_iou_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - IoU per pair, [n, 2] each -> [n]; the generalised IoU of segments that share a point is the IoU."""
    inner = torch.minimum(predicted, target).sum(-1)
    union = predicted.sum(-1) + target.sum(-1) - inner
    return 1 - inner / union.clamp(min=EPSILON)


def centred_diou_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - IoU + (distance of centres / length of the hull) ** 2 per pair (Zheng et al. 2020), [n, 2] each -> [n]."""
    hull = torch.maximum(predicted, target).sum(-1).clamp(min=EPSILON)
    difference = predicted - target
    centres = 0.5 * (difference[:, 1] - difference[:, 0])
    return centred_iou_loss(predicted, target) + (centres / hull) ** 2


def centred_ciou_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """1 - complete IoU per pair (Zheng et al. 2020), [n, 2] each -> [n], as TransGMC has it for one dimension: the IoU
    stands for the height, the trade-off passes a gradient, and there is none where the loss is cut off at 0 or 1."""
    hull = torch.maximum(predicted, target).sum(-1).clamp(min=EPSILON)
    difference = predicted - target
    centres = 0.5 * (difference[:, 1] - difference[:, 0])
    iou = 1 - centred_iou_loss(predicted, target)
    height = iou.clamp(min=EPSILON)
    aspect = 4 / math.pi**2 * (torch.atan(target.sum(-1) / height) - torch.atan(predicted.sum(-1) / height)) ** 2
    # Exact hits, where the released code divides zero by zero, have no loss.
    trade_off = aspect / (1 - iou + aspect).clamp(min=EPSILON)
    return 1 - (iou - (centres / hull) ** 2 - trade_off * aspect).clamp(0, 1)


CLASS_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"focal": focal_loss, "varifocal": varifocal_loss}
REGRESSION_LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "diou": centred_diou_loss,
    "giou": centred_iou_loss,
    "ciou": centred_ciou_loss,
}
