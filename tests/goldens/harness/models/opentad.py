"""A detector recorded with OpenTAD: every stage of inference, detections, then targets, losses and gradients."""

from __future__ import annotations

import copy
from typing import Any, cast

import torch
from torch import Tensor, nn

from harness.models.queries import watch
from harness.models.recorder import ATOL, ENCODER_ATOL, Recorder
from harness.models.training import check_gradients
from tal_cli.models.decoders.actionformer import ActionformerDecoder
from tal_cli.models.decoders.dynamic import DynamicDecoder
from tal_cli.models.decoders.heads import pack_masks
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.encoders.block_pyramid import BlockPyramid
from tal_cli.models.encoders.causal import CausalBlock
from tal_cli.models.inference.candidates import find_candidates
from tal_cli.models.inference.nms import ScoredSegments, suppress
from tal_cli.models.layers.common import ConvEmbedding
from tal_cli.models.layers.pyramid import PyramidLayout, level_masks, pyramid_points
from tal_cli.models.predictions import PlainBoundaries, Predictions
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.code_bases import FAMILIES
from tal_cli.models.released.opentad_options import translate_opentad
from tal_cli.models.store.checkpoint import build_detector
from tal_cli.models.training.loss import LossNormalizer, batch_targets, prediction_loss

CELL, SECONDS = 1e-3, 0.0051  # of a grid cell; of what is rounded to two places


def check_opentad(description: dict[str, Any], recorder: Recorder, device: torch.device) -> None:
    """Compare all that the case records."""
    options = description["config"]
    model, training, inference = translate_opentad(options)
    facts = description["metas"][0]
    channels = options["model"]["projection"]["in_channels"]
    features = FeatureSpec(
        extractor="recorded", channels=channels, window=2 * facts["offset_frames"], stride=facts["snippet_stride"]
    )
    training = training.model_copy(update={"drop_path": 0.0, "input_dropout": 0.0, "input_noise": 0.0})
    recipe = Recipe(name=description["case"], features=features, model=model, training=training, inference=inference)
    table = FAMILIES[description["architecture"].lower()]
    state = {name[6:]: value for name, value in recorder.tensors.items() if name.startswith("state/")}
    detector = build_detector(recipe, table.translate_state(state), "recorded weights").to(device)
    embedding = detector.embedding
    assert isinstance(embedding, ConvEmbedding)
    if embedding.positions is not None:
        recorder.compare("aux/pos_embed", embedding.positions, atol=1e-6)
    predictions = _check_stages(recorder, detector)
    for video, meta in enumerate(description["metas"]):
        _check_detections(recorder, predictions, recipe, video, meta)
    _check_training(recorder, detector, recipe)
    check_gradients(description, recorder, detector, table)


def _inputs(recorder: Recorder, prefix: str, device: torch.device) -> tuple[Tensor, Tensor]:
    return recorder[f"{prefix}/feats"].transpose(1, 2).to(device), recorder[f"{prefix}/mask"].to(device)


def _check_stages(recorder: Recorder, detector: TemporalDetector) -> Predictions:
    rows, mask = _inputs(recorder, "infer", next(detector.parameters()).device)
    masks = level_masks(mask, detector.config)
    encoder = detector.encoder
    assert isinstance(encoder, BlockPyramid)
    modules: dict[str, nn.Module] = {"embed": detector.embedding}
    for group, blocks in (("stem", encoder.stem), ("branch", encoder.branch)):
        for number, block in enumerate(blocks):
            modules[f"block/{group}.{number}"] = block
            if isinstance(block, CausalBlock):
                modules[f"block/{group}.{number}/mixture"] = block.mixture
    calls = watch(modules)
    with torch.no_grad():
        predictions = detector(rows, mask)
        encoded = detector.encode(rows, mask)
        mixed = detector.mix(encoded, list(masks))
        heads = _head_stages(detector, mixed, masks)
    for name, ((given, *_), result) in calls.items():
        columns = {f"infer/{name}": result, f"infer/{name}/in": given, f"infer/{name}/out": result}
        if name.endswith("mixture"):
            norm = name.removesuffix("mixture") + "norm"
            columns = {f"infer/{name}": result.transpose(1, 2), f"infer/{norm}": given.transpose(1, 2)}
        for key, ours in columns.items():
            if key in recorder:
                recorder.compare(key, ours.transpose(1, 2), atol=ENCODER_ATOL)
        if f"infer/{name}/out_mask" in recorder:
            own = next(own for own in masks if own.shape[1] == result.shape[1])
            recorder.compare(f"infer/{name}/out_mask", own[..., 0], atol=0)
    boundaries = predictions.boundaries
    assert isinstance(boundaries, PlainBoundaries)
    split = predictions.layout.split
    for level, valid in enumerate(masks):
        recorder.compare(f"infer/projection_mask/level{level}", valid[..., 0], atol=0)
        recorder.compare(f"infer/projection/level{level}", encoded[level].transpose(1, 2), atol=ENCODER_ATOL)
        recorder.compare(f"infer/neck/level{level}", mixed[level].transpose(1, 2))
        for name, stages in heads.items():
            recorder.compare(f"infer/head/{name}/level{level}", stages[level].transpose(1, 2))
        # The last convolutions are not masked, and nothing reads what they give at padding.
        for name, outputs in (("cls", predictions.refined), ("offsets", boundaries.distances)):
            name = f"infer/{name}/level{level}"
            recorded = recorder[name] * valid.transpose(1, 2).cpu()
            recorder.compare_with(name, split(outputs)[level].transpose(1, 2), recorded)
    return predictions


def _head_stages(detector: TemporalDetector, levels: list[Tensor], masks: list[Tensor]) -> dict[str, list[Tensor]]:
    """What comes out of each layer of both heads, but the last, per level."""
    decoder, found = detector.decoder, {}
    if isinstance(decoder, DynamicDecoder):
        known: list[Tensor | None] = list(masks)
        for name, stages in (("cls", decoder.class_trunk), ("reg", decoder.offset_trunk)):
            rows = levels
            for number, stage in enumerate(stages):
                rows = stage(rows, known)
                found[f"{name}_convs.{number}"] = rows
        return found
    assert isinstance(decoder, ActionformerDecoder)
    layout = PyramidLayout(tuple(level.shape[1] for level in levels), decoder.gap)
    packed = pack_masks(layout, masks, levels[0].dtype, detector.config, clean=False)
    for name, trunk in (("cls", decoder.classes.trunk), ("reg", decoder.offsets.trunk)):
        for number in range(len(trunk.convs)):
            part = copy.copy(trunk)
            part._modules = {key: cast(nn.ModuleList, each)[: number + 1] for key, each in trunk._modules.items()}
            found[f"{name}_convs.{number}"] = layout.split(part(layout.pack(levels), packed))
    return found


def _check_detections(
    recorder: Recorder, predictions: Predictions, recipe: Recipe, video: int, meta: dict[str, Any]
) -> None:
    points = pyramid_points(predictions.layout, predictions.refined.device)
    boundaries = predictions.boundaries
    assert isinstance(boundaries, PlainBoundaries)
    valid = predictions.valid[video]
    distances = boundaries.distances[video] * points.stride[:, None]
    proposals = torch.stack((points.time - distances[:, 0], points.time + distances[:, 1]), -1)[valid]
    recorder.compare(f"infer/proposals/{video}", proposals, atol=ENCODER_ATOL)
    recorder.compare(f"infer/scores/{video}", torch.sigmoid(predictions.refined[video])[valid])
    candidates = find_candidates(predictions, recipe.inference, video=video)
    recorded = _recorded(recorder, f"nms/in/{video}")
    recorder.compare_segments(f"nms/in/{video}", _tensors(candidates), recorded, CELL)
    given = ScoredSegments(
        labels=recorded[2].numpy(),
        starts=recorded[0][:, 0].contiguous().numpy(),
        ends=recorded[0][:, 1].contiguous().numpy(),
        scores=recorded[1].numpy(),
    )
    for name, source in (("recorded", given), ("own", candidates)):
        kept = _tensors(suppress(source, recipe.inference))
        recorder.compare_segments(
            f"nms/out/{video} of {name} candidates", kept, _recorded(recorder, f"nms/out/{video}"), CELL
        )
    frames = kept[0] * meta["snippet_stride"] + meta["window_start_frame"] + meta["offset_frames"]
    seconds = (frames / meta["fps"]).clamp(0, meta["duration"])
    post = _recorded(recorder, f"post/{video}")
    recorder.compare_with(f"post/{video}/scores", kept[1].sort(descending=True).values, post[1], atol=ATOL + 5e-5)
    recorder.compare_segments(f"post/{video}", (seconds, post[1], kept[2]), post, SECONDS)


def _recorded(recorder: Recorder, prefix: str) -> tuple[Tensor, Tensor, Tensor]:
    segments, scores, labels = (recorder[f"{prefix}/{name}"] for name in ("segments", "scores", "labels"))
    return segments, scores, labels.long()


def _tensors(found: ScoredSegments) -> tuple[Tensor, Tensor, Tensor]:
    times = torch.stack((torch.from_numpy(found.starts), torch.from_numpy(found.ends)), -1)
    return times, torch.from_numpy(found.scores), torch.from_numpy(found.labels)


def _check_training(recorder: Recorder, detector: TemporalDetector, recipe: Recipe) -> None:
    rows, mask = _inputs(recorder, "train", next(detector.parameters()).device)
    videos = range(len(rows))
    segments = [recorder[f"train/gt_segments/{video}"] for video in videos]
    labels = [recorder[f"train/gt_labels/{video}"] for video in videos]
    detector.train()
    predictions = detector(rows, mask)
    targets = batch_targets(predictions, recipe.model, segments, labels, recipe.training.assignment)
    inside = predictions.layout.inside(rows.device)
    valid = predictions.valid[:, inside].cpu()
    boundaries = predictions.boundaries
    assert isinstance(boundaries, PlainBoundaries)
    for name, ours in (("cls_logits", predictions.coarse), ("offsets", boundaries.distances)):
        recorded = recorder[f"train/{name}"] * valid[..., None]
        recorder.compare_with(f"train/{name}", ours[:, inside], recorded)
    recorder.compare("train/gt_cls", targets.classes[:, inside], atol=0)
    positive = recorder["train/gt_cls"].sum(-1) > 0
    distances = targets.distances[:, inside].cpu()[positive]
    recorder.compare_with("train/gt_offsets", distances, recorder["train/gt_offsets"][positive])
    normalizer = LossNormalizer(recipe.training.initial_loss_norm)
    losses = prediction_loss(predictions, targets, recipe.model, normalizer, recipe.training)
    recorder.compare("train/loss_normalizer", torch.tensor(normalizer.value))
    recorder.compare("train/loss/cls_loss", losses.classification)
    recorder.compare("train/loss/reg_loss", losses.regression * recipe.training.regression_weight)
    recorder.compare("train/loss/cost", losses.total)
    losses.total.backward()
