"""Parameters of the released ReAct code: TadTR's with a linear embedding and relational attention."""

from __future__ import annotations

from tal_cli.models.released.code_bases.tadtr import (
    DECODER,
    ENCODER,
    HEADS,
    OUR_DECODER,
    OUR_ENCODER,
    SHARED,
    deformable,
    renamed,
)
from tal_cli.models.released.keys import KeyTable, Rule, Spare

_NORMS = {"norm1": "self_norm", "norm2": "cross_norm", "norm3": "ffn_norm"}
TABLE = KeyTable(
    rules=(
        Rule("input_proj.layers.0.{p}", "embedding.linear.{p}"),
        *SHARED,
        *deformable(f"{ENCODER}.self_attn", f"{OUR_ENCODER}.attention", "atten_weight", "out_proj"),
        *renamed(ENCODER, OUR_ENCODER, {"norm1": "norm"}),
        *deformable(f"{DECODER}.cross_attn", f"{OUR_DECODER}.cross_attention", "atten_weight", "out_proj"),
        *renamed(f"{DECODER}.self_attn", f"{OUR_DECODER}.relation", {"Q": "query", "K": "key", "V": "value"}),
        *renamed(DECODER, OUR_DECODER, _NORMS),
        *renamed("transformer.decoder", "decoder", {"norm": "norm", "reference_point": "reference"}),
        Rule("iou_predictor.{p}", "decoder.overlap.{p}"),
        Rule("cen_predictor.{p}", "decoder.centre.{p}"),
        *HEADS,
    ),
    spares=(Spare(f"{ENCODER}.norm2.{{p}}", f"{ENCODER}.norm1.{{p}}"),),
)
