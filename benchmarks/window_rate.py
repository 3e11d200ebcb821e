"""Windows of 16 frames every 4 frames, 112x112, from a file, without a model; beside decord and PyAV, all in one run.

usage: window_rate.py [--minutes 5] [--rounds 3]

The video is 320x240, 30 frames/s H.264: a minute of it, repeated. The rows take turns and the best round counts. decord
is asked for each window, as the published extractor of VideoMAE V2 does it, over half a minute; PyAV decodes every
frame and drops it, with the threads that suit it best. Starting the decoding process counts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import av
import torch
from videos import make_video, repeat_video

from tal_cli.extractors.extraction.blocks import PreparedFrames, window_blocks
from tal_cli.extractors.features.grid import WindowGrid
from tal_cli.extractors.video.stream import read_frames

GRID = WindowGrid(window=16, stride=4)
DECORD_FRAMES = 900


def ours(path: Path) -> int:
    with read_frames(path, frame_size=lambda width, height: (112, 112)) as stream:
        frames = (PreparedFrames(torch.from_numpy(chunk.frames), chunk.times) for chunk in stream)
        windows = sum(GRID.count(len(block.times)) for block in window_blocks(frames, GRID, 64))
        assert windows == GRID.count(stream.summary.frames)
        return stream.summary.frames


def bare(threads: int) -> Callable[[Path], int]:
    def decode(path: Path) -> int:
        with av.open(str(path)) as container:
            context = container.streams.video[0].codec_context
            context.thread_type, context.thread_count = "AUTO", threads
            return sum(1 for _ in container.decode(video=0))

    return decode


def decord_windows(path: Path) -> int:
    import decord

    reader = decord.VideoReader(str(path), width=112, height=112)
    for start in range(0, DECORD_FRAMES - GRID.window + 1, GRID.stride):
        reader.get_batch(range(start, start + GRID.window)).asnumpy()
    return DECORD_FRAMES


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    rows: dict[str, Callable[[Path], int]] = {"windows from the file": ours}
    rows |= {f"PyAV, decoded and dropped, {n or 'its own choice of'} threads": bare(n) for n in (0, 1, 2)}
    if find_spec("decord") is not None:
        rows["decord, asked for each window"] = decord_windows
    best = dict.fromkeys(rows, 0.0)
    with tempfile.TemporaryDirectory() as name:
        minute, long = Path(name, "minute.mp4"), Path(name, "long.mp4")
        make_video(minute)
        repeat_video(minute, long, 1800 * arguments.minutes)
        for _ in range(arguments.rounds):
            for row, work in rows.items():
                began = time.perf_counter()
                frames = work(long)
                best[row] = max(best[row], frames / (time.perf_counter() - began))
    print("| frames/s | what |\n| ---: | --- |")
    for row, rate in best.items():
        print(f"| {rate:.0f} | {row} |")
    rate = best.pop("windows from the file")
    decord = best.pop("decord, asked for each window", None)
    print(f"\nof PyAV's bare rate: {rate / max(best.values()):.2f} (goal: 0.70)")
    if decord is not None:
        print(f"times decord's rate: {rate / decord:.1f} (goal: 8)")


if __name__ == "__main__":
    main()
