"""A recorded training step: targets, loss terms and gradients."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from harness.models.recorder import Recorder
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.layers.pyramid import pad_batch
from tal_cli.models.predictions import decode_everywhere
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.keys import KeyTable
from tal_cli.models.training.assignment import Targets
from tal_cli.models.training.loss import LossNormalizer, batch_targets, find_positives, prediction_loss
from tal_cli.models.training.loss_terms import Losses, centred_ciou_loss


def check_training(
    description: dict[str, Any], recorder: Recorder, detector: TemporalDetector, recipe: Recipe, table: KeyTable
) -> None:
    """One forward and backward pass on the recorded batch."""
    device = next(detector.parameters()).device
    videos = range(len(description["train_T"]))
    sequences = [recorder[f"train/feats/{video}"].t() for video in videos]
    segments = [recorder[f"train/gt_segments/{video}"] for video in videos]
    labels = [recorder[f"train/gt_labels/{video}"] for video in videos]
    batch, mask = pad_batch(sequences, recipe.model.pad_length)
    recorder.compare("train/batched_mask", mask[:, None], atol=0)
    detector.train()
    predictions = detector(batch.to(device), mask.to(device))
    targets = batch_targets(predictions, recipe.model, segments, labels, recipe.training.assignment)

    inside = predictions.layout.inside(device)
    _check_targets(recorder, targets, inside, predictions.valid)
    decoded = decode_everywhere(predictions)
    for name, ours in (
        ("cls_logits", predictions.coarse),
        ("cls_coarse", predictions.coarse),
        ("cls_refined", predictions.refined),
        ("decoded", decoded.refined),
        ("decoded_coarse", decoded.coarse),
    ):
        if f"train/{name}" in recorder:
            recorder.compare(f"train/{name}", ours[:, inside])

    if "train/ciou" in recorder:
        entries = find_positives(predictions, targets)
        points = entries.weight > 0
        loss = centred_ciou_loss(entries.refined, entries.target)
        recorder.compare("train/ciou", loss[points])
    normalizer = LossNormalizer(recipe.training.initial_loss_norm)
    recorder.compare("train/loss_normalizer/initial", torch.tensor(normalizer.value))
    losses = prediction_loss(predictions, targets, recipe.model, normalizer, recipe.training)
    _check_losses(recorder, losses, normalizer, recipe)
    losses.total.backward()
    check_gradients(description, recorder, detector, table)


def _check_targets(recorder: Recorder, targets: Targets, inside: Tensor, valid: Tensor) -> None:
    recorder.compare("train/gt_cls", targets.classes[:, inside], atol=0)
    positive = (recorder["train/gt_cls"].sum(-1) > 0).to(inside.device)
    recorder.compare_with(
        "train/gt_offsets at positives",
        targets.distances[:, inside][positive],
        recorder["train/gt_offsets"][positive.cpu()],
    )
    if targets.weights is not None:
        seen = valid[:, inside]
        recorder.compare_with(
            "train/weights at valid points", targets.weights[:, inside][seen], recorder["train/weights"][seen.cpu()]
        )


def _check_losses(recorder: Recorder, losses: Losses, normalizer: LossNormalizer, recipe: Recipe) -> None:
    weight = recipe.training.regression_weight
    first = LossNormalizer(recipe.training.initial_loss_norm).update(losses.positives)
    terms = {
        "loss_normalizer/after_losses": torch.tensor(first),
        "loss_normalizer/after_before_refine_losses": torch.tensor(normalizer.value),
        "loss/num_pos": torch.tensor(float(losses.positives)),
        "loss/refined_cls_loss": losses.refined_classification,
        "loss/refined_reg_loss": losses.refined_regression,
        "loss/refined_final_loss": losses.refined_classification + weight * losses.refined_regression,
        "loss/coarse_cls_loss": losses.coarse_classification,
        "loss/coarse_reg_loss": losses.coarse_regression,
        "loss/coarse_final_loss": losses.coarse_classification + weight * losses.coarse_regression,
        "loss/cls_loss": losses.classification,
        "loss/reg_loss": losses.regression,
        "loss/final_loss": losses.total,
    }
    for name, value in terms.items():
        if f"train/{name}" in recorder:
            recorder.compare(f"train/{name}", value)


def check_gradients(
    description: dict[str, Any],
    recorder: Recorder,
    detector: TemporalDetector,
    table: KeyTable,
    atol: float = 3e-5,
) -> None:
    """Norms of all gradients, and the recorded ones in full; errors count by the largest gradient."""
    gradients = {name: p.grad for name, p in detector.named_parameters()}
    norms: list[Tensor] = []
    for key in description["grad_norm_names"]:
        translation = table.translate(key)
        ours = None if translation is None else gradients[translation.name]
        if translation is None or ours is None:
            norms.append(torch.tensor(torch.nan))
            continue
        ours = ours if translation.element is None else ours[translation.element]
        norms.append(ours.cpu().norm())
        if f"grad/{key}" in recorder:
            recorded = translation.of(recorder[f"grad/{key}"])
            recorder.compare_with(f"grad/{key}", ours, recorded, atol=atol * max(1.0, float(recorded.abs().max())))
    recorder.compare("train/grad_norms", torch.stack(norms), atol=1e-4)
