"""How flow in pixels becomes a network's input."""

from __future__ import annotations

from harness.backbones.case import Case
from tal_cli.extractors.backbones.motion.optical_flow import quantise
from tal_cli.extractors.backbones.preprocessing import scale
from tal_cli.extractors.features.preprocessing_spec import Flow, ValueRange


def check_map(case: Case) -> None:
    """Of RAFT's flow, as video_features has it: cut off, rounded, scaled."""
    flow = case.tensors["flow"].to(case.device)
    levels = quantise(flow, Flow.parse("raft bound 20"))
    case.compare("mapped", scale(levels, ValueRange.parse("-1..1")), recorded="mapped")
