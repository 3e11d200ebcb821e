#!/usr/bin/env python3
"""Latency of a full-size detector on a processor: forward pass, candidates, NMS. (Training: `training_step.py`.)

    python benchmarks/detector_latency.py --recipe thumos-i3d --threads 2 --released CHECKOUT [--cpu-time]

With --released, a checkout of the recipe's published code runs in turn with ours, with the same weights on the same
features, and the ratios are what counts: times on a processor drift with whatever else the machine does. The results of
both are compared as well. --cpu-time (with --threads 1) keeps the ratios steady on a machine that has other work.
Weights are random, so that NMS gets as many candidates as the settings let through. Without --released, times are also
scaled to the machine on which the published code was timed, by the rate of a reference convolution.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from torch import Tensor

from benchmarks.published_code import CONFIGS, Published, processor_or_wall
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.inference.candidates import find_candidates
from tal_cli.models.inference.nms import ScoredSegments, suppress
from tal_cli.models.layers.pyramid import pad_batch
from tal_cli.models.recipe.loading import load_recipe
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.conversion import to_ours

REFERENCE_RATE = 154.0  # GFLOP/s of the machine on which the published code was timed
REFERENCE = (512, 512, 3, 2304)  # convolution: outputs, inputs, kernel, length
PUBLISHED = {
    "thumos-i3d": {"forward": 1.06, "candidates": 0.034, "nms": 0.052},
    "epic-noun": {"forward": 1.35, "candidates": 0.583, "nms": 0.144},
    "tridet-thumos-i3d": {"forward": 0.705, "candidates": 0.025, "nms": 0.064},
    "actionformer-thumos-i3d": {"forward": 0.905, "candidates": 0.011, "nms": 0.077},
    "temporalmaxer-thumos-i3d": {"forward": 0.402, "candidates": 0.013, "nms": 0.126},
}
STAGES = ("forward", "candidates", "nms")

Times = dict[str, list[float]]


def timed(function: Callable[[], Any], clock: Callable[[], float]) -> tuple[float, Any]:
    """Seconds of one call, and its result."""
    start = clock()
    result = function()
    return clock() - start, result


@torch.inference_mode()
def infer(
    detector: TemporalDetector, recipe: Recipe, features: Tensor, clock: Callable[[], float]
) -> tuple[dict[str, float], ScoredSegments]:
    """Seconds per stage for features [T, C] that fill the detector's length, and the segments."""
    batch, mask = pad_batch([features], recipe.model.pad_length)
    forward, predictions = timed(lambda: detector(batch, mask), clock)
    candidates, found = timed(lambda: find_candidates(predictions, recipe.inference), clock)
    nms, kept = timed(lambda: suppress(found, recipe.inference), clock)
    return {"forward": forward, "candidates": candidates, "nms": nms}, kept


def measure_inference(
    detector: TemporalDetector, recipe: Recipe, peer: Published | None, repeat: int, clock: Callable[[], float]
) -> tuple[Times, Times, float]:
    """Seconds per stage and run of ours and theirs in turn, and the reference convolution's rate in GFLOP/s."""
    features = torch.randn(recipe.model.pad_length, recipe.features.channels)
    outputs, inputs, kernel, length = REFERENCE
    signal, weight = torch.randn(1, inputs, length), torch.randn(outputs, inputs, kernel)
    ours: Times = {stage: [] for stage in STAGES}
    theirs: Times = {stage: [] for stage in STAGES}
    reference = []
    for run in range(repeat + 1):
        spent, kept = infer(detector, recipe, features, clock)
        their_spent, result = peer.infer(features.t().contiguous()) if peer else ({}, None)
        reference += [timed(lambda: torch.conv1d(signal, weight, padding=1), clock)[0] for _ in range(3)]
        if run == 0:  # warm-up
            if result is not None:
                compare(kept, result)
            continue
        for times, run_times in ((ours, spent), (theirs, their_spent)):
            for stage, seconds in run_times.items():
                times[stage].append(seconds)
    return ours, theirs, 2 * outputs * inputs * kernel * length / 1e9 / min(reference)


def compare(kept: ScoredSegments, result: dict[str, Tensor]) -> None:
    """Print how far our segments lie from theirs."""
    seconds = (kept.starts * 4 + 8) / 30
    scores = result["scores"].numpy()
    if len(scores) != len(kept):
        print(f"ours keeps {len(kept)} segments, theirs {len(scores)}")
        return
    same = (abs(seconds.clip(0) - result["segments"][:, 0].numpy()) < 1e-3) & (result["labels"].numpy() == kept.labels)
    error = abs(scores - kept.scores).max()
    print(f"{len(kept)} segments each: largest difference of scores {error:.1e}, {same.mean():.1%} in the same place")


def report(name: str, ours: list[float], theirs: list[float]) -> None:
    """One line: both, the ratio of the best, and the median of the ratios run by run."""
    line = f"{name:14} ours {min(ours):.3f} s"
    if theirs:
        middle = median(a / b for a, b in zip(ours, theirs, strict=True))
        line += f", theirs {min(theirs):.3f} s: best {min(ours) / min(theirs):.2f} x, median of pairs {middle:.2f} x"
    print(line)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="thumos-i3d", choices=sorted(CONFIGS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--released", type=Path, help="a checkout of the recipe's published code")
    parser.add_argument("--cpu-time", action="store_true", help="processor time instead of wall time")
    arguments = parser.parse_args()
    clock = processor_or_wall(arguments.cpu_time)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    recipe = load_recipe(arguments.recipe)
    detector = TemporalDetector.from_recipe(recipe).eval()
    peer = Published(arguments.released.resolve(), arguments.recipe, clock) if arguments.released else None
    if peer is not None:
        detector.load_state_dict(to_ours(peer.model.state_dict(), recipe, str(arguments.released)))
    parameters = sum(parameter.numel() for parameter in detector.parameters()) / 1e6
    size = f"{recipe.model.pad_length} x {recipe.features.channels}"
    print(f"{arguments.recipe}: {parameters:.1f} M parameters, {size}, {arguments.threads} threads")

    ours, theirs, rate = measure_inference(detector, recipe, peer, arguments.repeat, clock)
    print(f"reference convolution {rate:.0f} GFLOP/s")
    for stage in STAGES:
        report(stage, ours[stage], theirs[stage])
        if peer is None and arguments.recipe in PUBLISHED:
            scaled = min(ours[stage]) * rate / REFERENCE_RATE
            published = PUBLISHED[arguments.recipe][stage]
            print(
                f"{'':14} at the reference rate {scaled:.3f} s, published {published:.3f} s: {scaled / published:.2f} x"
            )
    sums = [[sum(run) for run in zip(*times.values(), strict=True)] for times in (ours, theirs)]
    report("sum", sums[0], sums[1])


if __name__ == "__main__":
    main()
