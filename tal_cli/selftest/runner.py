"""Recomputes the bundled cases: a small detector, Soft-NMS, and every published backbone on a clip made by formula.

`cases.json` holds settings, names and shapes; `cases.safetensors` inputs and recorded outputs. Both are written by
`python -m harness.bundle` in `tests/goldens` from the full set of recorded cases, which `scripts/check_goldens` checks
stage by stage.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from tal_cli.extractors.backbones import create_backbone
from tal_cli.extractors.backbones.interface import Backbone
from tal_cli.extractors.backbones.vit.internvideo2 import UNUSED, InternVideo2, InternVideo2Shape
from tal_cli.extractors.backbones.windowed import WindowedBackbone
from tal_cli.extractors.catalog import find
from tal_cli.extractors.files.weights import load_state
from tal_cli.models.inference.nms import ScoredSegments, suppress
from tal_cli.models.layers.pyramid import pad_batch
from tal_cli.models.predictions import decode_everywhere
from tal_cli.models.recipe.inference import InferenceConfig
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.store.checkpoint import build_detector
from tal_cli.selftest.formula import clip, fill_all

CASES = Path(__file__).parent / "cases.json"
LIMIT = 1e-5  # relative L2; recorded outputs differ from a float64 run by up to 7e-7, and TF32 would by 1e-3
TINY = InternVideo2Shape(width=256, depth=3, heads=2, hidden=1024)  # InternVideo2's blocks, smaller than any published


@dataclass(frozen=True)
class Result:
    """One case: relative L2 distance between what was computed here and what was recorded."""

    case: str
    distance: float

    @property
    def ok(self) -> bool:
        """Whether the distance is one of rounding; NaN is not."""
        return self.distance <= LIMIT


def relative_error(ours: Tensor, reference: Tensor) -> float:
    """||ours - reference|| / ||reference|| of two tensors of one shape, in float64 on the CPU."""
    ours, reference = ours.detach().cpu().double(), reference.cpu().double()
    return float((ours - reference).norm() / reference.norm())


def run_cases(device: torch.device, path: Path = CASES) -> Iterator[Result]:
    """Compute one case after the other; NMS runs on the CPU wherever the rest does."""
    facts, tensors = json.loads(path.read_text(encoding="utf-8")), load_file(path.with_suffix(".safetensors"))
    # cuDNN computes convolutions in TF32 unless told otherwise.
    with torch.inference_mode(), torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
        for name, recipe in facts["detectors"].items():
            yield Result(name, detector_distance(Recipe.model_validate(recipe), within(name, tensors), device))
        for name, config in facts["nms"].items():
            yield Result(name, nms_distance(InferenceConfig.model_validate(config), within(name, tensors)))
        for name, backbone in facts["backbones"].items():
            yield Result(name, backbone_distance(name, backbone, tensors[name], device))


def count_cases(path: Path = CASES) -> int:
    """How many results `run_cases` gives."""
    return sum(len(kind) for kind in json.loads(path.read_text(encoding="utf-8")).values())


def within(name: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of one case."""
    return {key.removeprefix(f"{name}/"): value for key, value in tensors.items() if key.startswith(f"{name}/")}


def detector_distance(recipe: Recipe, recorded: Mapping[str, Tensor], device: torch.device) -> float:
    """The larger distance of class logits [S, C] and of decoded boundaries [S, C, 2], over all levels."""
    detector = build_detector(recipe, within("state", recorded), recipe.name).to(device)
    batch, mask = pad_batch([recorded["features"]], recipe.model.pad_length)
    predictions = detector(batch.to(device), mask.to(device))
    inside = predictions.layout.inside(device)
    logits, distances = predictions.refined[0][inside], decode_everywhere(predictions).refined[0][inside]
    return max(relative_error(logits, recorded["logits"]), relative_error(distances, recorded["distances"]))


def nms_distance(config: InferenceConfig, recorded: Mapping[str, Tensor]) -> float:
    """The largest distance of labels, starts, ends and scores of the kept segments, the columns of [n, 4]."""
    labels, *others = recorded["candidates"].t().contiguous().numpy()
    kept = suppress(ScoredSegments(labels.astype("int64"), *others), config)
    if len(kept) != len(recorded["kept"]):
        return float("inf")
    columns = (torch.from_numpy(column) for column in (kept.labels, kept.starts, kept.ends, kept.scores))
    return max(relative_error(*pair) for pair in zip(columns, recorded["kept"].t(), strict=True))


def backbone_distance(name: str, facts: Mapping[str, Any], recorded: Tensor, device: torch.device) -> float:
    """Distance of the feature of one window, whose frames and weights are made by formula."""
    backbone = seeded_backbone(name, facts)
    backbone.to(device)
    frames = backbone.prepare(clip(*facts["clip"]).to(device))
    return relative_error(backbone(frames, torch.arange(len(frames)).double())[0], recorded)


def seeded_backbone(name: str, facts: Mapping[str, Any]) -> Backbone:
    """A backbone of the catalog with some settings, on weights under the names of its released file."""
    state = fill_all(facts["state"])
    if name != "internvideo2-tiny":
        return create_backbone(name, state, facts["settings"])
    with torch.device("meta"):
        network = InternVideo2(TINY, layer=-1, pooling="patches", gelu="tanh", size=112)
    load_state(network, state, name, ignored=UNUSED)
    contract = find("internvideo2-6b").contract.changed(facts["settings"])
    return WindowedBackbone(contract, network.eval(), window_bytes=1)
