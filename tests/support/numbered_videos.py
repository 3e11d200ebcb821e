"""Videos with numbered frames and a tone per second, for checking cuts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

BITS = 9
RATE = 44_100


def picture(number: int, width: int, height: int) -> NDArray[np.uint8]:
    """uint8 [height, width, 3]: the number in binary, as black and white columns across the middle of the picture."""
    image = np.full((height, width, 3), 96, np.uint8)
    wide = width // (BITS + 2)
    for bit in range(BITS):
        left = (bit + 1) * wide
        image[height // 4 : 3 * height // 4, left : left + wide] = 235 if number >> bit & 1 else 20
    return image


def number_of(frame: av.VideoFrame) -> int:
    """Which number a picture shows."""
    image = frame.to_ndarray(format="gray")
    height, width = image.shape
    wide = width // (BITS + 2)
    middle = image[height * 3 // 8 : height * 5 // 8]
    columns = [middle[:, (bit + 1) * wide + wide // 4 : (bit + 2) * wide - wide // 4] for bit in range(BITS)]
    return sum((float(column.mean()) > 128) << bit for bit, column in enumerate(columns))


def write_numbered_video(
    path: Path,
    frames: int = 100,
    *,
    fps: int = 25,
    size: tuple[int, int] = (176, 64),
    stamps: Sequence[int] | None = None,
    pixels: str = "yuv420p",
    gop: int = 25,
    sound: str | None = "aac",
    codec: str = "libx264",
    pixel_shape: Fraction | None = None,
    turns: int = 0,
) -> Path:
    """Writes a video of numbered frames; stamps are milliseconds, for a variable rate; B-frames as x264 likes them;
    turns: quarter turns counter-clockwise of the stored pictures."""
    with av.open(str(path), "w") as output:
        stream = output.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = *(size if turns % 2 == 0 else size[::-1]), pixels
        stream.gop_size = gop
        if pixel_shape is not None:
            stream.codec_context.sample_aspect_ratio = pixel_shape
        if codec == "libx264":
            stream.options = {"crf": "12", "preset": "veryfast", "sc_threshold": "0", "x264-params": "open-gop=0"}
        base = Fraction(1, fps) if stamps is None else Fraction(1, 1000)
        stream.codec_context.time_base = base
        heard = output.add_stream(sound, rate=RATE, layout="mono") if sound else None
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(
                np.ascontiguousarray(np.rot90(picture(number, *size), turns)), format="rgb24"
            )
            frame.pts, frame.time_base = (number if stamps is None else stamps[number]), base
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
        if heard is not None:
            seconds = frames / fps if stamps is None else stamps[-1] / 1000
            for piece in tone(seconds):
                output.mux(heard.encode(piece))
            output.mux(heard.encode(None))
    return path


def tone(seconds: float) -> list[av.AudioFrame]:
    """A sine whose pitch is 300 Hz in the first second, 600 Hz in the next, and so on."""
    times = np.arange(int(seconds * RATE)) / RATE
    wave = (0.4 * np.sin(2 * np.pi * 300 * (1 + np.floor(times)) * times)).astype(np.float32)
    pieces = []
    for at in range(0, len(wave) - 1023, 1024):
        piece = av.AudioFrame.from_ndarray(wave[None, at : at + 1024], format="fltp", layout="mono")
        piece.sample_rate, piece.pts, piece.time_base = RATE, at, Fraction(1, RATE)
        pieces.append(piece)
    return pieces


@dataclass(frozen=True)
class Seen:
    """Content of a video: frame numbers, their times (seconds), and its sound as float32 samples from `sound_start`."""

    numbers: list[int]
    times: list[float]
    sound: NDArray[np.float32]
    sound_start: float
    width: int
    height: int
    pixels: str


def see(path: Path) -> Seen:
    """Decodes a video."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
        numbers, times = [number_of(frame) for frame in frames], [float(frame.time or 0) for frame in frames]
        first = frames[0]
        rotated = first.rotation % 180 != 0
        width, height = (first.height, first.width) if rotated else (first.width, first.height)
    sound, start = np.zeros(0, np.float32), 0.0
    with av.open(str(path)) as container:
        if container.streams.audio:
            heard = list(container.decode(audio=0))
            start = float(heard[0].time or 0)
            sound = np.concatenate([frame.to_ndarray()[0].astype(np.float32) for frame in heard])
    return Seen(numbers, times, sound, start, width, height, first.format.name)


def pitch(seen: Seen, time: float) -> float:
    """Hertz of what is heard in the tenth of a second from a time on."""
    at = int((time - seen.sound_start) * RATE)
    piece = seen.sound[at : at + RATE // 10]
    spectrum = np.abs(np.fft.rfft(piece * np.hanning(len(piece))))
    return float(np.argmax(spectrum) * RATE / len(piece))
