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
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from tal_cli.datasets.camera.render import _paint
from tal_cli.datasets.camera.timeline import random_timeline

FPS = 30
SIZE = (320, 240)
# Runs a command and prints the largest sum of resident memory over its processes, in MB.
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
run = subprocess.Popen(sys.argv[1:], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
peak = 0
while run.poll() is None:
    total = 0
    try:
        total = sum(resident(process) for process in tree(run.pid))
    except (OSError, StopIteration):
        pass
    peak = max(peak, total)
    time.sleep(0.05)
print(peak / 1024)
"""


def minute(path: Path) -> None:
    """A minute of rendered video."""
    seeds = (np.random.default_rng([7, index]) for index in range(1000))
    rng, timeline = next((rng, t) for rng in seeds if (t := random_timeline(rng)).source.size >= 60 * FPS)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "veryfast"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for index, picture in zip(range(60 * FPS), _paint(rng, timeline, *SIZE), strict=False):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = index, Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def repeat(source: Path, target: Path, frames: int) -> None:
    """The first ``frames`` frames of ``source`` played over and over, without encoding anew."""
    with av.open(str(source)) as first, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(first.streams.video[0])
        packets = [packet for packet in first.demux(video=0) if packet.dts is not None]
        step = (packets[-1].dts - packets[0].dts) // (len(packets) - 1)
        times = [(packet.pts, packet.dts) for packet in packets]
        for index in range(frames):
            packet = packets[index % len(packets)]
            pts, dts = times[index % len(packets)]
            shift = index // len(packets) * len(packets) * step
            packet.stream, packet.pts, packet.dts = stream, pts + shift, dts + shift
            out.mux(packet)


def decode(path: Path) -> None:
    with av.open(str(path)) as container:
        container.streams.video[0].thread_type = "AUTO"
        for frame in container.decode(video=0):
            frame.to_ndarray(format="rgb24")


def command(path: Path, model: str) -> list[str]:
    return [sys.executable, "-m", "tal_cli", "detect", str(path), "-m", model, "--quiet"]


def detect(path: Path, model: str) -> None:
    subprocess.run(command(path, model), check=True, stdout=subprocess.DEVNULL)


def seconds(work: object, *arguments: object) -> float:
    begin = time.perf_counter()
    work(*arguments)  # type: ignore[operator]
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
        repeat(folder / "minute.mp4", folder / "short.mp4", FPS)
        repeat(folder / "minute.mp4", folder / "long.mp4", arguments.minutes * 60 * FPS)
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
            repeat(folder / "minute.mp4", folder / "hour.mp4", 3600 * FPS)
            peaks = []
            for video in ("minute.mp4", "hour.mp4"):
                run = [sys.executable, "-c", MEASURE, *command(folder / video, arguments.model)]
                peaks.append(float(subprocess.run(run, check=True, capture_output=True, text=True).stdout))
            print(
                f"peak memory       {peaks[0]:.0f} MB for a minute, {peaks[1]:.0f} MB for an hour (goal: 150 MB more)"
            )


if __name__ == "__main__":
    main()
