"""Parameters of the released TriDet code: SGP or convolutional encoder, with or without its own head and neck."""

from __future__ import annotations

from tal_cli.models.released.code_bases.shared import BOUNDARY_HEADS, CONV_ENCODER, EMBEDDING, HEADS, NORMS, TOP_DOWN
from tal_cli.models.released.keys import CHANNELS, LINEAR, KeyTable, Rule

_BLOCK = "backbone.{part}.{n}."
_OURS = "encoder.{part}.{n}."
SGP_ENCODER = (
    Rule(_BLOCK + "ln.{p}", _OURS + "norm.{p}", CHANNELS),
    Rule(_BLOCK + "gn.{p}", _OURS + "ffn_norm.{p}"),
    Rule(_BLOCK + "psi.{p}", _OURS + "gate.{p}"),
    Rule(_BLOCK + "fc.{p}", _OURS + "instant.{p}"),
    Rule(_BLOCK + "convw.{p}", _OURS + "local.{p}"),
    Rule(_BLOCK + "convkw.{p}", _OURS + "wide.{p}"),
    Rule(_BLOCK + "global_fc.{p}", _OURS + "context.{p}"),
    Rule(_BLOCK + "downsample.1.{p}", _OURS + "pool.linear.{p}", LINEAR),
    Rule(_BLOCK + "mlp.0.{p}", _OURS + "ffn_in.{p}", LINEAR),
    Rule(_BLOCK + "mlp.2.{p}", _OURS + "ffn_out.{p}", LINEAR),
    Rule(_BLOCK + "drop_path_out.scale", _OURS + "drop_mix.scale", CHANNELS),
    Rule(_BLOCK + "drop_path_mlp.scale", _OURS + "drop_ffn.scale", CHANNELS),
)
TABLE = KeyTable(rules=(*EMBEDDING, *SGP_ENCODER, *CONV_ENCODER, *TOP_DOWN, *NORMS, *HEADS, *BOUNDARY_HEADS))
