"""Recomputes recorded cases of published backbones and says how far off this installation is.

A case is `NAME.json` (facts, names and shapes of the weights) beside `NAME.safetensors` (outputs); weights and frames
are formulas (`tal_cli.selftest.formula`). What a case holds is told by its content, never by its name.
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import torch

from harness.backbones.case import Case
from harness.report import CaseReport
from tal_cli.extractors.errors import PackageMissing, WeightsError

# A name that only such a case has, among its weights, its tensors or its facts -> what checks it.
CHECKS: dict[str, str] = {
    "pos_table.resized": "adatad:check",
    "prefix_of_block_with_adapter": "adatad:check_names",
    "u8.tensor_frames": "vjepa:check_preprocessing",
    "vit_l_outside_blocks_and_block_0_of_24": "vjepa:check_names_21",
    "transformers_encoder_state_dict": "vjepa:check_names_2",
    "module.backbone.patch_embed.proj.weight": "vjepa:check",
    "u8.original_demo": "videoprism:check_preprocessing",
    "original_base": "videoprism:check_names",
    "spatial_embeddings.position_embeddings": "videoprism:check",
    "Conv3d_1a_7x7.conv3d.weight": "i3d:check",
    "conv3d_1a_7x7.conv3d.weight": "i3d:check_fixed",
    "s1.pathway0_stem.conv.weight": "slowfast:check",
    "blocks.0.multipathway_blocks.0.conv.weight": "slowfast:check",
    "features.stem.0.weight": "tsp:check",
    "blocks.0.attn.q_bias": "videomae:check",
    "block_1b_for_comparison": "internvideo2:check_names",
    "blocks.0.attn.q_norm.weight": "internvideo2:check",
    "mapped": "flow:check_map",
    "color_hist_layer.fc.weight": "transnet:check",
}


def checker(case: Case) -> Callable[[Case], None] | None:
    """What checks a case, None where nothing does."""
    names = {*case.facts.get("state_dict", {}), *case.tensors, *case.facts}
    place = next((place for name, place in CHECKS.items() if name in names), None)
    if place is None:
        return None
    module, _, function = place.partition(":")
    found: Callable[[Case], None] = getattr(import_module(f"{__name__}.{module}"), function)
    return found


def covers(path: Path) -> bool:
    """Whether a JSON file describes a case of a backbone that is checked here."""
    try:
        return checker(Case.read(path)) is not None
    except ValueError:
        return False


@torch.inference_mode()
def check_case(path: Path, device: str | torch.device = "cpu") -> CaseReport:
    """Check one case given its JSON file; one of something else is reported as not checked."""
    try:
        case = Case.read(path, device)
    except ValueError as error:
        return CaseReport(path.stem, f"not JSON: {error}", ())
    check = checker(case)
    if check is None:
        return CaseReport(path.stem, "a backbone that is not supported", ())
    try:
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):  # the shorter mantissa is off by 1e-3
            check(case)
    except (WeightsError, PackageMissing) as error:
        return CaseReport(path.stem, str(error), ())
    return case.report()
