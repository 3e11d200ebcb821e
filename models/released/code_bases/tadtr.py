"""Parameters of the released TadTR code: deformable encoder and query decoder. With refinement of segments every layer
of the decoder has heads of its own, and those of segments are stored twice; without, one head is stored per layer."""

from __future__ import annotations

from tal_cli.models.released.keys import LINEAR, KeyTable, Rule


def deformable(released: str, ours: str, weights: str, output: str) -> tuple[Rule, ...]:
    """Deformable attention, whose weights and output the released code calls so."""
    names = {"sampling_offsets": "offsets", weights: "weights", "value_proj": "value", output: "out"}
    return tuple(Rule(f"{released}.{theirs}.{{p}}", f"{ours}.{own}.{{p}}") for theirs, own in names.items())


def renamed(released: str, ours: str, names: dict[str, str]) -> tuple[Rule, ...]:
    """Weights and biases of modules by their released names."""
    return tuple(Rule(f"{released}.{theirs}.{{p}}", f"{ours}.{own}.{{p}}") for theirs, own in names.items())


ENCODER, OUR_ENCODER = "transformer.encoder.layers.{n}", "encoder.layers.{n}"
DECODER, OUR_DECODER = "transformer.decoder.layers.{n}", "decoder.layers.{n}"
FFN = {"linear1": "ffn.inner", "linear2": "ffn.outer"}
DECODER_NORMS = {"norm1": "cross_norm", "norm2": "self_norm", "norm3": "ffn_norm"}
SHARED = (
    Rule("query_embed.weight", "decoder.queries"),
    *renamed(ENCODER, OUR_ENCODER, FFN),
    *renamed(DECODER, OUR_DECODER, FFN),
)
_SEGMENTS = "segment_embed.{n}.layers.{m}.{p}"
_OUR_SEGMENTS = "decoder.segment_heads.{n}.layers.{m}.{p}"
BODY = (
    Rule("input_proj.0.0.{p}", "embedding.linear.{p}", LINEAR),
    Rule("input_proj.0.1.{p}", "embedding.norm.{p}"),
    Rule("transformer.level_embed", "encoder.level_embed"),
    *SHARED,
    *deformable(f"{ENCODER}.self_attn", f"{OUR_ENCODER}.attention", "attention_weights", "output_proj"),
    *renamed(ENCODER, OUR_ENCODER, {"norm1": "norm", "norm2": "ffn_norm"}),
    *deformable(f"{DECODER}.cross_attn", f"{OUR_DECODER}.cross_attention", "attention_weights", "output_proj"),
    Rule(f"{DECODER}.self_attn.in_proj_weight", f"{OUR_DECODER}.self_attention.in_proj_weight"),
    Rule(f"{DECODER}.self_attn.in_proj_bias", f"{OUR_DECODER}.self_attention.in_proj_bias"),
    Rule(f"{DECODER}.self_attn.out_proj.{{p}}", f"{OUR_DECODER}.self_attention.out_proj.{{p}}"),
    *renamed(DECODER, OUR_DECODER, DECODER_NORMS),
    Rule("transformer.reference_points.{p}", "decoder.reference.{p}"),
    *renamed("actionness_pred", "decoder.actionness.layers", {"0": "0", "2": "1", "4": "2"}),
)
HEADS = (
    Rule("class_embed.{n}.{p}", "decoder.class_heads.{n}.{p}"),
    Rule(_SEGMENTS, _OUR_SEGMENTS),
    Rule(f"transformer.decoder.{_SEGMENTS}", _OUR_SEGMENTS),
)
TABLE = KeyTable(rules=(*BODY, *HEADS))
PLAIN = KeyTable(
    rules=(
        *BODY,
        Rule("class_embed.{any}.{p}", "decoder.class_heads.0.{p}"),
        Rule("segment_embed.{any}.layers.{m}.{p}", "decoder.segment_heads.0.layers.{m}.{p}"),
    )
)
