"""Mamba's selective scan: the parallel form against the step-by-step recurrence, forward and with gradients.

    python benchmarks/selective_scan.py [--device cpu|cuda] [--threads N] [--cells T] [--width D] [--rounds N]

Prints milliseconds (median of the rounds, which take turns) and the ratio. Defaults: both directions of one video of
2304 cells at ActionMamba's published width.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor

from tal_cli.models.layers.selective_scan import selective_scan

STATES = 16


def recurrence(x: Tensor, delta: Tensor, decay: Tensor, inputs: Tensor, outputs: Tensor, skip: Tensor) -> Tensor:
    """The definition, one step after the other."""
    state = x.new_zeros(x.shape[0], x.shape[2], decay.shape[1])
    rows = []
    for step in range(x.shape[1]):
        kept = torch.exp(delta[:, step, :, None] * decay)
        state = kept * state + (delta[:, step] * x[:, step])[..., None] * inputs[:, step, None]
        rows.append((state * outputs[:, step, None]).sum(-1) + skip * x[:, step])
    return torch.stack(rows, 1)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--cells", type=int, default=2304)
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    shape = (2, options.cells, options.width)
    delta, decay = torch.rand(shape), -torch.arange(1.0, STATES + 1).repeat(options.width, 1)
    projections = (torch.randn(2, options.cells, STATES) for _ in range(2))
    arguments = [torch.randn(shape), 0.1 * delta, decay, *projections, torch.ones(options.width)]
    leaves = [argument.to(options.device).requires_grad_() for argument in arguments]

    def forward(scan: Callable[..., Tensor]) -> None:
        with torch.inference_mode():
            scan(*leaves)

    def backward(scan: Callable[..., Tensor]) -> None:
        torch.autograd.grad(scan(*leaves).sum(), leaves)

    for name, run in (("forward", forward), ("forward and backward", backward)):
        times: dict[str, list[float]] = {"parallel": [], "step by step": []}
        for _ in range(options.rounds + 1):
            for kind, scan in (("parallel", selective_scan), ("step by step", recurrence)):
                times[kind].append(timed(run, scan, options.device))
        parallel, steps = (1e3 * statistics.median(values[1:]) for values in times.values())
        print(f"{name}: parallel {parallel:.0f} ms, step by step {steps:.0f} ms, ratio {parallel / steps:.2f}")


def timed(run: Callable[[Callable[..., Tensor]], None], scan: Callable[..., Tensor], device: str) -> float:
    """Seconds of one run, the device's work included."""
    start = time.perf_counter()
    run(scan)
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
