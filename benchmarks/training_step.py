"""Time of one training step: forward, loss, backward, clipping, optimiser step; batch of 2 sequences of padded length.

    python benchmarks/training_step.py [--recipe thumos-i3d] [--threads 2] [--released CHECKOUT --config FILE]

With --released, a checkout of the published code (CLTDR-GMG, TriDet, ActionFormer or TemporalMaxer) and one of its
configuration files (a name in its folder configs, or a path), its step runs in turn with ours on the same data, which
is what ratios should be taken from.
--cpu-time counts the process's CPU seconds instead, for a machine that has other work. Weights and data are random.
"""

from __future__ import annotations

import argparse
import sys
import time
import types
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.layers.pyramid import pad_batch
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.training.loss import LossNormalizer, batch_loss, parameter_groups

ACTIONS = 12  # per sequence


def make_data(recipe: Recipe) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
    """Two sequences [T, C] of nearly the padded length, with segments in grid cells and labels."""
    length, classes = recipe.model.pad_length, recipe.model.classes
    generator = torch.Generator().manual_seed(0)
    sequences = [torch.randn(n, recipe.features.channels, generator=generator) for n in (length, length * 15 // 16)]
    starts = [torch.rand(ACTIONS, generator=generator) * 0.8 * length for _ in sequences]
    lengths = [2.0 ** (1 + 6 * torch.rand(ACTIONS, generator=generator)) for _ in sequences]
    segments = [torch.stack((a, (a + n).clamp(max=0.9 * length)), -1) for a, n in zip(starts, lengths, strict=True)]
    labels = [torch.randint(classes, (ACTIONS,), generator=generator) for _ in sequences]
    return sequences, segments, labels


def our_step(recipe: Recipe) -> Callable[[], None]:
    """One step of this package."""
    detector = TemporalDetector.from_recipe(recipe).train()
    optimizer = torch.optim.AdamW(parameter_groups(detector, recipe.training.weight_decay), lr=1e-4, fused=True)
    sequences, segments, labels = make_data(recipe)
    batch, mask = pad_batch(sequences, recipe.model.pad_length)
    normalizer = LossNormalizer(recipe.training.initial_loss_norm)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        batch_loss(detector, batch, mask, segments, labels, normalizer, recipe.training).total.backward()
        nn.utils.clip_grad_norm_(detector.parameters(), recipe.training.clip_grad_norm or 1.0)
        optimizer.step()

    return step


def released_step(checkout: Path, config: str, recipe: Recipe) -> Callable[[], None]:
    """One step of the published code, without its NMS extension, which needs building."""
    for name in ("nms_1d_cpu", "pandas", "joblib"):
        absent = types.ModuleType(name)
        absent.__spec__ = ModuleSpec(name, None)
        sys.modules.setdefault(name, absent)
    utilities: Any = types.ModuleType("libs.utils")
    utilities.batched_nms = None
    sys.modules["libs.utils"] = utilities
    sys.path.insert(0, str(checkout))
    from libs.core import load_config  # type: ignore[import-not-found]
    from libs.modeling import make_meta_arch  # type: ignore[import-not-found]

    settings = load_config(str(checkout / "configs" / config))
    model = make_meta_arch(settings["model_name"], **settings["model"]).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    videos = [
        {"feats": features.t().contiguous(), "segments": segment, "labels": label}
        for features, segment, label in zip(*make_data(recipe), strict=True)
    ]

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        model(videos)["final_loss"].backward()
        nn.utils.clip_grad_norm_(model.parameters(), recipe.training.clip_grad_norm or 1.0)
        optimizer.step()

    return step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--recipe", default="thumos-i3d")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override of the recipe")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--released", type=Path, help="a checkout of the published code")
    parser.add_argument("--config", help="a file, looked for in its folder configs")
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--profile", action="store_true", help="print what our step spends its time in")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    recipe = override(load_recipe(arguments.recipe), parse_overrides(arguments.set))
    steps = {"ours": our_step(recipe)}
    if arguments.released:
        steps["published"] = released_step(arguments.released, arguments.config, recipe)
    for step in steps.values():
        step()
    if arguments.profile:
        with torch.profiler.profile() as profile:
            steps["ours"]()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=40))
    clock = time.process_time if arguments.cpu_time else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.rounds):
        for name, step in steps.items():
            start = clock()
            step()
            times[name].append(clock() - start)
    for name, found in times.items():
        print(f"{name}: best {min(found):.3f} s, median {median(found):.3f} s")
    if "published" in times:
        pairs = [ours / theirs for ours, theirs in zip(times["ours"], times["published"], strict=True)]
        best = min(times["ours"]) / min(times["published"])
        print(f"ratio: best {best:.2f} x, median of pairs {median(pairs):.2f} x")


if __name__ == "__main__":
    main()
