"""Parameters of the released ActionFormer code: transformer or convolutional encoder, plain regression."""

from __future__ import annotations

from tal_cli.models.released.code_bases.shared import CONV_ENCODER, EMBEDDING, HEADS, NORMS, TOP_DOWN, attention
from tal_cli.models.released.keys import CHANNELS, LINEAR, KeyTable, Rule

_BLOCK = "backbone.{part}.{n}."
_OURS = "encoder.{part}.{n}."
TRANSFORMER_ENCODER = (
    Rule(_BLOCK + "ln1.{p}", _OURS + "norm.{p}", CHANNELS),
    Rule(_BLOCK + "ln2.{p}", _OURS + "ffn_norm.{p}", CHANNELS),
    *attention(_BLOCK + "attn", _OURS + "attention"),
    Rule(_BLOCK + "mlp.0.{p}", _OURS + "ffn_in.{p}", LINEAR),
    Rule(_BLOCK + "mlp.3.{p}", _OURS + "ffn_out.{p}", LINEAR),
    Rule(_BLOCK + "drop_path_attn.scale", _OURS + "drop_attention.scale", CHANNELS),
    Rule(_BLOCK + "drop_path_mlp.scale", _OURS + "drop_ffn.scale", CHANNELS),
)
TABLE = KeyTable(rules=(*EMBEDDING, *TRANSFORMER_ENCODER, *CONV_ENCODER, *TOP_DOWN, *NORMS, *HEADS))
