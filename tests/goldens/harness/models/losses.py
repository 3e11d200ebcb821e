"""Element-wise losses against recorded values and gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from harness.models.recorder import Recorder
from tal_cli.models.training.loss_terms import centred_diou_loss, centred_iou_loss, focal_loss, varifocal_loss

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
