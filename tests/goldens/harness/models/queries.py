"""A recorded query decoder: every stage of inference, post-processing, then matching, losses and gradients."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from harness.models.recorder import Recorder
from harness.models.training import check_gradients
from tal_cli.models.decoders.query.decoder import QueryDecoder, QueryLayer, regions_around
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.encoders.deformable import DeformableEncoder, DeformableLayer
from tal_cli.models.inference.candidates import find_candidates
from tal_cli.models.layers.deformable import DeformableAttention, sine_positions
from tal_cli.models.predictions import Predictions, Queries
from tal_cli.models.recipe.decoders import QueriesSettings, QuerySettings
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.code_bases import FAMILIES
from tal_cli.models.released.keys import KeyTable
from tal_cli.models.released.query_options import translate_tadtr
from tal_cli.models.store.checkpoint import build_detector
from tal_cli.models.training.loss import LossNormalizer, batch_loss
from tal_cli.models.training.query_loss import layer_terms, quality_error
from tal_cli.models.training.query_matching import (
    Matches,
    QueryTargets,
    bounds,
    match_layer,
    matching_cost,
    query_targets,
)

ATOL, REGIONS = 1e-4, 1e-3


def check_queries(description: dict[str, Any], recorder: Recorder, device: torch.device) -> None:
    """Compare all that the case records."""
    options = description["config"]
    model, training, inference = translate_tadtr(options, description["num_classes"])
    size = recorder["infer/feats"].shape[2]
    chunks = {"chunk_length": size, "chunk_overlap": 0}
    recipe = Recipe(
        name=description["case"],
        features=FeatureSpec(extractor="recorded", channels=description["input_channels"], window=16, stride=4),
        model=undropped(model.model_copy(update={"pad_length": size, "padding": "masked"})),
        training=training,
        inference=inference.model_copy(update=chunks),
    )
    table = FAMILIES["tadtr" if options["seg_refine"] else "tadtr-plain"]
    state = {name[6:]: value for name, value in recorder.tensors.items() if name.startswith("state/")}
    detector = build_detector(recipe, table.translate_state(state), "recorded weights").to(device)
    predictions = _check_stages(recorder, detector)
    _check_detections(description["info"]["post_runs"], recorder, recipe, predictions)
    _check_training(description, recorder, detector, recipe, table)


def undropped(model: Any) -> Any:
    """The same settings without dropout."""
    parts = {name: getattr(model, name).model_copy(update={"dropout": 0.0}) for name in ("encoder", "decoder")}
    return model.model_copy(update=parts)


def _inputs(recorder: Recorder, prefix: str, device: torch.device) -> tuple[Tensor, Tensor]:
    rows, padded = recorder[f"{prefix}/feats"].transpose(1, 2), recorder[f"{prefix}/mask"]
    return rows.to(device), ~padded.to(device)


def watch(modules: dict[str, nn.Module]) -> dict[str, tuple[tuple[Any, ...], Any]]:
    """Arguments and result of each module's next call, by name."""
    calls: dict[str, tuple[tuple[Any, ...], Any]] = {}

    def keep(name: str, module: nn.Module, arguments: tuple[Any, ...], result: Any) -> None:
        calls[name] = arguments, result

    for name, module in modules.items():
        module.register_forward_hook(partial(keep, name))
    return calls


def _check_stages(recorder: Recorder, detector: TemporalDetector) -> Predictions:
    rows, mask = _inputs(recorder, "infer", next(detector.parameters()).device)
    encoder, decoder = detector.encoder, detector.decoder
    assert isinstance(encoder, DeformableEncoder) and isinstance(decoder, QueryDecoder)
    modules: dict[str, nn.Module] = {"src": detector.embedding}
    modules |= {f"encoder/layer{number}": layer for number, layer in enumerate(encoder.layers)}
    modules |= {"encoder_attn": cast(DeformableLayer, encoder.layers[0]).attention} if len(encoder.layers) else {}
    for number, layer in enumerate(decoder.layers):
        own = cast(QueryLayer, layer)
        modules |= {f"self_attn/layer{number}": own.self_attention, f"cross_attn/layer{number}": own.cross_attention}
    modules |= {f"decoder/layer{number}": layer for number, layer in enumerate(decoder.layers)}
    calls = watch(modules)
    with torch.no_grad():
        predictions = detector(rows, mask)
    queries = predictions.queries
    assert queries is not None
    recorder.compare("infer/pos", sine_positions(mask[..., None], detector.config.width).transpose(1, 2))
    recorder.compare("infer/src", calls["src"][1].transpose(1, 2))
    for name, (_, result) in calls.items():
        if name.startswith("encoder/"):
            recorder.compare(f"infer/{name}", result, atol=ATOL)
        if name.startswith("self_attn/"):
            recorder.compare(f"infer/{name}", result[0].transpose(0, 1), atol=ATOL)
        if name.startswith("cross_attn/"):
            recorder.compare(f"infer/{name}/output", result, atol=ATOL)
    for name in ("encoder_attn", *(name for name in calls if name.startswith("cross_attn/"))):
        attention = modules[name]
        assert isinstance(attention, DeformableAttention)
        with torch.no_grad():
            locations, weights = attention.places(calls[name][0][0], calls[name][0][1], calls[name][0][3])
        recorder.compare(f"infer/{name}/locations", locations[:, :, :, 0], atol=ATOL)
        recorder.compare(f"infer/{name}/weights", weights[:, :, :, 0], atol=ATOL)
    last = [calls[f"encoder/layer{number}"][1] for number in range(len(encoder.layers))]
    memory = last[-1] if last else calls["src"][1]
    recorder.compare("infer/memory", memory.transpose(1, 2), atol=ATOL)
    hidden = [calls[f"decoder/layer{number}"] for number in range(len(decoder.layers))]
    recorder.compare("infer/hs", torch.stack([result for _, result in hidden]), atol=ATOL)
    ratio = queries.counts[:, None, None] / rows.shape[1]
    recorder.compare("infer/init_reference", hidden[0][0][2] / ratio, atol=ATOL)
    references = queries.segments
    if not decoder.settings.refine:
        references = (hidden[0][0][2] / ratio).expand(len(hidden), -1, -1, -1)
    recorder.compare("infer/references", references, atol=ATOL)
    recorder.compare("infer/pred_logits", queries.logits, atol=ATOL)
    recorder.compare("infer/pred_segments", queries.segments, atol=ATOL)
    if queries.quality is not None:
        _check_regions(recorder, decoder, memory, queries.segments[-1])
        recorder.compare("infer/pred_actionness", torch.sigmoid(queries.quality[-1, 0])[..., None], atol=ATOL)
    return predictions


def _check_regions(recorder: Recorder, decoder: QueryDecoder, memory: Tensor, segments: Tensor) -> None:
    regions = regions_around(segments, memory.shape[1])
    number = torch.arange(len(regions), device=regions.device)[:, None, None].expand(-1, regions.shape[1], 1)
    recorder.compare("infer/rois", torch.cat((number, regions), -1).flatten(0, 1), atol=REGIONS)
    recorder.compare("infer/roi_features", decoder.pool(memory, segments).flatten(0, 1), atol=REGIONS)


def _check_detections(runs: list[dict[str, Any]], recorder: Recorder, recipe: Recipe, predictions: Predictions) -> None:
    queries = predictions.queries
    assert queries is not None and isinstance(recipe.model.decoder, QuerySettings)
    for run in runs:
        per_query = run["postproc_cls_topk"] if run["postproc_rank"] == 2 else None
        count = queries.logits.shape[2] * (per_query or queries.logits.shape[3])
        limit = count if per_query else min(run["postproc_ins_topk"], count)
        config = recipe.inference.model_copy(update={"classes_per_point": per_query, "pre_nms_top_k": limit})
        used = predictions if run["fuse_score"] else replace(predictions, refined=predictions.coarse)
        for video in range(len(queries.counts)):
            found = find_candidates(used, config, video=video)
            unit = float(recorder["infer/video_duration"][video] / queries.counts[video])
            ours = (torch.from_numpy(times) + recipe.model.decoder.edge for times in (found.starts, found.ends))
            key = run["key"]
            recorder.compare_segments(
                f"{key} video {video}",
                (torch.stack(tuple(ours), -1) * unit, torch.from_numpy(found.scores), torch.from_numpy(found.labels)),
                tuple(recorder[f"{key}/{name}"][video] for name in ("segments", "scores", "labels")),  # type: ignore[arg-type]
                atol=1e-3,
            )


def _check_training(
    description: dict[str, Any], recorder: Recorder, detector: TemporalDetector, recipe: Recipe, table: KeyTable
) -> None:
    settings = recipe.model.decoder
    assert isinstance(settings, QuerySettings)
    rows, mask = _inputs(recorder, "train", next(detector.parameters()).device)
    videos = range(len(rows))
    counts = mask.sum(1)
    segments = [bounds(recorder[f"train/gt_segments/{v}"]) * counts[v].cpu() - settings.edge for v in videos]
    labels = [recorder[f"train/gt_labels/{v}"] for v in videos]
    detector.train()
    predictions = detector(rows, mask)
    queries = predictions.queries
    assert queries is not None
    recorder.compare("train/pred_logits", queries.logits, atol=ATOL)
    recorder.compare("train/pred_segments", queries.segments, atol=ATOL)
    if queries.quality is not None:
        recorder.compare("train/pred_actionness", torch.sigmoid(queries.quality[-1, 0])[..., None], atol=ATOL)
    targets = query_targets(queries, segments, labels, settings)
    total = max(1, sum(len(label) for label in labels))
    last = len(queries.logits) - 1
    for layer in range(last + 1):
        matches = check_matches(recorder, queries, layer, targets, settings)
        terms = layer_terms(queries, layer, matches)
        suffix = "" if layer == last else f"_{layer}"
        for name, term in (("ce", terms.classes), ("segments", terms.segments), ("iou", terms.overlap)):
            recorder.compare(f"train/loss/loss_{name}{suffix}", term / total)
        if layer == last:
            right = queries.logits[layer][matches.video, matches.query].argmax(-1) == matches.label
            recorder.compare("train/loss/class_error", 100 - 100 * right.float().mean())
    if queries.quality is not None:
        error = quality_error(queries, targets, shared=True)
        recorder.compare("train/loss/loss_actionness", error / queries.quality[-1, 0].numel())
    losses = batch_loss(detector, rows, mask, segments, labels, LossNormalizer(1.0), recipe.training)
    recorder.compare("train/loss/total", losses.total)
    losses.total.backward()
    check_gradients(description, recorder, detector, table)


def check_matches(
    recorder: Recorder, queries: Queries, layer: int, targets: list[QueryTargets], settings: QueriesSettings
) -> Matches:
    """Compare the costs and the matches of each video at one layer, and return the matches."""
    matches = match_layer(queries, layer, targets, settings)
    for video, target in enumerate(targets):
        name = f"layer{layer}/video{video}"
        cost = matching_cost(queries.logits[layer, video], queries.segments[layer, video], target, settings)
        recorder.compare(f"train/cost/{name}", cost, atol=ATOL)
        own = matches.video == video
        recorded = recorder[f"train/match/{name}"]
        recorder.compare_with(f"train/match/{name} queries", matches.query[own], recorded[0], atol=0)
        recorder.compare_with(f"train/match/{name} targets", matches.segment[own], target.segments[recorded[1]], atol=0)
    return matches
