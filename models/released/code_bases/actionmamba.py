"""Parameters of the released ActionMamba code (video-mamba-suite): ActionFormer's but for the encoder."""

from __future__ import annotations

from tal_cli.models.released.code_bases.shared import EMBEDDING, HEADS, NORMS
from tal_cli.models.released.keys import CHANNELS, KeyTable, Rule

_BLOCK = "backbone.{part}.{n}."
_OURS = "encoder.{part}.{n}."
SCAN = {
    "in_proj.weight": "project_in.weight",
    "conv1d.{p}": "conv.{p}",
    "x_proj.weight": "project_scan.weight",
    "dt_proj.{p}": "project_step.{p}",
    "A_log": "log_decay",
    "D": "skip",
    "out_proj.weight": "project_out.weight",
}
ENCODER = (
    Rule(_BLOCK + "norm.{p}", _OURS + "norm.{p}"),
    *(Rule(f"{_BLOCK}mamba.{theirs}", f"{_OURS}mamba.{ours}") for theirs, ours in SCAN.items()),
    Rule(_BLOCK + "drop_path.scale", _OURS + "drop_mix.scale", CHANNELS),
)
TABLE = KeyTable(rules=(*EMBEDDING, *ENCODER, *NORMS, *HEADS))
