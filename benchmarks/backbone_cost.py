"""What extractors cost: floating-point operations per hour of video, counted; seconds and memory, measured.

    python benchmarks/backbone_cost.py > benchmarks/backbone_cost.md                   # counted: no weights, seconds
    python benchmarks/backbone_cost.py --measure [--most 1000] > benchmarks/backbone_cost.md

The video has 640x360 pixels and 30 frames/s. A multiplication with an addition counts as two operations; decoding,
resizing and optical flow are not counted. --measure runs one chunk or window of every extractor of at most so many
GFLOP, with seeded weights in single precision, in a process of its own with one thread: the processor seconds of that
pass (of a second one, if the first is quick) times passes per hour, and the process's peak memory. Extractors of the
same operations in the same form are measured once. What has more operations is estimated from them, at the rate of the
family's last one that was measured; its memory is left out. Extractors that measure, read optical flow of RAFT, or
cannot be laid out without values are left out, and named on standard error.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from seeded import networks, weights
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from tal_cli.extractors.catalog import ENTRIES, find
from tal_cli.extractors.errors import TalError
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.plugins import load_object
from tal_cli.extractors.video.clock import decimation
from tal_cli.models.recipe.loading import list_recipes, load_recipe
from tal_cli.models.store.checkpoint import TunedWeights
from tal_cli.tuned import backbone_of, outline_of

FPS, WIDTH, HEIGHT = 30.0, 640, 360
WINDOWS = 8  # of a pass of a network on windows, which may share what they compute
QUICK = 5.0  # seconds of a pass that is worth another one


@dataclass(frozen=True)
class Cost:
    """One line of the table. gflop: of a pass; frames: read per second; passes: per hour of video."""

    name: str
    form: str
    frames: float
    passes: float
    gflop: float


def rate_of(contract: FeatureContract) -> float:
    """Frames per second that an extractor reads of the video."""
    return contract.sampling_rate or FPS / decimation(FPS, contract.max_rate)


def backbone_on(name: str, device: str) -> nn.Module:
    """An extractor without weights on the meta device, or with seeded ones; by its name or by that of a recipe."""
    if name in list_recipes():
        recipe = load_recipe(name)
        tuned, _ = outline_of(recipe)
        state = (
            weights(tuned, 0) if device == "cpu" else {k: torch.zeros(v.shape) for k, v in tuned.state_dict().items()}
        )
        made = backbone_of(recipe, TunedWeights(state, "0" * 64), name)
        return made if device == "cpu" else nn.Module.to(made, "meta")
    entry, found = find(name), networks(name)
    for seed, network in enumerate(found if device == "cpu" else ()):
        network.load_state_dict(weights(network, seed), assign=True)
    made: nn.Module = load_object(entry.blueprint).assemble(entry.contract, [each.eval() for each in found])
    return made if device == "cpu" else nn.Module.to(made, "meta")


def frames_of(contract: FeatureContract, backbone: nn.Module, windows: int = WINDOWS) -> tuple[int, float]:
    """Frames of a pass over one chunk or so many windows, and the seconds of video that it is for."""
    rows = contract.rows or windows
    around = 2 * getattr(backbone, "context", 0)
    return contract.window + (rows - 1) * contract.stride + around, rows * contract.stride / rate_of(contract)


def prepared(backbone: nn.Module, frames: int, device: str) -> Tensor:
    """Frames as the network reads them."""
    width, height = backbone.frame_size(WIDTH, HEIGHT)  # type: ignore[operator]
    one = torch.zeros(1 + backbone.lookahead, height, width, 3, dtype=torch.uint8)  # type: ignore[operator]
    shape = backbone.prepare(one).shape[1:]  # type: ignore[operator]
    return torch.rand(frames, *shape) if device == "cpu" else torch.empty(frames, *shape, device="meta")


def passed(backbone: nn.Module, frames: Tensor) -> None:
    with torch.inference_mode():
        backbone(frames, torch.arange(len(frames), dtype=torch.float64, device=frames.device) / FPS)


def counted(name: str) -> Cost:
    backbone = backbone_on(name, "meta")
    contract: FeatureContract = backbone.contract  # type: ignore[assignment]
    frames, seconds = frames_of(contract, backbone)
    with FlopCounterMode(display=False) as counter:
        passed(backbone, prepared(backbone, frames, "meta"))
    whole = (
        f"{contract.chunk} frames, {contract.rows} rows" if contract.chunk else f"{contract.window}/{contract.stride}"
    )
    return Cost(name, whole, rate_of(contract), 3600 / seconds, counter.get_total_flops() / 1e9)


def measure(name: str) -> None:
    """Print processor seconds per hour of video and peak MB of this process."""
    torch.set_num_threads(1)
    backbone = backbone_on(name, "cpu")
    count, seconds = frames_of(backbone.contract, backbone, windows=1)  # type: ignore[arg-type]
    frames = prepared(backbone, count, "cpu")
    for _ in range(2):
        begin = time.process_time()
        passed(backbone, frames)
        took = time.process_time() - begin
        if took > QUICK:
            break
    print(json.dumps([took * 3600 / seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024]))


class Measured:
    """Processor seconds per hour of video and peak MB of extractors, as told in a table; those of more than `most`
    GFLOP a chunk or window are estimated."""

    def __init__(self, most: float) -> None:
        self.most = most
        self.known: dict[tuple[str, float], tuple[float, float]] = {}
        self.rates: dict[str, float] = {}  # of each family, seconds per GFLOP

    def told(self, cost: Cost, windows: int) -> tuple[str, str]:
        """windows: of the pass whose operations were counted."""
        family, hourly = family_of(cost.name), cost.gflop * cost.passes
        if cost.gflop / windows > self.most:
            return (f"about {hourly * self.rates[family]:,.0f}" if family in self.rates else "", "")
        key = (cost.form, cost.gflop)
        if key not in self.known:
            command = [sys.executable, __file__, "--one", cost.name]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            self.known[key] = json.loads(done.stdout)
        seconds, peak = self.known[key]
        self.rates[family] = seconds / hourly
        return f"{seconds:,.0f}", f"{peak:,.0f}"


def family_of(name: str) -> str:
    """The letters before the version in an extractor's name; AdaTAD's networks are VideoMAE's."""
    return "videomae" if name.startswith("adatad") else name[: re.search(r"[^a-z]|$", name).start()]  # type: ignore


def names() -> Iterator[str]:
    yield from (entry.name for entry in ENTRIES)
    recipes = (name for name in list_recipes() if name.startswith("adatad-thumos"))
    yield from sorted(recipes, key=lambda name: "sblhg".index(name.split("-")[2]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true")
    parser.add_argument("--most", type=float, default=1000, metavar="GFLOP")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        measure(options.one)
        return
    print("# What extractors cost per hour of video\n\nWritten by `backbone_cost.py`, which says how.")
    print("Processor seconds are those of one thread in single precision; `about`: estimated from the operations.\n")
    print("| extractor | window/stride or pass | frames/s read | passes | TFLOP | processor seconds | peak MB |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    measured = Measured(options.most) if options.measure else None
    for name in names():
        try:
            cost = counted(name)
        except (AttributeError, RuntimeError, TalError) as error:  # has no network, or no kernels without values
            print(f"{name} is left out: {error}"[:200], file=sys.stderr)
            continue
        told = measured.told(cost, 1 if "rows" in cost.form else WINDOWS) if measured else ("", "")
        tera = cost.gflop * cost.passes / 1e3
        cells = (f"`{name}`", cost.form, f"{cost.frames:g}", f"{cost.passes:,.0f}", f"{tera:,.1f}", *told)
        print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
