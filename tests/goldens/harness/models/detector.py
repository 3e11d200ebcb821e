"""A recorded detector of any published code base: every stage of inference, then segments, then training."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from harness.models.recorder import ENCODER_ATOL, Recorder
from harness.models.segments import check_segments
from harness.models.training import check_training
from tal_cli.models.decoders.cltdr import CltdrDecoder
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.encoders.block_pyramid import BlockPyramid
from tal_cli.models.encoders.cascade import CascadeBlock
from tal_cli.models.encoders.transformer import Attention, Projection, TransformerBlock
from tal_cli.models.encoders.wavelet import WaveletEncoder
from tal_cli.models.layers.common import ChannelNorm, ConvEmbedding
from tal_cli.models.layers.pyramid import PyramidLayout, level_masks, pad_batch, padded_length, pyramid_points
from tal_cli.models.predictions import BinnedBoundaries, BoundaryShift, PlainBoundaries, Predictions, decode_everywhere
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.code_bases import FAMILIES, find_family
from tal_cli.models.released.keys import KeyTable
from tal_cli.models.released.options import translate_options
from tal_cli.models.store.checkpoint import build_detector

ENCODERS = {"transgmc": "cascade", "tfformer": "wavelet"}  # of code with ActionFormer's options


def check_detector(description: dict[str, Any], recorder: Recorder, device: torch.device) -> None:
    """Compare all that the case records."""
    detector, recipe, table = load_recorded(description, recorder.tensors)
    detector.to(device)
    embedding = detector.embedding
    if "aux/pos_embd" in recorder and isinstance(embedding, ConvEmbedding) and embedding.positions is not None:
        recorder.compare("aux/pos_embd", embedding.positions, atol=1e-6)
    for prefix, video in description["videos"].items():
        _check_stages(recorder, detector, recipe, prefix)
        check_segments(recorder, detector, recipe, prefix, video)
    if "train/gt_cls" in recorder:
        check_training(description, recorder, detector, recipe, table)


def load_recorded(description: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[TemporalDetector, Recipe, KeyTable]:
    """The recorded detector, its recipe, and the table of names of its code base."""
    state = {name[6:]: value for name, value in tensors.items() if name.startswith("state/")}
    table = find_family(list(state))
    recipe = _recipe(description, table)
    return build_detector(recipe, table.translate_state(state), "recorded weights"), recipe, table


def _recipe(description: dict[str, Any], table: KeyTable) -> Recipe:
    options = description["config"]["model"]
    cltdr = table is FAMILIES["cltdr-gmg"]
    encoder = next((kind for author, kind in ENCODERS.items() if table is FAMILIES[author]), None)
    model, training, inference = translate_options(options, cltdr=cltdr, encoder=encoder)
    # Which class loss CLTDR-GMG was trained with is an edit of its code, not an option.
    focal = not cltdr or any("sigmoid focal" in note for note in description["notes"])
    video = description["videos"]["infer"]
    return Recipe(
        name=description["case"],
        features=FeatureSpec(
            extractor="recorded",
            channels=sum(channels for channels, _ in model.streams) or options["input_dim"],
            window=video["feat_num_frames"],
            stride=video["feat_stride"],
        ),
        model=model,
        training=training.model_copy(update={"drop_path": 0.0, "class_loss": "focal" if focal else "varifocal"}),
        inference=inference,
    )


def _check_stages(recorder: Recorder, detector: TemporalDetector, recipe: Recipe, prefix: str) -> None:
    device = next(detector.parameters()).device
    features = recorder[f"{prefix}/feats"].t()
    batch, mask = pad_batch([features], padded_length(recipe.model, features.shape[0]))
    recorder.compare(f"{prefix}/batched_mask", mask[:, None], atol=0)
    if f"{prefix}/batched_input" in recorder:
        recorder.compare(f"{prefix}/batched_input", batch.transpose(1, 2), atol=0)
    batch, mask = batch.to(device), mask.to(device)
    masks = level_masks(mask, recipe.model)
    calls = _watch_blocks(recorder, detector, prefix)
    with torch.inference_mode():
        predictions = detector(batch, mask)
        for name, ours in calls.items():
            recorder.compare(name, ours.transpose(1, 2), atol=ENCODER_ATOL)
        encoded = detector.encode(batch, mask)
        mixed = detector.mix(encoded, list(masks))
        crossed = _crossed(detector, mixed, predictions.layout)
        if isinstance(detector.encoder, WaveletEncoder):
            crossed |= {"fused": encoded} | _branches(detector.encoder, detector.embedding(batch, masks[0]), masks)
            encoded = crossed["wavelets"]
        stages = {"backbone": encoded, "backbone_mask": masks, "neck": mixed, **crossed}
    packed = {name: predictions.layout.split(tensor) for name, tensor in _packed(predictions).items()}
    for stage, levels in (*stages.items(), *packed.items()):
        for level, ours in enumerate(levels):
            name = f"{prefix}/{stage}/level{level}"
            if name in recorder:
                # All but CLTDR-GMG's refined logits were recorded as [B, C, T].
                columns = ours if stage == "cls_refined" else ours.transpose(1, 2)
                recorder.compare(name, columns, **({"atol": ENCODER_ATOL} if stage == "backbone" else {}))
    _check_decoded(recorder, predictions, recipe, prefix)


def _watch_blocks(recorder: Recorder, detector: TemporalDetector, prefix: str) -> dict[str, Tensor]:
    """What goes into and comes out of the recorded blocks and their parts in the next call, by recorded name."""
    kept: dict[str, Tensor] = {}

    def watch(module: nn.Module, name: str, *, input: bool = False, part: int = 0) -> None:
        if name in recorder:

            def keep(module: nn.Module, arguments: tuple[Any, ...], result: Any) -> None:
                kept.setdefault(name, arguments[part] if input else result)

            module.register_forward_hook(keep)

    watch(detector.embedding, f"{prefix}/embed")
    encoder = detector.encoder
    groups = {"stem": encoder.stem, "branch": encoder.branch} if isinstance(encoder, BlockPyramid) else {}
    if isinstance(encoder, WaveletEncoder):
        parts = (encoder.time.stem, encoder.time.branch, encoder.wavelets.branch)
        groups = dict(zip(("stem", "time_branch", "freq_branch"), parts, strict=True))
    for group, blocks in groups.items():
        for number, block in enumerate(blocks):
            name = f"{prefix}/block/{group}.{number}"
            watch(block, f"{name}/in", input=True)
            watch(block, f"{name}/out")
            if isinstance(block, CascadeBlock):
                for stage, own in (("attn_channel", block.channel), ("attn_pre", block.whole), ("attn", block.local)):
                    watch(own.attention, f"{name}/{stage}")
                for stage, norm in (("after_channel", block.whole.norm), ("after_global", block.local.norm)):
                    _watch_rows(norm, f"{name}/{stage}", recorder, kept)
            if isinstance(block, TransformerBlock) and isinstance(encoder, WaveletEncoder):
                watch(block.attention, f"{name}/attn_pre")
                attention = cast(Attention, block.attention)
                _watch_rows(cast(Projection, attention.query).norm, f"{name}/qkv", recorder, kept)
    return kept


def _watch_rows(norm: ChannelNorm, name: str, recorder: Recorder, kept: dict[str, Tensor]) -> None:
    """Keeps what a norm is given, which is called by its `rows`."""
    if name not in recorder:
        return
    rows = norm.rows

    def keep(x: Tensor) -> Tensor:
        kept.setdefault(name, x)
        return rows(x)

    norm.rows = keep  # type: ignore[method-assign]


def _branches(encoder: WaveletEncoder, x: Tensor, masks: list[Tensor]) -> dict[str, list[Tensor]]:
    """The branches of TFFormer's encoder, and what each makes of the other."""
    known: list[Tensor | None] = list(masks)
    time, wavelets = encoder.branches(x, known)
    both = list(zip(time, wavelets, masks, strict=True))
    return {
        "time": time,
        "wavelets": wavelets,
        "time_mask": masks,
        "time_cross": [encoder.time_cross(a, b, mask) for a, b, mask in both],
        "freq_cross": [encoder.wavelet_cross(b, a, mask) for a, b, mask in both],
    }


def _crossed(detector: TemporalDetector, mixed: list[Tensor], layout: PyramidLayout) -> dict[str, list[Tensor]]:
    """What CLTDR makes of neighbouring levels, rows per level; nothing for other decoders."""
    if not isinstance(detector.decoder, CltdrDecoder):
        return {}
    crossed = detector.decoder.cross(layout.pack(mixed), layout, [None] * len(mixed))
    names = ("decls", "dereg", "cross_level")
    return {name: layout.split(features) for name, features in zip(names, crossed, strict=True)}


def _packed(predictions: Predictions) -> dict[str, Tensor]:
    """Predictions under their recorded names."""
    named = {"cls_logits": predictions.coarse, "cls_coarse": predictions.coarse, "cls_refined": predictions.refined}
    boundaries = predictions.boundaries
    if isinstance(boundaries, BinnedBoundaries):
        named |= {"offsets": boundaries.offsets, "start_logits": boundaries.starts, "end_logits": boundaries.ends}
    elif isinstance(boundaries, PlainBoundaries):
        named |= {"offsets": boundaries.distances}
    if predictions.factor is not None:
        named |= {"refine_prob": predictions.factor}
    if predictions.shift is not None:
        shift = predictions.shift
        assert isinstance(shift, BoundaryShift)  # few classes
        named |= {"refine_start": shift.start, "refine_end": shift.end}
    return named


def _check_decoded(recorder: Recorder, predictions: Predictions, recipe: Recipe, prefix: str) -> None:
    layout = predictions.layout
    decoded = decode_everywhere(predictions)
    points = pyramid_points(layout, predictions.coarse.device)
    for level, (start, length) in enumerate(zip(layout.starts, layout.lengths, strict=True)):
        cells = slice(start, start + length)
        for name, distances in (("decoded", decoded.refined), ("decoded_coarse", decoded.coarse)):
            if f"{prefix}/{name}/level{level}" in recorder:
                ours = distances[0, cells]
                by_class = ours.transpose(0, 1) if ours.ndim == 3 else ours
                recorder.compare(f"{prefix}/{name}/level{level}", by_class)
        if f"{prefix}/points/level{level}" in recorder:
            time = points.time[cells]
            low, high = recipe.model.level_ranges[level]
            table = (time, torch.full_like(time, low), torch.full_like(time, high), points.stride[cells])
            recorder.compare(f"{prefix}/points/level{level}", torch.stack(table, -1), atol=0)
