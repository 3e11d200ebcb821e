#!/usr/bin/env python3
"""Latency of the full-size detector on a CPU: forward pass, candidates, NMS.

    python benchmarks/detector_latency.py [--recipe thumos-i3d] [--threads 2] [--released CHECKOUT] [--cpu-time]

Times on a CPU drift with whatever else the machine does, so every time is printed together with the rate of a reference
convolution (512 to 512 channels, kernel 3, length 2304) measured in between, and scaled to the 154 GFLOP/s at which the
published code took 1.06 s, 0.034 s and 0.052 s. With --released, a checkout of the published code runs its forward pass
in turn with ours, and the ratio of the two is what counts; --cpu-time (with --threads 1) makes that ratio steady on a
machine that has other work. Weights are random; NMS gets as many candidates as released.
"""

from __future__ import annotations

import argparse
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from models.detector import TemporalDetector
from models.nms import suppress
from models.postprocess import find_candidates
from models.recipe import load_recipe

REFERENCE_RATE = 154.0  # GFLOP/s of the machine on which the published code was timed
PUBLISHED = {
    "thumos-i3d": {"forward": 1.06, "candidates": 0.034, "nms": 0.052},
    "epic-noun": {"forward": 1.35, "candidates": 0.583, "nms": 0.144},
}


def seconds(function: Callable[[], Any], clock: Callable[[], float]) -> float:
    """Time of one call."""
    start = clock()
    function()
    return clock() - start


def released_forward(checkout: Path, config: str) -> Callable[[Tensor, Tensor], Any]:
    """The published detector's forward pass, without its NMS extension and training utilities, which need building."""
    for name in ("nms_1d_cpu", "pandas", "joblib"):
        sys.modules.setdefault(name, types.ModuleType(name))
    utilities: Any = types.ModuleType("libs.utils")
    utilities.batched_nms = None
    sys.modules["libs.utils"] = utilities
    sys.path.insert(0, str(checkout))
    from libs.core import load_config  # type: ignore[import-not-found]
    from libs.modeling import make_meta_arch  # type: ignore[import-not-found]

    settings = load_config(str(checkout / "configs" / config))
    model = make_meta_arch(settings["model_name"], **settings["model"]).eval()

    def forward(features: Tensor, mask: Tensor) -> Any:
        levels, masks = model.neck(*model.backbone(features, mask))
        refined = model.refineHead(model.cross_level(levels), masks)
        logits = [a * b for a, b in zip(model.cls_head(model.decls(levels), masks), refined[2], strict=True)]
        boundaries = model.start_head(levels, masks), model.end_head(levels, masks)
        return logits, boundaries, model.reg_head(model.dereg(levels), masks), refined

    return forward


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="thumos-i3d", choices=sorted(PUBLISHED))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--released", type=Path, help="a checkout of the published code")
    parser.add_argument("--released-config", default="thumos_i3d_focalloss.yaml")
    parser.add_argument("--cpu-time", action="store_true", help="processor time instead of wall time")
    arguments = parser.parse_args()
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    recipe = load_recipe(arguments.recipe)
    detector = TemporalDetector.from_recipe(recipe).eval()
    length = recipe.model.pad_length
    features = torch.randn(1, length, recipe.features.channels).transpose(1, 2)
    mask = torch.ones(1, 1, length, dtype=torch.bool)
    signal, kernel = torch.randn(1, 512, 2304), torch.randn(512, 512, 3)
    operations = 2 * 512 * 512 * 3 * 2304 / 1e9
    peer = released_forward(arguments.released, arguments.released_config) if arguments.released else None

    times: dict[str, list[float]] = {"reference": [], "forward": [], "candidates": [], "nms": [], "released": []}
    with torch.inference_mode():
        predictions = detector(features, mask)
        candidates = find_candidates(predictions, recipe.inference)
        kept = suppress(candidates, recipe.inference)
        contiguous = features.contiguous()
        for _ in range(arguments.repeat):
            times["reference"] += [seconds(lambda: torch.conv1d(signal, kernel, padding=1), clock) for _ in range(5)]
            times["forward"].append(seconds(lambda: detector(features, mask), clock))
            if peer is not None:
                times["released"].append(seconds(lambda: peer(contiguous, mask), clock))
            times["candidates"].append(seconds(lambda: find_candidates(predictions, recipe.inference), clock))
            times["nms"].append(seconds(lambda: suppress(candidates, recipe.inference), clock))

    rate = operations / min(times["reference"])
    parameters = sum(parameter.numel() for parameter in detector.parameters()) / 1e6
    size = f"{length} x {recipe.features.channels}"
    print(f"{arguments.recipe}: {parameters:.1f} M parameters, {size}, {arguments.threads} threads")
    print(f"reference convolution {rate:.0f} GFLOP/s; {len(candidates)} candidates, {len(kept)} kept")
    for stage, published in PUBLISHED[arguments.recipe].items():
        scaled = min(times[stage]) * rate / REFERENCE_RATE
        measured = f"{stage:10} {min(times[stage]):.3f} s, at the reference rate {scaled:.3f} s"
        print(f"{measured}; published {published:.3f} s: {scaled / published:.2f} x")
    if peer is not None:
        best = min(times["forward"]) / min(times["released"])
        middle = median(ours / theirs for ours, theirs in zip(times["forward"], times["released"], strict=True))
        print(
            f"published code in turn: {min(times['released']):.3f} s; best {best:.2f} x, median of pairs {middle:.2f} x"
        )


if __name__ == "__main__":
    main()
