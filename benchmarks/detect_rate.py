"""`tal detect --model camera` from file to segments: its rate beside PyAV's, and its memory on a minute and on an hour.

usage: detect_rate.py [--model camera] [--minutes 10] [--hour] [--rounds 3]

The video is 320x240, 30 frames/s H.264, rendered once for a minute and repeated. The peer is PyAV alone, decoding every
frame to a full-size RGB array. Both take turns in one run and the best round counts; start-up (the same command on one
second of video) is taken off ours. --hour also compares the peak memory of 1 and 60 minutes, child processes included.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from memory import peak_memory
from videos import repeat_video

from tal_cli.camera.render import paint
from tal_cli.camera.timeline import random_timeline

FPS = 30
SIZE = (320, 240)


def minute(path: Path) -> None:
    """A minute of rendered video."""
    seeds = (np.random.default_rng([7, index]) for index in range(1000))
    rng, timeline = next((rng, t) for rng in seeds if (t := random_timeline(rng)).source.size >= 60 * FPS)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for index, picture in zip(range(60 * FPS), paint(rng, timeline, *SIZE), strict=False):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def decode(path: Path) -> None:
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            frame.to_ndarray(format="rgb24")


def command(path: Path, model: str) -> list[str]:
    return [sys.executable, "-m", "tal_cli", "detect", str(path), "-m", model, "--quiet"]


def detect(path: Path, model: str) -> None:
    subprocess.run(command(path, model), check=True, stdout=subprocess.DEVNULL)


def seconds(work: Callable[..., object], *arguments: object) -> float:
    begin = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="camera")
    parser.add_argument("--minutes", type=int, default=10)
    parser.add_argument("--hour", action="store_true")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        minute(folder / "minute.mp4")
        repeat_video(folder / "minute.mp4", folder / "short.mp4", FPS)
        repeat_video(folder / "minute.mp4", folder / "long.mp4", arguments.minutes * 60 * FPS)
        frames = arguments.minutes * 60 * FPS
        peer, ours, start_up = [], [], []
        for _ in range(arguments.rounds):
            peer.append(seconds(decode, folder / "long.mp4"))
            ours.append(seconds(detect, folder / "long.mp4", arguments.model))
            start_up.append(seconds(detect, folder / "short.mp4", arguments.model))
        net = min(ours) - min(start_up)
        print(f"PyAV to RGB       {frames / min(peer):7.0f} frames/s")
        print(f"tal detect        {frames / net:7.0f} frames/s, start-up of {min(start_up):.1f} s taken off")
        print(f"ratio             {min(peer) / net:7.2f}  (goal: 0.40)")
        print(f"times real time   {arguments.minutes * 60 / net:7.1f}")
        if arguments.hour:
            repeat_video(folder / "minute.mp4", folder / "hour.mp4", 3600 * FPS)
            videos = (folder / "minute.mp4", folder / "hour.mp4")
            peaks = [peak_memory(*command(video, arguments.model)) for video in videos]
            print(
                f"peak memory       {peaks[0]:.0f} MB for a minute, {peaks[1]:.0f} MB for an hour (goal: 150 MB more)"
            )


if __name__ == "__main__":
    main()
