"""Parameters of the released ActionMamba code (video-mamba-suite): ActionFormer's but for the encoder."""

from __future__ import annotations

from tal_cli.models.released.code_bases.shared import EMBEDDING, HEADS, NORMS
from tal_cli.models.released.keys import CHANNELS, KeyTable, Rule

_BLOCK = "backbone.{part}.{n}."
_OURS = "encoder.{part}.{n}."
ENCODER = (
    Rule(_BLOCK + "norm.{p}", _OURS + "norm.{p}"),
    Rule(_BLOCK + "mamba.in_proj.weight", _OURS + "mamba.project_in.weight"),
    Rule(_BLOCK + "mamba.conv1d.{p}", _OURS + "mamba.conv.{p}"),
    Rule(_BLOCK + "mamba.x_proj.weight", _OURS + "mamba.project_scan.weight"),
    Rule(_BLOCK + "mamba.dt_proj.{p}", _OURS + "mamba.project_step.{p}"),
    Rule(_BLOCK + "mamba.A_log", _OURS + "mamba.log_decay"),
    Rule(_BLOCK + "mamba.D", _OURS + "mamba.skip"),
    Rule(_BLOCK + "mamba.out_proj.weight", _OURS + "mamba.project_out.weight"),
    Rule(_BLOCK + "drop_path.scale", _OURS + "drop_mix.scale", CHANNELS),
)
TABLE = KeyTable(rules=(*EMBEDDING, *ENCODER, *NORMS, *HEADS))
