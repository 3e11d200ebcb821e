"""Memory of a training step through a backbone, activations kept or computed again, against the forward pass alone.

    python benchmarks/tuning_memory.py [--size s] [--frames 128] [--pixels 160]

VideoMAE with AdaTAD's adapters, seeded weights, one window; a process of its own for each line.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch

from tal_cli.extractors.backbones.vit.videomae import FRAMES, SHAPES, DenseVideoMAE
from tal_cli.extractors.tuning.adapters import AdapterNetwork, SideNetwork, TunedNetwork

KINDS = {
    "forward alone": "adapters, without gradients",
    "adapters": "adapters, activations kept",
    "checkpointed": "adapters, computed again (the default)",
    "side": "side network on half of the blocks",
}


def peak() -> float:
    """MB that this process has taken at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def step(kind: str, size: str, frames: int, pixels: int) -> None:
    """Print seconds of a step, MB before it and MB at most."""
    torch.manual_seed(0)
    network = DenseVideoMAE(SHAPES[size.upper()], size=(pixels, pixels), normed=False)
    depth = SHAPES[size.upper()].depth
    tuned: TunedNetwork
    if kind == "side":
        tuned = SideNetwork(network, range(depth // 2, depth))
    else:
        tuned = AdapterNetwork(network, range(depth), checkpointed=kind == "checkpointed")
    images = torch.randn(frames // FRAMES, 3, FRAMES, pixels, pixels)
    before, begin = peak(), time.perf_counter()
    with torch.set_grad_enabled(kind != "forward alone"):
        rows = tuned.train()(images).mean((0, 2))
        if kind != "forward alone":
            rows.square().mean().backward()
    print(json.dumps([time.perf_counter() - begin, before, peak()]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="s", choices=[name.lower() for name in SHAPES])
    parser.add_argument("--frames", type=int, default=128)
    parser.add_argument("--pixels", type=int, default=160)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.kind:
        step(options.kind, options.size, options.frames, options.pixels)
        return
    print("| step | MB more than before it | seconds |\n| --- | --- | --- |")
    for kind, what in KINDS.items():
        done = subprocess.run([sys.executable, *sys.argv, "--kind", kind], capture_output=True, text=True, check=True)
        seconds, before, most = json.loads(done.stdout)
        print(f"| {what} | {most - before:,.0f} | {seconds:.1f} |", flush=True)


if __name__ == "__main__":
    main()
