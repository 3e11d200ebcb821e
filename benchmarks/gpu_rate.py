"""Seconds per hour of video on a GPU: the table of README.

usage: gpu_rate.py [BACKBONE...] [--video FILE] [--minutes 10] [--precision bf16] [--videos 4] [--windows 256]

Weights are seeded. For each backbone, in one run: features of a 320x240, 30 frames/s H.264 video (or FILE), `--videos`
of them at a time as `tal extract-features` does it; and the forward passes alone, on frames that are on the device
already. From the two follow the time that the device waits for frames, and with the network's multiplications the share
of the device's peak. The peak is that of dense products of the precision, measured here as 8192 x 8192 matrices.
Without a GPU it runs on the CPU, which only shows that it runs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from seeded import seeded_backbone
from torch.utils.flop_counter import FlopCounterMode
from videos import make_video, repeat_video

from tal_cli.extractors.backbones.interface import Backbone
from tal_cli.extractors.extraction.blocks import PreparedFrames, window_blocks
from tal_cli.extractors.extraction.extractor import Extractor
from tal_cli.extractors.extraction.precision import cast_weights, precision
from tal_cli.extractors.video.stream import read_frames

BACKBONES = ("i3d-rgb", "videomaev2-b", "videomaev2-g")


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matrix_rate(device: torch.device, name: str) -> float:
    """Operations per second of large matrix products."""
    side, rounds = (8192, 20) if device.type == "cuda" else (512, 2)
    one = torch.randn(side, side, device=device)
    best = float("inf")
    with torch.inference_mode(), precision(device, name):
        for _ in range(3):
            synchronise(device)
            began = time.perf_counter()
            for _ in range(rounds):
                one @ one
            synchronise(device)
            best = min(best, time.perf_counter() - began)
    return 2 * side**3 * rounds / best


def one_block(extractor: Extractor, video: Path) -> PreparedFrames:
    """The first block of a video, prepared, on the device."""
    passes, rates = extractor.forward_passes, extractor.backbone.contract
    with read_frames(video, frame_size=extractor.backbone.frame_size, sampling_rate=rates.sampling_rate) as stream:
        frames = (passes.prepare(passes.load(chunk)) for chunk in stream)
        return next(window_blocks(frames, passes.grid, passes.windows_per_block))


def forward_alone(extractor: Extractor, video: Path, windows: int) -> tuple[float, float]:
    """Windows per second of the forward passes alone, and operations per window."""
    block, device = one_block(extractor, video), extractor.device
    at_a_time = extractor.forward_passes.grid.count(len(block.times))
    with FlopCounterMode(display=False) as counter:
        extractor.forward_passes.forward(block).wait()
    synchronise(device)
    began = time.perf_counter()
    rounds = max(1, windows // at_a_time)
    for _ in range(rounds):
        last = extractor.forward_passes.forward(block)
    last.wait()
    synchronise(device)
    return rounds * at_a_time / (time.perf_counter() - began), counter.get_total_flops() / at_a_time


def from_files(extractor: Extractor, video: Path, videos: int) -> tuple[float, float]:
    """Windows per second, and hours of video per hour, with several videos at a time."""
    began = time.perf_counter()
    with ThreadPoolExecutor(videos) as pool:
        done = list(pool.map(extractor.extract, [video] * videos))
    elapsed = time.perf_counter() - began
    windows = sum(len(sequence.features) for sequence in done)
    return windows / elapsed, sum(sequence.duration for sequence in done) / elapsed


def row(backbone: Backbone, arguments: argparse.Namespace, video: Path, device: torch.device, peak: float) -> str:
    """One line of the table."""
    cast_weights(backbone, arguments.precision)
    extractor = Extractor(backbone, device=device, precision=arguments.precision)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    alone, operations = forward_alone(extractor, video, arguments.windows)
    windows, hours = from_files(extractor, video, arguments.videos)
    memory = torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0
    waits = max(0.0, 1 - windows / alone)
    return (
        f"| {backbone.contract.extractor} | {3600 / hours:.1f} | {hours:.0f} | {windows:.0f} | {alone:.0f} | "
        f"{100 * operations * windows / peak:.0f} % | {100 * waits:.0f} % | {memory:.1f} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("backbones", nargs="*", default=BACKBONES)
    parser.add_argument("--video", type=Path)
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--precision", default="bf16", choices=("fp32", "bf16", "fp16"))
    parser.add_argument("--videos", type=int, default=4)
    parser.add_argument("--windows", type=int, default=256)
    arguments = parser.parse_args()
    device = torch.device("cuda:0" if torch.cuda.is_available() else "cpu")
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"
    peak = matrix_rate(device, arguments.precision)
    print(
        f"{name}, {arguments.precision}, {peak / 1e12:.0f} TFLOP/s in matrix products, {arguments.videos} at a time\n"
    )
    print(
        "| backbone | seconds per hour of video | video-hours per hour | windows/s | forward alone, windows/s "
        "| of peak | device waits | GiB |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    )
    with tempfile.TemporaryDirectory() as folder:
        video = arguments.video or Path(folder, "video.mp4")
        if arguments.video is None:
            make_video(Path(folder, "minute.mp4"))
            repeat_video(Path(folder, "minute.mp4"), video, 1800 * arguments.minutes or 60)
        for backbone in arguments.backbones:
            print(row(seeded_backbone(backbone), arguments, video, device, peak), flush=True)


if __name__ == "__main__":
    main()
