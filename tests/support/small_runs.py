"""For tests that run `tal`: small videos, and what a run leaves behind."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

# The console script, as users have it, of the environment that runs the tests.
TAL = [str(Path(sys.executable).with_name("tal"))]
LABELS = ["jump", "run", "cut"]


def render_clip(
    path: Path, *, frames: int = 60, fps: int = 25, size: tuple[int, int] = (64, 48), repeat: int = 1
) -> Path:
    """Write a video of a square that moves over noise; `repeat` strings its packets together into a longer one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    noise = rng.integers(0, 80, (size[1], size[0], 3), dtype=np.uint8)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=fps)
        stream.width, stream.height, stream.pix_fmt = size[0], size[1], "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, fps)
        packets = []
        for index in range(frames):
            picture = noise.copy()
            left = index % (size[0] - 10)
            picture[10:20, left : left + 10] = 250
            packets += stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24"))
        packets += stream.encode()
        payloads = [(bytes(packet), packet.is_keyframe) for packet in packets]
        for number in range(repeat * len(payloads)):
            payload, is_keyframe = payloads[number % len(payloads)]
            packet = av.Packet(payload)
            packet.stream, packet.time_base = stream, Fraction(1, fps)
            packet.pts = packet.dts = number
            packet.is_keyframe = is_keyframe
            container.mux(packet)
    return path


@dataclass(frozen=True)
class Finished:
    """A run of `tal` that has ended."""

    code: int
    out: str
    err: str


Tal = Callable[..., Finished]
