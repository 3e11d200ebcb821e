"""A recorded PointTAD on given maps of its image network: every stage, then matching, losses and gradients."""

from __future__ import annotations

from typing import Any, cast
from unittest.mock import patch

import torch
from torch import Tensor, nn

from harness.models.queries import ATOL, check_matches, watch
from harness.models.recorder import Recorder
from harness.models.training import check_gradients
from tal_cli.models.decoders.query.points import PointDecoder, PointLayer
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.inference.candidates import find_candidates
from tal_cli.models.predictions import Predictions, Queries
from tal_cli.models.recipe.decoders import PointSettings
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.code_bases import FAMILIES
from tal_cli.models.released.query_options import translate_pointtad
from tal_cli.models.store.checkpoint import build_detector
from tal_cli.models.training.loss import LossNormalizer, batch_loss
from tal_cli.models.training.query_loss import (
    Totals,
    cells_within,
    dense_loss,
    point_terms,
    query_counts,
    supervised_layers,
)
from tal_cli.models.training.query_matching import QueryTargets, query_targets

POINTS = 1e-3  # sampling amplifies errors of positions
GRADIENTS = 1e-4  # of the largest; as the recordings suggest
# Of training, which is not recorded; batches are as large as the recorded one.
LOOP = {"lr": "2e-4", "lr_drop": 10, "weight_decay": "1e-4", "clip_max_norm": 0.1}


def check_points(description: dict[str, Any], recorder: Recorder, device: torch.device) -> None:
    """Compare all that the case records."""
    maps = (recorder["infer/mixed_5c"], recorder["infer/mixed_4f"])
    options = LOOP | {"batch_size": len(recorder["train/mixed_5c"])} | description["config"]
    channels = (maps[0].shape[1], maps[1].shape[1])
    model, training, inference = translate_pointtad(options, channels)
    spec = FeatureSpec(extractor="recorded", channels=sum(channels), window=4, stride=options["interval"])
    recipe = Recipe(name=description["case"], features=spec, model=model, training=training, inference=inference)
    table = FAMILIES["pointtad"]
    state = {name[6:]: value for name, value in recorder.tensors.items() if name.startswith("state/")}
    # In evaluation mode throughout: dropout was off.
    detector = build_detector(recipe, table.translate_state(state), "recorded weights").to(device).eval()
    _check_detections(recorder, recipe, _check_stages(recorder, detector))
    _check_training(recorder, detector, recipe)
    # Sampling amplifies rounding here too: in float32, gradients depend on the processor's kernels. In float64 they do
    # not, and show how far the recorded ones are off: 7e-5 of the largest.
    with patch.object(Tensor, "float", Tensor.double):
        _batch_loss(recorder, detector.double(), recipe).backward()
    check_gradients(description, recorder, detector, table, atol=GRADIENTS)


def _rows(recorder: Recorder, prefix: str, device: torch.device) -> tuple[Tensor, Tensor]:
    rows = torch.cat([recorder[f"{prefix}/mixed_{name}"] for name in ("5c", "4f")], 1).transpose(1, 2).to(device)
    return rows, torch.ones(rows.shape[:2], dtype=torch.bool, device=device)


def _check_stages(recorder: Recorder, detector: TemporalDetector) -> Predictions:
    decoder = cast(PointDecoder, detector.decoder)
    modules: dict[str, nn.Module] = {"features": detector.embedding, "dense": decoder.dense}
    for number, layer in enumerate(decoder.layers):
        own = cast(PointLayer, layer)
        modules |= {f"deformation/layer{number}": own.features, f"self_attn/layer{number}": own.self_attention}
        modules |= {f"mixing/layer{number}": own.mixing, f"proposal/layer{number}": own}
    calls = watch(modules)
    rows, mask = _rows(recorder, "infer", next(detector.parameters()).device)
    with torch.no_grad():
        predictions = detector(rows, mask)
        levels = [calls["features"][1]]
        _, points = decoder.decode(levels, mask.sum(1, keepdim=True).float())
    for name, (_, result) in calls.items():
        kind = name.partition("/")[0]
        if kind == "self_attn":
            result = result[0].transpose(0, 1)
        elif kind == "deformation":
            result = result.flatten(0, 1).transpose(0, 1)
        elif kind in ("mixing", "proposal"):
            result = result.flatten(0, 1)
            result = result if kind == "mixing" else result[None]
        recorder.compare(f"infer/{name}", result, atol=POINTS if kind == "deformation" else ATOL)
    for number, found in enumerate(points):
        recorder.compare(f"infer/points/layer{number}", found, atol=ATOL)
    queries = predictions.queries
    assert queries is not None
    recorder.compare("infer/pred_logits", queries.logits, atol=ATOL)
    recorder.compare("infer/pred_segments", queries.segments, atol=ATOL)
    recorder.compare("post/dense", calls["dense"][1].sigmoid(), atol=ATOL)
    return predictions


def _check_detections(recorder: Recorder, recipe: Recipe, predictions: Predictions) -> None:
    edge = cast(PointSettings, recipe.model.decoder).edge
    for video, first in enumerate(recorder["post/base"].tolist()):
        found = find_candidates(predictions, recipe.inference, video=video)
        times = torch.stack([torch.from_numpy(side) for side in (found.starts, found.ends)], -1)
        recorder.compare_segments(
            f"post of {video}",
            (
                (times + edge) * recipe.features.stride + first,
                torch.from_numpy(found.scores),
                torch.from_numpy(found.labels),
            ),
            (recorder["post/segments"][video], recorder["post/scores"][video], recorder["post/labels"][video]),
            atol=1e-2,  # frames
        )


def _check_training(recorder: Recorder, detector: TemporalDetector, recipe: Recipe) -> None:
    settings = cast(PointSettings, recipe.model.decoder)
    rows, mask, segments, labels = _batch(recorder, detector, settings)
    queries = detector(rows, mask).queries
    assert queries is not None and queries.dense is not None
    recorder.compare("train/pred_logits", queries.logits, atol=ATOL)
    recorder.compare("train/pred_segments", queries.segments, atol=ATOL)
    targets = query_targets(queries, segments, labels, settings)
    totals = Totals.of(settings, query_counts(settings, labels))
    for layer in supervised_layers(settings, len(queries.logits)):
        _check_layer(recorder, queries, layer, targets, settings, totals)
    recorder.compare("train/dense_gt", cells_within(segments, labels, queries.dense, settings.edge))
    recorder.compare("train/loss/loss_dense", dense_loss(queries, recorder["train/dense_gt"]) / totals.videos)
    recorder.compare("train/loss/total", _batch_loss(recorder, detector, recipe))


def _batch(
    recorder: Recorder, detector: TemporalDetector, settings: PointSettings
) -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    """Rows in the detector's precision, mask, segments and labels of the recorded batch."""
    weight = next(detector.parameters())
    rows, mask = _rows(recorder, "train", weight.device)
    videos = range(len(rows))
    segments = [recorder[f"train/gt_segments/{video}"] * rows.shape[1] - settings.edge for video in videos]
    return rows.to(weight.dtype), mask, segments, [recorder[f"train/gt_labels/{video}"] for video in videos]


def _batch_loss(recorder: Recorder, detector: TemporalDetector, recipe: Recipe) -> Tensor:
    batch = _batch(recorder, detector, cast(PointSettings, recipe.model.decoder))
    return batch_loss(detector, *batch, LossNormalizer(1.0), recipe.training).total


def _check_layer(
    recorder: Recorder,
    queries: Queries,
    layer: int,
    targets: list[QueryTargets],
    settings: PointSettings,
    totals: Totals,
) -> None:
    matches = check_matches(recorder, queries, layer, targets, settings)
    terms = point_terms(queries, layer, matches, settings, totals)
    last = layer == len(queries.logits) - 1
    for name, term in (("ce", terms.classes), ("seg", terms.segments), ("giou", terms.overlap)):
        recorder.compare(f"train/loss/loss_{name}{'' if last else f'_{layer}'}", term / totals.segments)
    if last:
        right = queries.logits[layer][matches.video, matches.query].argmax(-1) == matches.label
        recorder.compare("train/loss/class_error", 100 - 100 * right.float().mean())
