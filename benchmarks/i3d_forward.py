"""How much quicker the folded I3D is than the straightforward module: both in one run, on the same windows.

usage: i3d_forward.py [--batch N] [--rounds N] [--threads N] [--device cpu|cuda]

Windows of 16 frames, 224 x 224 pixels, weights by formula. The rows take turns, so that a machine that slows down slows
both, and the median round counts. The features' distance is relative (L2).
"""

from __future__ import annotations

import argparse
import time
from statistics import median

import torch
from torch import Tensor, nn

from tal_cli.extractors.backbones.i3d.folded import folded
from tal_cli.extractors.backbones.i3d.network import InceptionI3d
from tal_cli.selftest.formula import clip, filled


def seconds(network: nn.Module, windows: Tensor) -> float:
    """One forward pass."""
    if windows.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    network(windows)
    if windows.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    plain = InceptionI3d(3)
    plain.load_state_dict(filled(plain))
    plain.eval().requires_grad_(False).to(arguments.device)
    networks = {"straightforward": plain, "folded": folded(plain)}
    frames = clip(16 * arguments.batch, 224, 224).to(arguments.device).float() * 2 / 255 - 1
    windows = frames.unflatten(0, (arguments.batch, 16)).permute(0, 4, 1, 2, 3).contiguous()
    times: dict[str, list[float]] = {name: [] for name in networks}
    with torch.inference_mode():
        features = {name: network(windows) for name, network in networks.items()}
        for _ in range(arguments.rounds):
            for name, network in networks.items():
                times[name].append(seconds(network, windows))
    typical = {name: median(rounds) for name, rounds in times.items()}
    for name, time_of in typical.items():
        print(f"{name:16} {1e3 * time_of / arguments.batch:8.1f} ms per window")
    off = (features["folded"] - features["straightforward"]).norm() / features["straightforward"].norm()
    print(f"ratio {typical['folded'] / typical['straightforward']:.3f}, features differ by {float(off):.1e}")


if __name__ == "__main__":
    main()
