"""Parameters of the released TransGMC code: ActionFormer's, but for encoder and neck, and four in ten that nothing
reads."""

from __future__ import annotations

from tal_cli.models.released.code_bases.shared import EMBEDDING, FUSION, HEADS, NORMS, STREAMS, attention
from tal_cli.models.released.keys import CHANNELS, LINEAR, KeyTable, Rule, Spare

_BLOCK = "backbone.{part}.{n}."
_OURS = "encoder.{part}.{n}."


def _stage(suffix: str, ours: str) -> tuple[Rule, ...]:
    return (
        Rule(f"{_BLOCK}ln1{suffix}.{{p}}", f"{_OURS}{ours}.norm.{{p}}", CHANNELS),
        Rule(f"{_BLOCK}ln2{suffix}.{{p}}", f"{_OURS}{ours}.ffn_norm.{{p}}", CHANNELS),
        *attention(f"{_BLOCK}attn{suffix}", f"{_OURS}{ours}.attention"),
        Rule(f"{_BLOCK}drop_path_attn{suffix}.scale", f"{_OURS}{ours}.drop_attention.scale", CHANNELS),
        Rule(f"{_BLOCK}drop_path_mlp{suffix}.scale", f"{_OURS}{ours}.drop_ffn.scale", CHANNELS),
    )


ENCODER = (
    *_stage("_channel", "channel"),
    *_stage("_pre", "whole"),
    *_stage("", "local"),
    Rule(_BLOCK + "mlp.0.{p}", _OURS + "ffn_in.{p}", LINEAR),
    Rule(_BLOCK + "mlp.3.{p}", _OURS + "ffn_out.{p}", LINEAR),
)
SPARES = (
    *(Spare(f"{_BLOCK}mlp_{kind}.{{m}}.{{p}}", f"{_BLOCK}mlp.{{m}}.{{p}}") for kind in ("pre", "channel")),
    Spare(_BLOCK + "conv_input.{p}", _BLOCK + "attn.proj.{p}"),
)
TABLE = KeyTable(rules=(*STREAMS, *EMBEDDING, *ENCODER, *FUSION, *NORMS, *HEADS), spares=SPARES)
