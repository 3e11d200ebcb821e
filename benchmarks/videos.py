"""Videos to measure on, of any length."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np


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


def repeat_video(source: Path, target: Path, frames: int) -> None:
    """That many frames of a looped video, without re-encoding."""
    with av.open(str(source)) as first, av.open(str(target), "w") as out:
        stream = out.add_stream_from_template(first.streams.video[0])
        packets = [packet for packet in first.demux(video=0) if packet.dts is not None]
        step = (packets[-1].dts - packets[0].dts) // (len(packets) - 1)
        stamps = [(packet.pts, packet.dts) for packet in packets]
        for index in range(frames):
            packet = packets[index % len(packets)]
            pts, dts = stamps[index % len(packets)]
            shift = index // len(packets) * len(packets) * step
            packet.stream, packet.pts, packet.dts = stream, pts + shift, dts + shift
            out.mux(packet)
