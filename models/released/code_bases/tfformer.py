"""Parameters of the released TFFormer code: ActionFormer's, but for encoder and neck, and some that nothing reads."""

from __future__ import annotations

import torch
from torch import Tensor

from tal_cli.models.released.code_bases.shared import EMBEDDING, FUSION, HEADS, NORMS, attention
from tal_cli.models.released.keys import CHANNELS, LINEAR, KeyTable, Rule, Spare

_BLOCK = "backbone.{branch}.{n}."
_BRANCHES = {"stem": "time.stem", "time_branch": "time.branch", "freq_branch": "wavelets.branch"}


def _branch(released: str, ours: str) -> tuple[Rule, ...]:
    block, own = f"backbone.{released}.{{n}}.", f"encoder.{ours}.{{n}}."
    return (
        Rule(block + "ln1_pre.{p}", own + "norm.{p}", CHANNELS),
        Rule(block + "ln2_pre.{p}", own + "ffn_norm.{p}", CHANNELS),
        *attention(block + "attn_pre", own + "attention", convolved=released == "time_branch"),
        Rule(block + "mlp.0.{p}", own + "ffn_in.{p}", LINEAR),
        Rule(block + "mlp.3.{p}", own + "ffn_out.{p}", LINEAR),
        Rule(block + "drop_path_attn_pre.scale", own + "drop_attention.scale", CHANNELS),
        Rule(block + "drop_path_mlp_pre.scale", own + "drop_ffn.scale", CHANNELS),
    )


def _cross(released: str, ours: str) -> tuple[Rule, ...]:
    return (
        Rule(f"{released}.ln.{{p}}", f"{ours}.norm.{{p}}", CHANNELS),
        *attention(f"{released}.attn", f"{ours}.attention"),
        Rule(f"{released}.mlp.0.{{p}}", f"{ours}.linear.{{p}}", LINEAR),
        Rule(f"{released}.drop_path_attn.scale", f"{ours}.drop_attention.scale", CHANNELS),
        Rule(f"{released}.drop_path_mlp.scale", f"{ours}.drop_linear.scale", CHANNELS),
    )


def _low(like: Tensor) -> Tensor:
    return torch.full((1, 1, 2), 0.5**0.5, device=like.device)


def _high(like: Tensor) -> Tensor:
    return torch.tensor([[[0.5**0.5, -(0.5**0.5)]]], device=like.device)


SPARES = (
    *(
        Spare(f"{_BLOCK}ln{number}{suffix}.{{p}}", f"{_BLOCK}ln{number}_pre.{{p}}")
        for number in (1, 2)
        for suffix in ("", "_channel")
    ),
    *(Spare(f"{_BLOCK}drop_path_{part}.scale", f"{_BLOCK}drop_path_{part}_pre.scale") for part in ("attn", "mlp")),
    Spare(_BLOCK + "mlp_pre.{m}.{p}", _BLOCK + "mlp.{m}.{p}"),
    Spare("backbone.time_branch.{n}.conv_input.{p}", "backbone.time_branch.{n}.attn_pre.proj.{p}"),
    *(
        Spare(f"{attention}_conv.{name}", f"{attention}_norm.weight", value)
        for attention in (f"backbone.{branch}.{{n}}.attn_pre.{{qkv}}" for branch in ("stem", "freq_branch"))
        for name, value in (("dec_lo", _low), ("dec_hi", _high))
    ),
)
ENCODER = (
    *(rule for released, ours in _BRANCHES.items() for rule in _branch(released, ours)),
    *_cross("time_cross_block", "encoder.time_cross"),
    *_cross("freq_cross_block", "encoder.wavelet_cross"),
)
TABLE = KeyTable(rules=(*EMBEDDING, *ENCODER, *FUSION, *NORMS, *HEADS), spares=SPARES)
