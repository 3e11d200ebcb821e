"""Parameters of the released PointTAD code, whose checkpoints hold their I3D network as well."""

from __future__ import annotations

from tal_cli.models.released.code_bases.tadtr import renamed
from tal_cli.models.released.keys import LINEAR, KeyTable, Layout, Rule, Spare

MAP = Layout(lambda t: t[:, :, 0, 0], lambda t: t[:, :, None, None])  # [O, I, 1, 1] and [O, I]
LAYER, OURS = "decoder.head_series.{n}", "decoder.layers.{n}"
_FEATURES = {
    "boundary_offsets": "edge_offsets",
    "center_offsets": "inner_offsets",
    "boundary_weights": "edge_weights",
    "center_weights": "inner_weights",
}
_MIXING = {
    "dynamic_layer": "channel_matrices",
    "dynamic_temp_layer": "point_matrix",
    "norm1": "inner_norm",
    "norm2": "channel_norm",
    "norm3": "out_norm",
    "norm4": "point_norm",
    "out_layer": "out",
}
_LAYER = {
    "linear1": "ffn.inner",
    "linear2": "ffn.outer",
    "norm1": "self_norm",
    "norm2": "cross_norm",
    "norm3": "ffn_norm",
    "self_attn.out_proj": "self_attention.out_proj",
}
TABLE = KeyTable(
    rules=(
        Rule("input_proj_5c.weight", "embedding.linear.weight", MAP),
        Rule("input_proj_5c.bias", "embedding.linear.bias"),
        Rule("input_proj_4f.weight", "embedding.added.0.weight", MAP),
        Rule("input_proj_4f.bias", "embedding.added.0.bias"),
        Rule("init_proposal_features.weight", "decoder.queries"),
        Rule("init_proposal_points.weight", "decoder.points"),
        Rule(f"{LAYER}.self_attn.in_proj_weight", f"{OURS}.self_attention.in_proj_weight"),
        Rule(f"{LAYER}.self_attn.in_proj_bias", f"{OURS}.self_attention.in_proj_bias"),
        *renamed(LAYER, OURS, _LAYER),
        *renamed(f"{LAYER}.point_deformation", f"{OURS}.features", _FEATURES),
        *renamed(f"{LAYER}.inst_parallel_mix", f"{OURS}.mixing", _MIXING),
        Rule(f"{LAYER}.cls_module.{{m}}.{{p}}", "decoder.class_heads.{n}.body.{m}.{p}"),
        Rule(f"{LAYER}.class_logits.{{p}}", "decoder.class_heads.{n}.last.{p}"),
        Rule(f"{LAYER}.reg_module.{{m}}.{{p}}", "decoder.point_heads.{n}.body.{m}.{p}"),
        Rule(f"{LAYER}.points_delta.{{p}}", "decoder.point_heads.{n}.last.{p}"),
        Rule("linear_pred.0.{p}", "decoder.dense.hidden.{p}"),
        Rule("linear_pred.2.{p}", "decoder.dense.last.{p}", LINEAR),
    ),
    spares=(Spare("query_embed.weight", "init_proposal_features.weight"),),
    beside=("backbone.",),
)
