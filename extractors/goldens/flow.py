"""How flow in pixels becomes a network's input."""

from __future__ import annotations

from extractors.flow import quantise
from extractors.goldens.case import Case
from extractors.preparation import Flow, ValueRange
from extractors.transforms import scale


def check_map(case: Case) -> None:
    """Of RAFT's flow, as video_features has it: cut off, rounded, scaled."""
    flow = case.tensors["flow"].to(case.device)
    levels = quantise(flow, Flow.parse("raft bound 20"))
    case.compare("mapped", scale(levels, ValueRange.parse("-1..1")), recorded="mapped")
