"""Parameters of the released TriDet code: SGP or convolutional encoder, with or without its own head and neck."""

from __future__ import annotations

from tal_cli.models.released.code_bases.shared import BOUNDARY_HEADS, CONV_ENCODER, EMBEDDING, HEADS, NORMS, TOP_DOWN
from tal_cli.models.released.keys import CHANNELS, LINEAR, SAME, KeyTable, Rule

_BLOCK = "backbone.{part}.{n}."
_OURS = "encoder.{part}.{n}."
SGP = (
    ("gn.{p}", "ffn_norm.{p}", SAME),
    ("psi.{p}", "gate.{p}", SAME),
    ("fc.{p}", "instant.{p}", SAME),
    ("convw.{p}", "local.{p}", SAME),
    ("convkw.{p}", "wide.{p}", SAME),
    ("global_fc.{p}", "context.{p}", SAME),
    ("mlp.0.{p}", "ffn_in.{p}", LINEAR),
    ("mlp.2.{p}", "ffn_out.{p}", LINEAR),
    ("drop_path_out.scale", "drop_mix.scale", CHANNELS),
    ("drop_path_mlp.scale", "drop_ffn.scale", CHANNELS),
)
SGP_ENCODER = (
    *(Rule(_BLOCK + theirs, _OURS + ours, layout) for theirs, ours, layout in SGP),
    Rule(_BLOCK + "ln.{p}", _OURS + "norm.{p}", CHANNELS),
    Rule(_BLOCK + "downsample.1.{p}", _OURS + "pool.linear.{p}", LINEAR),
)
TABLE = KeyTable(rules=(*EMBEDDING, *SGP_ENCODER, *CONV_ENCODER, *TOP_DOWN, *NORMS, *HEADS, *BOUNDARY_HEADS))
