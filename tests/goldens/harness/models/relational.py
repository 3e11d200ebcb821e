"""A recorded ReAct: every stage of inference, whole videos, then matching, losses and gradients."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from harness.models.queries import ATOL, check_matches, watch
from harness.models.recorder import Recorder
from harness.models.training import check_gradients
from tal_cli.models.decoders.query.relational import RelationalDecoder, RelationalLayer
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.encoders.deformable import DeformableEncoder, DeformableLayer
from tal_cli.models.inference.chunks import collect_candidates
from tal_cli.models.inference.nms import suppress
from tal_cli.models.layers.pyramid import pad_batch
from tal_cli.models.predictions import Queries
from tal_cli.models.recipe.decoders import RelationalSettings
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.code_bases import FAMILIES
from tal_cli.models.released.query_options import translate_react
from tal_cli.models.store.checkpoint import build_detector
from tal_cli.models.training.contrast import Contrasts, contrast, pooled
from tal_cli.models.training.loss import LossNormalizer, batch_loss
from tal_cli.models.training.query_loss import again_loss, relational_terms
from tal_cli.models.training.query_matching import (
    QueryTargets,
    bounds,
    query_targets,
)


def check_react(description: dict[str, Any], recorder: Recorder, device: torch.device) -> None:
    """Compare all that the case records."""
    options = description["config"]
    model, training, inference = translate_react(options)
    spec = FeatureSpec(extractor="recorded", channels=options["input_feat_dim"], window=16, stride=4)
    recipe = Recipe(name=description["case"], features=spec, model=model, training=training, inference=inference)
    table = FAMILIES["react"]
    state = {name[6:]: value for name, value in recorder.tensors.items() if name.startswith("state/")}
    detector = build_detector(recipe, table.translate_state(state), "recorded weights").to(device)
    _check_stages(recorder, detector)
    _check_videos(recorder, detector, recipe)
    _check_training(recorder, detector, recipe)
    check_gradients(description, recorder, detector, table)
    _check_contrast(recorder, detector)


def _check_stages(recorder: Recorder, detector: TemporalDetector) -> None:
    encoder, decoder = cast(DeformableEncoder, detector.encoder), cast(RelationalDecoder, detector.decoder)
    first = cast(DeformableLayer, encoder.layers[0])
    modules: dict[str, nn.Module] = {"src": detector.embedding, "encoder_attn": first.attention}
    modules |= {f"encoder/layer{number}": layer for number, layer in enumerate(encoder.layers)}
    for number, layer in enumerate(decoder.layers):
        own = cast(RelationalLayer, layer)
        modules |= {f"relation/layer{number}": own.relation, f"cross_attn/layer{number}": own.cross_attention}
        modules[f"decoder/layer{number}"] = own
    calls = watch(modules)
    device = next(detector.parameters()).device
    mask = ~recorder["infer/mask"].to(device)
    with torch.no_grad():
        queries = detector(recorder["infer/feats"].to(device), mask).queries
    assert queries is not None and queries.quality is not None
    for name, (arguments, result) in calls.items():
        recorder.compare(f"infer/{name}", result if name == "src" else result.transpose(0, 1), atol=ATOL)
        if name.startswith("relation/") and arguments[1].shape[2] == 2:
            related = cast(RelationalLayer, decoder.layers[int(name[-1])]).relation.related(*arguments)
            recorder.compare(f"infer/forbidden/{name.partition('/')[2]}", ~related, atol=0)
    recorder.compare("infer/memory", calls[f"encoder/layer{len(encoder.layers) - 1}"][1], atol=ATOL)
    ratio = queries.counts[:, None, None] / mask.shape[1]
    recorder.compare("infer/init_reference", calls["decoder/layer0"][0][1] / ratio, atol=ATOL)
    # The released code also corrects the last reference, before the last norm, and nothing reads it.
    recorder.compare_with("infer/references", queries.segments[:-1], recorder["infer/references"][:-1], atol=ATOL)
    hidden = torch.stack([calls[f"decoder/layer{number}"][1] for number in range(len(decoder.layers))])
    hidden[-1] = decoder.norm(hidden[-1]).detach()
    recorder.compare("infer/hs", hidden, atol=ATOL)
    content = decoder.queries.chunk(2, -1)[0]
    recorder.compare("infer/query_features", content[:, None].expand(-1, len(mask), -1))
    recorder.compare("infer/pred_logits", queries.logits, atol=ATOL)
    recorder.compare("infer/pred_seg", queries.segments, atol=ATOL)
    for index, name in enumerate(("pred_iou", "pred_cen")):
        recorder.compare(f"infer/{name}", torch.sigmoid(queries.quality[:, index])[..., None], atol=ATOL)


def _check_videos(recorder: Recorder, detector: TemporalDetector, recipe: Recipe) -> None:
    edge = cast(RelationalSettings, recipe.model.decoder).edge
    for video in range(sum(name.startswith("video/feats/") for name in recorder.tensors)):
        rows = recorder[f"video/feats/{video}"]
        found = collect_candidates(detector, rows, recipe.inference)
        for name, part in (("candidates", found), ("final", suppress(found, recipe.inference))):
            scores, names = torch.from_numpy(part.scores), torch.from_numpy(part.labels)
            times = torch.stack((torch.from_numpy(part.starts), torch.from_numpy(part.ends)), -1)
            recorded = recorder[f"video/{name}"]
            own = recorded[recorded[:, 0] == video]
            recorder.compare_segments(
                f"video/{name} of {video}",
                ((times + edge) / len(rows), scores, names),
                (own[:, 2:4], own[:, 4], own[:, 1].long()),
                atol=ATOL,
            )


def _check_training(recorder: Recorder, detector: TemporalDetector, recipe: Recipe) -> None:
    settings = cast(RelationalSettings, recipe.model.decoder)
    videos = range(sum(name.startswith("train/feats/") for name in recorder.tensors))
    rows, mask = pad_batch([recorder[f"train/feats/{video}"] for video in videos], recipe.model.pad_length)
    counts = mask.sum(1)
    segments = [bounds(recorder[f"train/gt/{v}"][:, 1:]) * counts[v] - settings.edge for v in videos]
    labels = [recorder[f"train/gt/{v}"][:, 0].long() for v in videos]
    detector.train()
    queries = detector(rows, mask).queries
    assert queries is not None and queries.quality is not None
    recorder.compare("train/pred_logits", queries.logits, atol=ATOL)
    recorder.compare("train/pred_seg", queries.segments, atol=ATOL)
    targets = query_targets(queries, segments, labels, settings)
    for layer in range(len(queries.logits)):
        _check_layer(recorder, queries, layer, targets, settings)
    losses = batch_loss(detector, rows, mask, segments, labels, LossNormalizer(1.0), recipe.training)
    recorder.compare("train/loss/total", losses.total)
    for step, name in ((settings.class_warmup - 1, "loss_warmup"), (settings.class_warmup, "loss")):
        inputs = (rows, mask, segments, labels, LossNormalizer(1.0), recipe.training)
        recorder.compare(f"train/{name}/total", batch_loss(detector, *inputs, step=step).total)
    losses.total.backward()


def _check_contrast(recorder: Recorder, detector: TemporalDetector) -> None:
    """The first stage. Recorded are an instance, its parts, its partner and the other one; here the parts come last."""
    recorded = recorder["contrast/segments"]
    parts = recorded.shape[1] - 3
    order, clip = [0, parts + 1, parts + 2, *range(1, parts + 1)], [0, 1, 2, *[0] * parts]
    rows = torch.cat([recorder[f"contrast/{name}"] for name in ("own", "partner", "other")])
    first = torch.arange(len(recorded))[:, None]
    chosen = Contrasts(first + torch.tensor(clip) * len(recorded), recorded[:, order].float() * rows.shape[1])
    detector.zero_grad()
    found = pooled(detector.embedding(rows, None), chosen)
    recorder.compare_with("contrast/roi_features_mean", found, recorder["contrast/roi_features_mean"][:, order])
    loss = cast(RelationalSettings, detector.config.decoder).contrast_weight * contrast(found)
    recorder.compare("contrast/loss_aceenc", loss)
    loss.backward()
    for name, parameter in cast(nn.Module, detector.embedding.linear).named_parameters():
        assert parameter.grad is not None
        recorder.compare(f"contrast/grad/input_proj.layers.0.{name}", parameter.grad)


def _check_layer(
    recorder: Recorder, queries: Queries, layer: int, targets: list[QueryTargets], settings: RelationalSettings
) -> None:
    matches = check_matches(recorder, queries, layer, targets, settings)
    terms = relational_terms(queries, layer, matches, targets)
    assert terms.centre is not None and terms.quality is not None
    total, last = sum(len(target.labels) for target in targets), layer == len(queries.logits) - 1
    quality = terms.centre / total + terms.quality / queries.logits[layer, :, :, 0].numel()
    found: dict[str, Tensor] = {
        "seg_loss": settings.segment_weight * terms.segments / total,
        "iou_loss": settings.iou_weight * terms.overlap / total,
        "quality_loss": settings.quality_weight * quality,
        "ce_loss": settings.class_weight * terms.classes / total,
    }
    if last:
        found["gt_loss"] = settings.again_weight * again_loss(queries, matches) / total
    for name, value in found.items():
        recorder.compare(f"train/loss/{name if last else f'{layer}_{name}'}", value)
