"""Recomputes recorded cases of the published code, and says how far off this installation is."""

from __future__ import annotations

from pathlib import Path

import torch

from harness import backbones, models
from harness.report import CaseReport

CASES = Path(__file__).parents[1] / "cases"


def check_case(path: Path, device: str | torch.device = "cpu") -> CaseReport:
    """Check one case given its JSON file; one of something that is not built here is reported as not checked."""
    return (backbones if backbones.covers(path) else models).check_case(path, device)
