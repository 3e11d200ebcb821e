"""Parameters of the released TemporalMaxer code: no encoder parameters, plain regression, norms without parameters or
one layer norm that all levels share (released under one name per level, all with the same values)."""

from __future__ import annotations

from tal_cli.models.released.code_bases.shared import EMBEDDING, HEADS
from tal_cli.models.released.keys import CHANNELS, KeyTable, Rule

SHARED_NORM = Rule("neck.fpn_norms.{any}.{p}", "norms.0.{p}", CHANNELS)
TABLE = KeyTable(rules=(*EMBEDDING, SHARED_NORM, *HEADS))
