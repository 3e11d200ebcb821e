"""Recomputes recorded cases of the published code and says how far off this installation is.

A case is `NAME.json` (settings) beside `NAME.safetensors` (inputs, weights and outputs). What a case holds is told by
its content, never by its name.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from harness.models.detector import check_detector
from harness.models.losses import check_compared_losses, check_losses
from harness.models.nms import check_nms
from harness.models.opentad import check_opentad
from harness.models.points import check_points
from harness.models.queries import check_queries
from harness.models.recorder import Recorder
from harness.models.relational import check_react
from harness.models.windows import check_windows
from harness.report import CaseReport
from tal_cli.extractors.errors import CheckpointError


def check_case(path: Path, device: str | torch.device = "cpu") -> CaseReport:
    """Check one case given its JSON file; architectures that are not built here are reported as not checked."""
    tensors_path = path.with_suffix(".safetensors")
    if not tensors_path.is_file():
        return CaseReport(path.stem, "no tensors beside it", ())
    try:
        description = json.loads(path.read_text())
    except ValueError as error:
        return CaseReport(path.stem, f"not JSON: {error}", ())
    kind = case_kind(description)
    if kind is None:
        return CaseReport(path.stem, "an architecture that is not supported", ())
    recorder = Recorder(load_file(tensors_path))
    try:
        if kind == "detector":
            check_detector(description, recorder, torch.device(device))
        elif kind == "queries":
            check_queries(description, recorder, torch.device(device))
        elif kind == "opentad":
            check_opentad(description, recorder, torch.device(device))
        elif kind == "react":
            check_react(description, recorder, torch.device(device))
        elif kind == "points":
            check_points(description, recorder, torch.device(device))
        elif kind == "windows":
            check_windows(description, recorder)
        elif kind == "compared losses":
            check_compared_losses(description, recorder)
        elif kind == "nms":
            check_nms(description, recorder)
        else:
            check_losses(description, recorder)
    except CheckpointError as error:
        return CaseReport(path.stem, str(error), ())
    return CaseReport(path.stem, None, tuple(recorder.comparisons))


def case_kind(description: Any) -> str | None:
    """The kind of a case, or None for anything else."""
    if not isinstance(description, dict):
        return None
    tensors = description.get("tensors", {})
    if "state_keys" in description and "videos" in description:
        return "detector"
    if description.get("architecture") == "TadTR" and "infer/hs" in tensors:
        return "queries"
    if description.get("architecture") in ("CausalTAD", "DyFADet") and "nms/in/0/segments" in tensors:
        return "opentad"
    if description.get("architecture") == "React" and "infer/hs" in tensors:
        return "react"
    if description.get("architecture") == "PointTAD" and "infer/mixed_5c" in tensors:
        return "points"
    if "ciou/pred" in tensors and "focal/logits" in tensors:
        return "compared losses"
    if "input_windows" in description:
        return "windows"
    if "runs" in description and all("sigma" in run for run in description["runs"]):
        return "nms"
    if "cls/logits" in tensors and "reg/pred" in tensors:
        return "losses"
    return None
