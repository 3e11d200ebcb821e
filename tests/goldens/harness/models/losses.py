"""Element-wise losses against recorded values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from harness.models.recorder import Recorder
from tal_cli.models.training.loss_terms import (
    centred_ciou_loss,
    centred_diou_loss,
    centred_iou_loss,
    focal_loss,
    varifocal_loss,
)
from tal_cli.models.training.query_matching import UNION, bounds, pairwise_iou

Loss = Callable[[Tensor, Tensor], Tensor]


def check_losses(description: dict[str, Any], recorder: Recorder) -> None:
    """Compare class losses on every recorded kind of target, and distance losses with their reductions."""
    config = description["config"]
    alpha, gamma = config["alpha"], config["gamma"]
    class_losses: dict[str, Loss] = {
        "focal": partial(focal_loss, alpha=alpha, gamma=gamma),
        "focal_noalpha": partial(focal_loss, alpha=-1.0, gamma=1.5),
        "varifocal": partial(varifocal_loss, alpha=alpha, gamma=gamma),
        "varifocal_unweighted": partial(varifocal_loss, alpha=alpha, gamma=gamma, weighted=False),
    }
    kinds = [name.removeprefix("cls/target_") for name in recorder.tensors if name.startswith("cls/target_")]
    for name, loss in class_losses.items():
        for kind in kinds:
            _compare(recorder, f"cls/{name}/{kind}", loss, recorder["cls/logits"], recorder[f"cls/target_{kind}"])
    for name, loss in {"ctr_giou": centred_iou_loss, "ctr_diou": centred_diou_loss}.items():
        value = _compare(recorder, f"reg/{name}", loss, recorder["reg/pred"], recorder["reg/target"])
        recorder.compare(f"reg/{name}/mean", value.mean())
        recorder.compare(f"reg/{name}/sum", value.sum())


def _compare(recorder: Recorder, name: str, loss: Loss, inputs: Tensor, targets: Tensor) -> Tensor:
    inputs = inputs.clone().requires_grad_()
    value = loss(inputs, targets)
    (gradient,) = torch.autograd.grad(value.sum(), inputs)
    recorder.compare(f"{name}/value", value, atol=1e-6, rtol=1e-5)
    recorder.compare(f"{name}/grad", gradient, atol=1e-6, rtol=1e-5)
    return value.detach()


def check_compared_losses(description: dict[str, Any], recorder: Recorder) -> None:
    """Losses and overlaps of the systems compared with, and ReAct's Soft-NMS; those of what is not built are left."""
    _compare(recorder, "ciou", centred_ciou_loss, recorder["ciou/pred"], recorder["ciou/target"])
    count = description["config"]["focal_normalizer"]
    logits = recorder["focal/logits"].clone().requires_grad_()
    value = focal_loss(logits, recorder["focal/target"]).sum() / count
    (gradient,) = torch.autograd.grad(value, logits)
    for system in ("tadtr", "react"):
        recorder.compare(f"focal/{system}_value", value, atol=1e-5)
        recorder.compare(f"focal/{system}_grad", gradient, atol=1e-6)
    for system, extra in (("tadtr", 0.0), ("react", UNION)):
        ours = pairwise_iou(recorder["iou/a"], recorder["iou/b"], extra=extra)
        recorder.compare(f"iou/{system}", ours, atol=1e-6)
    ours = bounds(recorder["iou/middle_length"]).clamp(0, 1)
    recorder.compare("iou/react_start_end", ours, atol=1e-6)
