"""Rules that several released code bases share: embedding, norms of the neck, class and regression heads."""

from __future__ import annotations

from tal_cli.models.released.keys import CHANNELS, LINEAR, POSITIONS, Layout, Rule


def head(released: str, ours: str, output: str) -> tuple[Rule, ...]:
    """A head's trunk of convolutions and norms, and its output convolution, which the released code calls `output`."""
    return (
        Rule(f"{released}.head.{{n}}.conv.{{p}}", f"{ours}.trunk.convs.{{n}}.{{p}}"),
        Rule(f"{released}.norm.{{n}}.{{p}}", f"{ours}.trunk.norms.{{n}}.{{p}}", CHANNELS),
        Rule(f"{released}.{output}.conv.{{p}}", f"{ours}.output.{{p}}"),
    )


def attention(released: str, ours: str, *, convolved: bool = True, norms: Layout = CHANNELS) -> tuple[Rule, ...]:
    """ActionFormer's attention, whose projections start with a convolution, or with something without parameters."""
    conv = Rule(f"{released}.{{qkv}}_conv.conv.weight", f"{ours}.{{qkv}}.conv.weight")
    return (
        *((conv,) if convolved else ()),
        Rule(f"{released}.{{qkv}}_norm.{{p}}", f"{ours}.{{qkv}}.norm.{{p}}", norms),
        Rule(f"{released}.{{qkv}}.{{p}}", f"{ours}.{{qkv}}.linear.{{p}}", LINEAR),
        Rule(f"{released}.proj.{{p}}", f"{ours}.out.{{p}}", LINEAR),
        Rule(f"{released}.rel_pe", f"{ours}.positions", POSITIONS),
    )


EMBEDDING = (
    Rule("backbone.embd.{n}.conv.{p}", "embedding.convs.{n}.{p}"),
    Rule("backbone.embd_norm.{n}.{p}", "embedding.norms.{n}.{p}", CHANNELS),
)
STREAMS = (Rule("backbone.proj.{n}.conv.{p}", "embedding.projections.{n}.{p}", LINEAR),)
FUSION = (
    Rule("neck.lateral_convs.{n}.conv.weight", "neck.lateral.{n}.weight", LINEAR),
    Rule("neck.gates.{n}", "neck.gates[{n}]"),
)
CONV_ENCODER = (
    Rule("backbone.{part}.{n}.conv1.conv.{p}", "encoder.{part}.{n}.conv_in.{p}"),
    Rule("backbone.{part}.{n}.conv2.conv.{p}", "encoder.{part}.{n}.conv_out.{p}"),
    Rule("backbone.{part}.{n}.downsample.conv.{p}", "encoder.{part}.{n}.shortcut.{p}"),
)
TOP_DOWN = (
    Rule("neck.lateral_convs.{n}.conv.{p}", "neck.lateral.{n}.{p}", LINEAR),
    Rule("neck.fpn_convs.{n}.conv.{p}", "neck.smooth.{n}.{p}"),
)
NORMS = (Rule("neck.fpn_norms.{n}.{p}", "norms.{n}.{p}", CHANNELS),)
HEADS = (
    *head("cls_head", "decoder.classes", "cls_head"),
    *head("reg_head", "decoder.offsets", "offset_head"),
    Rule("reg_head.scale.{n}.scale", "decoder.offsets.level_scale[{n}]"),
)
BOUNDARY_HEADS = (
    *head("start_head", "decoder.starts", "cls_head"),
    *head("end_head", "decoder.ends", "cls_head"),
)
