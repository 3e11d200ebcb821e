"""Features from a file beside the forward passes alone, on a CPU; ratios in one run.

usage: extract_rate.py [--backbone i3d-rgb] [--windows 24] [--rounds 3]

Weights are seeded. The forward passes alone get frames that are decoded and prepared already, in the same blocks and as
many workers. Both take turns and the best round counts; starting the decoding process and preparing frames is what the
rest consists of.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from seeded import seeded_backbone
from videos import make_video

from tal_cli.extractors.extraction.blocks import PreparedFrames, window_blocks
from tal_cli.extractors.extraction.cpu_parallel import cpu_workers, parallel_map
from tal_cli.extractors.extraction.extractor import Extractor
from tal_cli.extractors.video.stream import read_frames


def prepared_blocks(extractor: Extractor, path: Path) -> list[PreparedFrames]:
    """All blocks of a video, ready for the forward pass."""
    passes = extractor.forward_passes
    with read_frames(path, frame_size=extractor.backbone.frame_size) as stream:
        frames = (passes.prepare(passes.load(chunk)) for chunk in stream)
        return list(window_blocks(frames, passes.grid, passes.windows_per_block))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="i3d-rgb")
    parser.add_argument("--windows", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    extractor = Extractor(seeded_backbone(arguments.backbone))
    grid = extractor.forward_passes.grid
    whole, alone = [], []
    with tempfile.TemporaryDirectory() as name:
        video = Path(name, "video.mp4")
        make_video(video, frames=grid.frames(arguments.windows) + extractor.backbone.lookahead)
        blocks = prepared_blocks(extractor, video)
        for _ in range(arguments.rounds):
            began = time.perf_counter()
            results = parallel_map(extractor.forward_passes.forward, blocks, cpu_workers())
            rows = np.concatenate([pending.wait() for pending in results])
            alone.append(time.perf_counter() - began)
            began = time.perf_counter()
            features = extractor.extract(video).features
            whole.append(time.perf_counter() - began)
    print(f"{arguments.backbone}, {len(features)} windows of a 320x240 video, {cpu_workers()} workers")
    print(f"forward passes alone  {min(alone) / len(rows):7.3f} s a window")
    print(f"from the file         {min(whole) / len(rows):7.3f} s a window")
    print(f"more                  {100 * (min(whole) / min(alone) - 1):7.1f} % (goal: 5)")
    print(f"largest difference    {abs(features - rows).max():.1e}")


if __name__ == "__main__":
    main()
