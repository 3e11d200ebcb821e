"""Parameters of the released CLTDR-GMG code."""

from __future__ import annotations

from tal_cli.models.released.code_bases.shared import BOUNDARY_HEADS, EMBEDDING, HEADS, NORMS
from tal_cli.models.released.keys import CHANNELS, PARTS, PARTS_1, KeyTable, Rule

_BLOCK = "backbone.{part}.{n}."
_OURS = "encoder.{part}.{n}."
ENCODER = (
    Rule(_BLOCK + "w1", _OURS + "filter.weight_in", PARTS_1),
    Rule(_BLOCK + "b1", _OURS + "filter.bias_in", PARTS),
    Rule(_BLOCK + "w2", _OURS + "filter.weight_out", PARTS_1),
    Rule(_BLOCK + "b2", _OURS + "filter.bias_out", PARTS),
    Rule(_BLOCK + "ln.{p}", _OURS + "norm.{p}", CHANNELS),
    Rule(_BLOCK + "gn.{p}", _OURS + "ffn_norm.{p}"),
    Rule(_BLOCK + "fc.{p}", _OURS + "instant.{p}"),
    Rule(_BLOCK + "convw.{p}", _OURS + "local.{p}"),
    Rule(_BLOCK + "mlp.0.{p}", _OURS + "ffn_in.{p}"),
    Rule(_BLOCK + "mlp.2.{p}", _OURS + "ffn_out.{p}"),
    Rule(_BLOCK + "drop_path_out.scale", _OURS + "drop_mix.scale", CHANNELS),
    Rule(_BLOCK + "drop_path_mlp.scale", _OURS + "drop_ffn.scale", CHANNELS),
)
CROSS_LEVEL = (
    Rule("decls.contrans.{p}", "decoder.cross.up_gate.{p}"),
    Rule("decls.conv_l.{p}", "decoder.cross.class_gate.refine.{p}"),
    Rule("decls.attn.1.{p}", "decoder.cross.class_gate.gate.{p}"),
    Rule("dereg.down.{p}", "decoder.cross.down_gate.{p}"),
    Rule("dereg.conv_l.{p}", "decoder.cross.regression_gate.refine.{p}"),
    Rule("dereg.attn.1.{p}", "decoder.cross.regression_gate.gate.{p}"),
    Rule("cross_level.conv.{p}", "decoder.cross.down_fusion.{p}"),
    Rule("cross_level.convtrans.{p}", "decoder.cross.up_fusion.{p}"),
)
REFINE = (
    Rule("refineHead.head.{n}.conv.{p}", "decoder.refine.trunk.convs.{n}.{p}"),
    Rule("refineHead.norm.{n}.{p}", "decoder.refine.trunk.norms.{n}.{p}", CHANNELS),
    Rule("refineHead.s_offset_head.conv.{p}", "decoder.refine.start.{p}"),
    Rule("refineHead.e_offset_head.conv.{p}", "decoder.refine.end.{p}"),
    Rule("refineHead.prob_head.conv.{p}", "decoder.refine.factor.{p}"),
)
TABLE = KeyTable(
    rules=(*EMBEDDING, *ENCODER, *NORMS, *HEADS, *BOUNDARY_HEADS, *CROSS_LEVEL, *REFINE),
    unused=("refineHead.scale.{n}.scale",),
)
