"""How fast frames come out of a file, beside what the decoders themselves do; all in one run, on the same file.

usage: decode_rate.py [VIDEO] [--rounds N]

Without VIDEO a minute of 320x240, 30 frames/s H.264 is made: a pan over a texture with noise. The rows take turns, so
that a machine that slows down slows all of them, and the best round counts. The ratio is to the first row.
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
from videos import make_video

from tal_cli.extractors.backbones import create_backbone
from tal_cli.extractors.extraction.blocks import PreparedFrames, window_blocks
from tal_cli.extractors.extraction.extractor import extract_features
from tal_cli.extractors.features.grid import WindowGrid
from tal_cli.extractors.video.stream import read_frames

WINDOW = WindowGrid(window=16, stride=4)


def pyav_to_rgb(path: Path) -> int:
    """PyAV alone, every frame as an RGB array of full size."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return sum(frame.to_ndarray(format="rgb24").shape[0] > 0 for frame in container.decode(video=0))


def pyav_dropped(path: Path) -> int:
    """PyAV alone, every frame decoded and discarded."""
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        return sum(1 for _ in container.decode(video=0))


def decord_in_order(path: Path) -> int:
    """decord, batches of 64 in order."""
    import decord

    reader = decord.VideoReader(str(path))
    for start in range(0, len(reader), 64):
        reader.get_batch(range(start, min(start + 64, len(reader)))).asnumpy()
    return len(reader)


def windows(path: Path) -> int:
    """Ours: overlapping windows of small frames, as a backbone gets them."""
    with read_frames(path, frame_size=create_backbone("tiny").frame_size) as stream:
        frames = (PreparedFrames(torch.from_numpy(chunk.frames), chunk.times) for chunk in stream)
        for _ in window_blocks(frames, WINDOW, 64):
            pass
        return stream.summary.frames


def features(path: Path) -> int:
    """Ours: features of the tiny backbone."""
    return extract_features(path, create_backbone("tiny")).frames


def main() -> None:
    """Run all rows and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        video = arguments.video or Path(folder) / "pan.mp4"
        if arguments.video is None:
            make_video(video)
        rows: list[Callable[[Path], int]] = [pyav_to_rgb, pyav_dropped, windows, features]
        if find_spec("decord") is not None:
            rows.append(decord_in_order)
        best = dict.fromkeys(rows, 0.0)
        for _ in range(arguments.rounds):
            for row in rows:
                began = time.perf_counter()
                frames = row(video)
                best[row] = max(best[row], frames / (time.perf_counter() - began))
    print("| rate, frames/s | ratio | what |\n| ---: | ---: | --- |")
    for row, rate in best.items():
        print(f"| {rate:.0f} | {rate / best[pyav_to_rgb]:.2f} | {row.__doc__} |")


if __name__ == "__main__":
    main()
