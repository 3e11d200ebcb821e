"""Writes the cases that `tal selftest` recomputes, out of the recorded ones beside this package.

PYTHONPATH=tests/goldens python -m harness.bundle
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from harness import CASES
from harness.models.detector import load_recorded
from harness.models.nms import config_of
from tal_cli.selftest import runner

DETECTOR = "cltdr_thumos"
NMS = {"soft_nms": "n2000/run00", "soft_nms_voting": "n2000/run02"}
# Case -> name in the catalog, and what was recorded otherwise than its contract says.
BACKBONES: dict[str, tuple[str, dict[str, Any]]] = {
    "i3d_rgb": ("i3d-rgb", {}),
    "i3d_vf_rgb": ("i3d-vf-rgb", {"window": 16}),
    "tsp_r2plus1d34": ("tsp", {}),
    "slowfast_r50_8x8_epic": ("slowfast-epic", {}),
    "videomaev2_vit_b": ("videomaev2-b", {"resize": "bilinear 224x224"}),
    "internvideo2_tiny": ("internvideo2-tiny", {"resize": "none", "crop": "none"}),
}


def bundle(path: Path) -> None:
    """Write `path`, a JSON file, and the tensors beside it."""
    facts: dict[str, dict[str, Any]] = {"detectors": {}, "nms": {}, "backbones": {}}
    tensors: dict[str, Tensor] = {}
    add_detector(facts, tensors)
    add_nms(facts, tensors)
    for case in BACKBONES:
        add_backbone(case, facts, tensors)
    path.write_text(json.dumps(facts, separators=(",", ":")) + "\n", encoding="utf-8")
    save_file(tensors, path.with_suffix(".safetensors"))


def read(kind: str, case: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Description and tensors of a case."""
    path = CASES / kind / f"{case}.json"
    return json.loads(path.read_text(encoding="utf-8")), load_file(path.with_suffix(".safetensors"))


def add_detector(facts: dict[str, dict[str, Any]], tensors: dict[str, Tensor]) -> None:
    """A detector under our own names, its input, and what it gives at all points."""
    description, recorded = read("models", DETECTOR)
    detector, recipe, _ = load_recorded(description, recorded)
    facts["detectors"][DETECTOR] = recipe.model_dump(
        mode="json", include={"name", "features", "model"}, exclude_none=True
    )
    tensors |= {f"{DETECTOR}/state/{name}": value.contiguous() for name, value in detector.state_dict().items()}
    levels = range(recipe.model.levels)
    logits = torch.cat([recorded[f"infer/cls_refined/level{level}"][0] for level in levels])
    distances = torch.cat([recorded[f"infer/decoded/level{level}"].transpose(0, 1) for level in levels])
    tensors |= {
        f"{DETECTOR}/features": recorded["infer/feats"].t().contiguous(),
        f"{DETECTOR}/logits": logits,
        f"{DETECTOR}/distances": distances,
    }


def add_nms(facts: dict[str, dict[str, Any]], tensors: dict[str, Tensor]) -> None:
    """Candidates and what is kept of them, rows of label, start, end and score."""
    description, recorded = read("models", "soft_nms")
    runs = {run["key"]: run for run in description["runs"]}
    for name, key in NMS.items():
        facts["nms"][name] = config_of(runs[key]).model_dump(mode="json", exclude_defaults=True)
        for what, prefix in (("candidates", runs[key]["set"]), ("kept", key)):
            labels, segments, scores = (recorded[f"{prefix}/{column}"] for column in ("labels", "segs", "scores"))
            tensors[f"{name}/{what}"] = torch.cat((labels[:, None].float(), segments, scores[:, None]), 1)


def add_backbone(case: str, facts: dict[str, dict[str, Any]], tensors: dict[str, Tensor]) -> None:
    """Names and shapes of the weights, the clip, and the feature."""
    description, recorded = read("backbones", case)
    name, settings = BACKBONES[case]
    given = description["input"]
    call = (given[0] if isinstance(given, list) else given)["clip_call"]
    facts["backbones"][name] = {
        "settings": settings,
        "clip": [call["t"], call["h"], call["w"]],
        "state": description["state_dict"],
    }
    tiny = "out.gelu_tanh.block_2_mean_patch_tokens"
    tensors[name] = recorded[tiny if case == "internvideo2_tiny" else "out.feature"]


if __name__ == "__main__":
    bundle(runner.CASES)
