"""A recorded CLTDR-GMG detector: every stage of inference, final segments, targets, losses and gradients."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from models.boundaries import BinnedBoundaries, Distances, Predictions, decode_distances
from models.checkpoint import build_detector
from models.decoders.cltdr import CltdrDecoder
from models.detector import TemporalDetector
from models.goldens.report import ENCODER_ATOL, Recorder
from models.inference import collect_candidates
from models.nms import Candidates, suppress
from models.pyramid import level_masks, pad_batch, padded_length, pyramid_points
from models.recipe import FeatureSpec, Recipe
from models.released import find_family, translate_options
from models.training import Losses, LossNormalizer, batch_targets, prediction_loss

STEP = 1e-4  # of a grid cell: tolerance of segments after NMS on recorded candidates
SECONDS = 5e-5  # tolerance of final segments from our own candidates, whose rounding differs even between thread counts


def check_detector(description: dict[str, Any], recorder: Recorder, device: torch.device) -> None:
    """Compare all that the case records."""
    recipe = _recipe(description)
    state = {name[6:]: value for name, value in recorder.tensors.items() if name.startswith("state/")}
    table = find_family(list(state))
    detector = build_detector(recipe, table.translate_state(state), "recorded weights").to(device)
    if "aux/pos_embd" in recorder and detector.embedding.positions is not None:
        recorder.compare("aux/pos_embd", detector.embedding.positions, atol=1e-6)
    for prefix, video in description["videos"].items():
        _check_inference(recorder, detector, recipe, prefix)
        _check_segments(recorder, detector, recipe, prefix, video)
    if "train/gt_cls" in recorder:
        _check_training(description, recorder, detector, recipe)


def _recipe(description: dict[str, Any]) -> Recipe:
    options = description["config"]["model"]
    model, training, inference = translate_options(options)
    focal = any("sigmoid focal" in note for note in description["notes"])
    video = description["videos"]["infer"]
    return Recipe(
        name=description["case"],
        features=FeatureSpec(
            extractor="recorded",
            channels=options["input_dim"],
            window=video["feat_num_frames"],
            stride=video["feat_stride"],
        ),
        model=model,
        training=training.model_copy(update={"drop_path": 0.0, "class_loss": "focal" if focal else "varifocal"}),
        inference=inference,
    )


def _check_inference(recorder: Recorder, detector: TemporalDetector, recipe: Recipe, prefix: str) -> None:
    device = next(detector.parameters()).device
    features = recorder[f"{prefix}/feats"].t()
    batch, mask = pad_batch([features], padded_length(recipe.model, features.shape[0]))
    recorder.compare(f"{prefix}/batched_mask", mask, atol=0)
    if f"{prefix}/batched_input" in recorder:
        recorder.compare(f"{prefix}/batched_input", batch, atol=0)
    batch, mask = batch.to(device), mask.to(device)
    with torch.inference_mode():
        predictions = detector(batch, mask)
        encoded = detector.encode(batch, mask)
        normed = detector.mix(encoded, [None] * len(encoded))
        layout = predictions.layout
        crossed = cast(CltdrDecoder, detector.decoder).cross(layout.pack(normed, dim=1), layout, [None] * len(normed))
    stages = {
        "backbone": [level.transpose(1, 2) for level in encoded],
        "backbone_mask": [m.transpose(1, 2) for m in level_masks(mask.transpose(1, 2), len(encoded))],
    }
    for stage, levels in zip(("decls", "dereg", "cross_level"), crossed, strict=True):
        stages[stage] = [level.transpose(1, 2) for level in layout.split(levels, dim=1)]
    stages["neck"] = [level.transpose(1, 2) for level in normed]
    stages |= _packed_stages(predictions)
    for stage, levels in stages.items():
        for level, ours in enumerate(levels):
            name = f"{prefix}/{stage}/level{level}"
            if name in recorder:
                recorder.compare(name, ours, **({"atol": ENCODER_ATOL} if stage == "backbone" else {}))
    _check_decoded(recorder, predictions, recipe, prefix)


def _packed_stages(predictions: Predictions) -> dict[str, list[Tensor]]:
    split = predictions.layout.split
    boundaries, shift, factor = predictions.boundaries, predictions.shift, predictions.factor
    assert isinstance(boundaries, BinnedBoundaries) and shift is not None and factor is not None
    return {
        "cls_coarse": split(predictions.coarse),
        "cls_refined": [level.transpose(1, 2) for level in split(predictions.refined)],
        "refine_prob": split(factor),
        "refine_start": split(shift.start),
        "refine_end": split(shift.end),
        "start_logits": split(boundaries.starts),
        "end_logits": split(boundaries.ends),
        "offsets": split(boundaries.offsets),
    }


def _check_decoded(recorder: Recorder, predictions: Predictions, recipe: Recipe, prefix: str) -> None:
    layout = predictions.layout
    decoded = _decode_all(predictions)
    points = pyramid_points(layout, predictions.coarse.device)
    for level, (start, length) in enumerate(zip(layout.starts, layout.lengths, strict=True)):
        cells = slice(start, start + length)
        for name, distances in (("decoded", decoded.refined), ("decoded_coarse", decoded.coarse)):
            if f"{prefix}/{name}/level{level}" in recorder:
                recorder.compare(f"{prefix}/{name}/level{level}", distances[0, cells].transpose(0, 1))
        if f"{prefix}/points/level{level}" in recorder:
            time = points.time[cells]
            low, high = recipe.model.level_ranges[level]
            table = (time, torch.full_like(time, low), torch.full_like(time, high), points.stride[cells])
            recorder.compare(f"{prefix}/points/level{level}", torch.stack(table, -1), atol=0)


def _decode_all(predictions: Predictions) -> Distances:
    """Distances of every video, packed cell and class, [B, S, C, 2]."""
    videos, classes, cells = predictions.coarse.shape
    device = predictions.coarse.device
    grid = torch.meshgrid(*(torch.arange(n, device=device) for n in (videos, cells, classes)), indexing="ij")
    decoded = decode_distances(predictions, *(index.flatten() for index in grid))
    shape = (videos, cells, classes, 2)
    return Distances(decoded.coarse.view(shape), decoded.refined.view(shape))


def _check_segments(
    recorder: Recorder, detector: TemporalDetector, recipe: Recipe, prefix: str, video: dict[str, float]
) -> None:
    """Candidates; then NMS on the recorded candidates; then on our own."""
    recorded = [recorder[f"{prefix}/pre_nms/{name}"] for name in ("segments", "scores", "labels")]
    final = [recorder[f"{prefix}/final/{name}"] for name in ("segments", "scores", "labels")]
    ours = collect_candidates(detector, recorder[f"{prefix}/feats"].t(), recipe.inference)
    recorder.compare_segments(f"{prefix}/pre_nms", _tensors(ours), (recorded[0], recorded[1], recorded[2]), atol=1e-3)
    theirs = Candidates(
        labels=recorded[2].numpy(),
        starts=recorded[0][:, 0].contiguous().numpy(),
        ends=recorded[0][:, 1].contiguous().numpy(),
        scores=recorded[1].numpy(),
    )
    step = STEP * video["feat_stride"] / video["fps"]
    for name, candidates, atol in (("recorded candidates", theirs, step), ("own candidates", ours, max(step, SECONDS))):
        segments, scores, labels = _tensors(suppress(candidates, recipe.inference))
        seconds = (segments * video["feat_stride"] + 0.5 * video["feat_num_frames"]) / video["fps"]
        seconds = seconds.clamp(0, video["duration"])
        found = (seconds, scores, labels)
        recorder.compare_segments(f"{prefix}/final of {name}", found, (final[0], final[1], final[2]), atol=atol)


def _tensors(candidates: Candidates) -> tuple[Tensor, Tensor, Tensor]:
    segments = torch.stack((torch.from_numpy(candidates.starts), torch.from_numpy(candidates.ends)), -1)
    return segments, torch.from_numpy(candidates.scores), torch.from_numpy(candidates.labels)


def _check_training(
    description: dict[str, Any], recorder: Recorder, detector: TemporalDetector, recipe: Recipe
) -> None:
    device = next(detector.parameters()).device
    videos = range(len(description["train_T"]))
    sequences = [recorder[f"train/feats/{video}"].t() for video in videos]
    segments = [recorder[f"train/gt_segments/{video}"] for video in videos]
    labels = [recorder[f"train/gt_labels/{video}"] for video in videos]
    batch, mask = pad_batch(sequences, recipe.model.pad_length)
    recorder.compare("train/batched_mask", mask, atol=0)
    detector.train()
    predictions = detector(batch.to(device), mask.to(device))
    targets = batch_targets(predictions, recipe.model, segments, labels, recipe.training.assignment)

    inside = predictions.layout.inside(device)
    classes = targets.classes.transpose(1, 2)[:, inside]
    recorder.compare("train/gt_cls", classes, atol=0)
    positive = (recorder["train/gt_cls"].sum(-1) > 0).to(device)
    recorder.compare_with(
        "train/gt_offsets at positives",
        targets.distances[:, inside][positive],
        recorder["train/gt_offsets"][positive.cpu()],
    )
    recorder.compare("train/cls_coarse", predictions.coarse.transpose(1, 2)[:, inside])
    recorder.compare("train/cls_refined", predictions.refined.transpose(1, 2)[:, inside])
    decoded = _decode_all(predictions)
    recorder.compare("train/decoded", decoded.refined[:, inside])
    recorder.compare("train/decoded_coarse", decoded.coarse[:, inside])

    normalizer = LossNormalizer(recipe.training.initial_loss_norm)
    recorder.compare("train/loss_normalizer/initial", torch.tensor(normalizer.value))
    losses = prediction_loss(predictions, targets, recipe.model, normalizer, recipe.training)
    _check_losses(recorder, losses, normalizer, recipe)
    losses.total.backward()
    _check_gradients(description, recorder, detector)


def _check_losses(recorder: Recorder, losses: Losses, normalizer: LossNormalizer, recipe: Recipe) -> None:
    first = LossNormalizer(recipe.training.initial_loss_norm).update(losses.positives)
    recorder.compare("train/loss_normalizer/after_losses", torch.tensor(first))
    recorder.compare("train/loss_normalizer/after_before_refine_losses", torch.tensor(normalizer.value))
    weight = recipe.training.regression_weight
    terms = {
        "refined_cls_loss": losses.refined_classification,
        "refined_reg_loss": losses.refined_regression,
        "refined_final_loss": losses.refined_classification + weight * losses.refined_regression,
        "coarse_cls_loss": losses.coarse_classification,
        "coarse_reg_loss": losses.coarse_regression,
        "coarse_final_loss": losses.coarse_classification + weight * losses.coarse_regression,
        "cls_loss": losses.classification,
        "reg_loss": losses.regression,
        "final_loss": losses.total,
    }
    for name, value in terms.items():
        recorder.compare(f"train/loss/{name}", value)


def _check_gradients(description: dict[str, Any], recorder: Recorder, detector: TemporalDetector) -> None:
    table = find_family(list(description["state_keys"]))
    gradients = {name: p.grad for name, p in detector.named_parameters() if p.grad is not None}
    norms = []
    for key in description["grad_norm_names"]:
        translation = table.translate(key)
        if translation is None:
            norms.append(torch.tensor(torch.nan))
            continue
        ours = gradients[translation.name]
        ours = ours if translation.element is None else ours[translation.element]
        norms.append(ours.cpu().norm())
        if f"grad/{key}" in recorder:
            recorder.compare_with(f"grad/{key}", ours, translation.of(recorder[f"grad/{key}"]))
    recorder.compare("train/grad_norms", torch.stack(norms))
