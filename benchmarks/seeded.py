"""What the extraction benchmarks share: backbones with seeded weights, videos of any length, memory of a process."""

from __future__ import annotations

import math
import subprocess
import sys
from collections.abc import Mapping, Sequence
from fractions import Fraction
from importlib import import_module
from pathlib import Path

import av
import numpy as np
import torch
from torch import Tensor, nn

from extractors.backbones import Backbone, create_backbone, find

# Runs a command and prints the largest sum of proportional memory over its processes, in MB.
MEASURE = """
import subprocess, sys, time
from pathlib import Path
def tree(root):
    found = [root]
    for task in Path(f"/proc/{root}/task").glob("*/children"):
        for child in task.read_text().split():
            found += tree(int(child))
    return found
def resident(process):
    lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
run = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL)
peak = 0
while run.poll() is None:
    total = 0
    for process in tree(run.pid):
        try:
            total += resident(process)
        except (OSError, StopIteration):
            pass
    peak = max(peak, total)
    time.sleep(0.05)
assert run.returncode == 0, run.returncode
print(peak / 1024)
"""


def networks(name: str, settings: Mapping[str, object] | None = None) -> Sequence[nn.Module]:
    """A backbone's networks without weights, on the meta device."""
    entry = find(name)
    module, _, attribute = entry.blueprint.partition(":")
    blueprint = getattr(import_module(f"extractors.backbones.{module}"), attribute)
    with torch.device("meta"):
        found: Sequence[nn.Module] = blueprint.networks(entry.contract_with(settings or {}))
    return found


def weights(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """Random weights under which values neither vanish nor explode."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in network.state_dict().items():
        leaf = name.rpartition(".")[2]
        if not tensor.is_floating_point():
            state[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
        elif tensor.dim() > 1:
            spread = math.sqrt(2 / max(1, tensor[0].numel()))
            state[name] = torch.empty(tensor.shape).normal_(0.0, spread, generator=generator)
        else:
            state[name] = torch.full(tensor.shape, float(leaf in ("weight", "gamma", "running_var")))
    return state


def seeded_backbone(name: str, settings: Mapping[str, object] | None = None) -> Backbone:
    """A backbone with random weights; only its speed and memory mean something."""
    made = [weights(network, seed) for seed, network in enumerate(networks(name, settings))]
    return create_backbone(name, made or None, settings)


def make_video(path: Path, *, frames: int = 1800, fps: int = 30, size: tuple[int, int] = (320, 240)) -> None:
    """A pan over a smooth texture with a little noise, H.264."""
    width, height = size
    rng = np.random.default_rng(0)
    coarse = rng.uniform(0, 255, (height // 12 + 10, width // 12 + 100, 3))
    texture = np.repeat(np.repeat(coarse, 12, 0), 12, 1)
    texture = (texture + np.roll(texture, 6, 0) + np.roll(texture, 6, 1)) / 3
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=fps, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for index in range(frames):
            left = int(500 + 500 * np.sin(index / 90))
            picture = texture[50 : 50 + height, left : left + width] + rng.normal(0, 4, (height, width, 1))
            frame = av.VideoFrame.from_ndarray(picture.clip(0, 255).astype(np.uint8), format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, fps)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def repeat_video(source: Path, target: Path, times: int) -> None:
    """A video played over and over, without encoding anew."""
    with av.open(str(source)) as first, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(first.streams.video[0])
        packets = [packet for packet in first.demux(video=0) if packet.dts is not None]
        step = (packets[-1].dts - packets[0].dts) // (len(packets) - 1)
        stamps = [(packet.pts, packet.dts) for packet in packets]
        for index in range(times * len(packets)):
            packet = packets[index % len(packets)]
            pts, dts = stamps[index % len(packets)]
            shift = index // len(packets) * len(packets) * step
            packet.stream, packet.pts, packet.dts = stream, pts + shift, dts + shift
            out.mux(packet)


def peak_memory(*command: str) -> float:
    """MB that a command and its processes take at most."""
    run = [sys.executable, "-c", MEASURE, *command]
    return float(subprocess.run(run, check=True, stdout=subprocess.PIPE, text=True).stdout)
