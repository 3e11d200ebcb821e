"""Parameters of OpenTAD's code: of ActionFormer as it has it, of AdaTAD's backbones, of CausalTAD and of DyFADet."""

from __future__ import annotations

import torch
from torch import Tensor

from tal_cli.models.released.code_bases.actionmamba import SCAN
from tal_cli.models.released.code_bases.shared import attention
from tal_cli.models.released.code_bases.tridet import SGP
from tal_cli.models.released.keys import CHANNELS, LINEAR, SAME, KeyTable, Rule, Spare

_BLOCK = "projection.{part}.{n}."
_OURS = "encoder.{part}.{n}."
# Norms as vectors, where code of ActionFormer's descent has them as [1, D, 1].
EMBEDDING = (
    Rule("projection.embed.{n}.conv.{p}", "embedding.convs.{n}.{p}"),
    Rule("projection.embed.{n}.norm.{p}", "embedding.norms.{n}.{p}"),
)
OUTPUTS = (
    Rule("rpn_head.cls_head.{p}", "decoder.classes.output.{p}"),
    Rule("rpn_head.reg_head.{p}", "decoder.offsets.output.{p}"),
    Rule("rpn_head.scale.{n}.scale", "decoder.offsets.level_scale[{n}]"),
)
SHARED = (*EMBEDDING, Rule("neck.fpn_norms.{n}.{p}", "norms.{n}.{p}"), *OUTPUTS)
NORMALIZER = ("rpn_head.loss_normalizer",)  # state of the loss

HEAD_TRUNKS = tuple(
    Rule(f"rpn_head.{theirs}_convs.{{n}}.{kind}.{{p}}", f"decoder.{ours}.trunk.{kind}s.{{n}}.{{p}}")
    for theirs, ours in (("cls", "classes"), ("reg", "offsets"))
    for kind in ("conv", "norm")
)

ACTIONFORMER = KeyTable(
    rules=(
        *SHARED,
        Rule(_BLOCK + "ln1.{p}", _OURS + "norm.{p}"),
        Rule(_BLOCK + "ln2.{p}", _OURS + "ffn_norm.{p}"),
        *attention(_BLOCK + "attn", _OURS + "attention", norms=SAME),
        Rule(_BLOCK + "mlp.0.{p}", _OURS + "ffn_in.{p}", LINEAR),
        Rule(_BLOCK + "mlp.3.{p}", _OURS + "ffn_out.{p}", LINEAR),
        Rule(_BLOCK + "drop_path_attn.scale", _OURS + "drop_attention.scale", CHANNELS),
        Rule(_BLOCK + "drop_path_mlp.scale", _OURS + "drop_ffn.scale", CHANNELS),
        *HEAD_TRUNKS,
    ),
    unused=NORMALIZER,
    beside=("backbone.",),
)

# AdaTAD's networks with their adapters, under the names of a tuned backbone. A side network's adapters are counted
# from the first; `model_files/adatad.py` turns that into numbers of blocks.
ADATAD = "backbone.model.backbone."
ADAPTER = ("dwconv.{p}", "conv.{p}", "down_proj.{p}", "up_proj.{p}", "gamma")
BACKBONE = KeyTable(
    rules=(
        Rule(ADATAD + "patch_embed.projection.{p}", "network.patch_embed.proj.{p}"),
        *(
            Rule(f"{ADATAD}blocks.{{n}}.{theirs}", f"network.blocks.{{n}}.{ours}")
            for theirs, ours in (
                *((name, name) for name in ("norm1.{p}", "norm2.{p}", "attn.q_bias", "attn.v_bias")),
                ("attn.qkv.weight", "attn.qkv.weight"),
                ("attn.proj.{p}", "attn.proj.{p}"),
                ("mlp.layers.0.0.{p}", "mlp.fc1.{p}"),
                ("mlp.layers.1.{p}", "mlp.fc2.{p}"),
            )
        ),
        *(Rule(f"{ADATAD}blocks.{{n}}.adapter.{name}", f"adapters.{{n}}.{name}") for name in ADAPTER),
        *(Rule(f"{ADATAD}ladders.adapters.{{n}}.{name}", f"ladder.{{n}}.{name}") for name in ADAPTER),
    ),
)

CAUSALTAD = KeyTable(
    rules=(
        *SHARED,
        Rule(_BLOCK + "norm.{p}", _OURS + "norm.{p}"),
        *(Rule(f"{_BLOCK}block.{theirs}", f"{_OURS}mixture.{ours}") for theirs, ours in SCAN.items()),
        Rule(_BLOCK + "block.qkv.{p}", _OURS + "mixture.qkv.{p}"),
        Rule(_BLOCK + "drop_path.scale", _OURS + "drop_mix.scale", CHANNELS),
        *HEAD_TRUNKS,
    ),
    unused=NORMALIZER,
)


def _shifts(wide: Tensor) -> Tensor:
    """The fixed convolution that copies each channel's neighbours, of a kernel [O, I, k] per channel or of them all."""
    outputs, inputs, kernel = wide.shape
    channels = outputs if inputs == 1 else inputs // kernel
    return torch.eye(kernel, device=wide.device)[:, None].repeat(channels, 1, 1)


def _stages(released: str, ours: str) -> tuple[Rule, ...]:
    stage, own = f"rpn_head.{released}_convs.{{n}}.", f"decoder.{ours}.{{n}}."
    return (
        Rule(stage + "output_weight", own + "own_scale"),
        Rule(stage + "scale_weight", own + "scale"),
        *_aggregation(stage + "depth_module", own + "mix"),
        Rule(stage + "depth_module.kernel_conv.conv.{p}", own + "mix.weights.{p}"),
        Rule(stage + "depth_module.kernel_conv.norm.{p}", own + "mix.weights_norm.{p}"),
        Rule(stage + "depth_module.kernel_conv.gate.gate_conv.{p}", own + "mix.gate.{p}"),
        *(
            rule
            for place, side in enumerate(("below", "above"))
            for rule in (
                *_aggregation(f"{stage}dynamic_convs.{place}", own + side),
                Rule(f"{stage}dynamic_convs.{place}.kernel_conv.gate_conv.{{p}}", own + side + ".gate.{p}"),
            )
        ),
    )


def _aggregation(released: str, ours: str) -> tuple[Rule, ...]:
    return (
        Rule(released + ".conv.{p}", ours + ".linear.{p}", LINEAR),
        Rule(released + ".norm.{p}", ours + ".norm.{p}"),
    )


DYFADET = KeyTable(
    rules=(
        *SHARED,
        Rule(_BLOCK + "ln.{p}", _OURS + "norm.{p}"),
        *(Rule(_BLOCK + theirs, _OURS + ours, layout) for theirs, ours, layout in SGP),
        *_stages("cls", "class_trunk"),
        *_stages("reg", "offset_trunk"),
    ),
    unused=NORMALIZER,
    spares=tuple(
        Spare(f"{stage}.{part}.shift_conv.weight", f"{stage}.{part}.kernel_conv.{twin}.weight", _shifts)
        for stage in ("rpn_head.cls_convs.{n}", "rpn_head.reg_convs.{n}")
        for part, twin in (("depth_module", "conv"), ("dynamic_convs.0", "gate_conv"), ("dynamic_convs.1", "gate_conv"))
    ),
)
