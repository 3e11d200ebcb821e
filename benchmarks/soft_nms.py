#!/usr/bin/env python3
"""Soft-NMS alone against the published C++ extension, on the same candidates.

    python benchmarks/soft_nms.py --released CHECKOUT [--repeat 15] [--cpu-time]

CHECKOUT: any of the published code bases (they share the extension); it is compiled in PyTorch's cache folder.
"""

from __future__ import annotations

import argparse
import importlib.util
import sys
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
import torch

from benchmarks.published_code import compiled_nms, processor_or_wall
from tal_cli.models.inference.nms import ScoredSegments, suppress
from tal_cli.models.recipe.inference import InferenceConfig

# What, candidates, classes, sigma, most segments kept, log of the typical length, over all classes at once
CASES = (
    ("thumos", 11_440, 20, 0.5, 2000, 2.5, False),
    ("thumos, long segments", 11_440, 20, 0.5, 2000, 5.0, False),
    ("thumos, 200 kept", 11_440, 20, 0.5, 200, 2.5, False),
    ("epic noun", 30_000, 300, 0.4, 2000, 2.5, False),
    ("epic noun, long segments", 30_000, 300, 0.4, 2000, 5.0, False),
    ("activitynet, class-agnostic", 11_440, 1, 0.75, 100, 2.5, True),
)
LENGTH = 2304  # grid cells


def draw(count: int, classes: int, length: float) -> ScoredSegments:
    """Random segments: even over time and classes, log-normal lengths, many low scores."""
    generator = np.random.default_rng(0)
    middle, half = LENGTH * generator.random(count), np.exp(generator.normal(length, 1, count)) / 2
    return ScoredSegments(
        labels=generator.integers(0, classes, count),
        starts=(middle - half).astype(np.float32),
        ends=(middle + half).astype(np.float32),
        scores=(0.9 * generator.random(count) ** 3 + 0.001).astype(np.float32),
    )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--released", type=Path, required=True)
    parser.add_argument("--repeat", type=int, default=15)
    parser.add_argument("--cpu-time", action="store_true")
    arguments = parser.parse_args()
    clock = processor_or_wall(arguments.cpu_time)
    sys.modules["nms_1d_cpu"] = compiled_nms(arguments.released)
    spec = importlib.util.spec_from_file_location("published_nms", arguments.released / "libs" / "utils" / "nms.py")
    assert spec is not None and spec.loader is not None
    published = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(published)
    for name, count, classes, sigma, limit, length, agnostic in CASES:
        candidates = draw(count, classes, length)
        config = InferenceConfig(sigma=sigma, min_score=0.001, max_segments=limit, multiclass=not agnostic)
        segments = torch.from_numpy(np.stack((candidates.starts, candidates.ends), 1))
        scores, labels = torch.from_numpy(candidates.scores), torch.from_numpy(candidates.labels)
        times: tuple[list[float], list[float]] = ([], [])
        for _ in range(arguments.repeat + 1):
            start = clock()
            ours = suppress(candidates, config)
            middle = clock()
            theirs = published.batched_nms(segments, scores, labels, 0.1, 0.001, limit, True, not agnostic, sigma, 0.0)
            times[0].append(middle - start)
            times[1].append(clock() - middle)
        error = np.abs(ours.scores - theirs[1].numpy()).max() if len(ours) == len(theirs[1]) else np.inf
        fastest, ratio = [min(side[1:]) for side in times], median(a / b for a, b in zip(*times, strict=True))
        ours_ms, theirs_ms = (f"{1e3 * seconds:6.1f} ms" for seconds in fastest)
        print(
            f"{name:28} {count} of {classes:3} classes: ours {ours_ms}, theirs {theirs_ms},"
            f" {fastest[0] / fastest[1]:.2f} x (median {ratio:.2f} x); {len(ours)} kept, scores differ by {error:.0e}"
        )


if __name__ == "__main__":
    main()
