#!/usr/bin/env python3
"""The paper's table 15 (parameters and latency at 2304 x 2048) as Markdown, on every device that is here.

    python benchmarks/table_15.py [--threads 2] [--repeat 5] > benchmarks/table_15.md

On a GPU in single precision, half precision, compiled, and as a CUDA graph; and four sequences at once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

import torch

# Of the paper: millions of parameters, milliseconds on its GPU (an RTX 4090).
PAPER = {
    "actionformer-thumos-i3d": (29.3, 52),
    "temporalmaxer-thumos-i3d": (7.1, 30),
    "tridet-thumos-i3d": (15.9, 45),
    "actionmamba-thumos-internvideo2": (20.4, 60),
    "thumos-i3d": (17.6, 48),
}
ON_GPU = (
    (),
    ("--precision", "bf16"),
    ("--compile",),
    ("--cuda-graphs",),
    ("--precision", "bf16", "--cuda-graphs"),
    ("--batch", "4"),
)


def measure(*options: str) -> None:
    """Run `tal benchmark` and print its result as a table."""
    command = [sys.executable, "-m", "tal_cli", "benchmark", "--format", "json", *options]
    document = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"\n## {document['device']}: `tal benchmark {' '.join(options)}`\n")
    print(f"PyTorch {document['torch']}, {document['threads']} threads; memory: {document['memory']}.\n")
    print("| model | parameters (paper) | GFLOP | forward | candidates | NMS | sum (paper) | video hours/s | memory |")
    print(f"|{' --- |' * 9}")
    for model in document["models"]:
        parameters, latency = PAPER[model["name"]]
        stages = " | ".join(f"{1e3 * model[stage]:.1f} ms" for stage in ("forward", "candidates", "nms"))
        print(
            f"| {model['name']} | {model['parameters'] / 1e6:.1f} M ({parameters} M) | {model['gflop']:.1f} | {stages} "
            f"| {1e3 * model['total']:.1f} ms ({latency} ms) | {model['hours_per_second']:.2f} "
            f"| {model['memory'] / 1e6:.0f} MB |",
            flush=True,
        )


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", default="2")
    parser.add_argument("--repeat", default="5")
    arguments = parser.parse_args()
    print("# The paper's table 15\n")
    print(
        "One sequence of 2304 features of 2048 channels, random weights, warm, medians; the paper's times are of a GPU."
    )
    measure("--device", "cpu", "--threads", arguments.threads, "--repeat", arguments.repeat)
    if torch.cuda.is_available():
        for options in ON_GPU:
            measure("--device", "cuda", "--repeat", arguments.repeat, *options)


if __name__ == "__main__":
    main()
