"""Unusual videos: every decoder gives the same images at the same times, or says that it cannot."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tal_cli.extractors.errors import VideoError
from tal_cli.extractors.video.messages import VideoSummary
from tal_cli.extractors.video.stream import probe, read_frames

FRAMES = 30
STEADY = tuple(40 * index for index in range(FRAMES))
# Shown for 40 ms and then, from the tenth on, for 200 ms each.
UNEVEN = tuple(40 * min(index, 10) + 200 * max(0, index - 10) for index in range(FRAMES))


@dataclass(frozen=True)
class Odd:
    """How a video is made. stamps: milliseconds. start: of the container's clock, seconds. refused: by whom."""

    file: str
    codec: str = "libx264"
    pixels: str = "yuv420p"
    stamps: Sequence[int] = STEADY
    start: float = 0.0
    options: dict[str, str] = field(default_factory=dict)
    container: dict[str, str] = field(default_factory=dict)
    refused: tuple[str, ...] = ()


ODD = {
    "variable rate": Odd("x.mp4", stamps=UNEVEN),
    "variable rate, mkv": Odd("x.mkv", stamps=UNEVEN),
    "late start": Odd("x.mkv", stamps=[5000 + stamp for stamp in STEADY], start=5.0),
    "decoded in another order than shown": Odd("x.mov", options={"bf": "3", "b_strategy": "0"}),
    "the same in avi": Odd("x.avi", codec="mpeg4", options={"bf": "2"}),
    "ten bits": Odd("x.mp4", codec="libx265", pixels="yuv420p10le", options={"x265-params": "log-level=none"}),
    "alpha": Odd("x.webm", codec="libvpx-vp9", pixels="yuva420p", options={"deadline": "realtime", "cpu-used": "8"}),
    "no duration": Odd("x.webm", codec="libvpx", container={"live": "1"}, refused=("decord",)),
    "full colour": Odd("x.mp4", pixels="yuv444p"),
    "transport stream": Odd("x.ts", codec="mpeg2video", start=0.04, refused=("decord",)),
}


def images() -> NDArray[np.uint8]:
    """uint8 [FRAMES, 48, 64, 3]: each brighter than the one before it, by more than compression changes."""
    ramp = np.linspace(0, 60, 64, dtype=np.uint8)
    return np.stack([np.broadcast_to((ramp + 6 * index)[None, :, None], (48, 64, 3)) for index in range(FRAMES)])


def make(odd: Odd, folder: Path) -> Path:
    path = folder / odd.file
    with av.open(str(path), "w", options=odd.container) as container:
        stream = container.add_stream(odd.codec, rate=25, options=odd.options)
        stream.width, stream.height, stream.pix_fmt = 64, 48, odd.pixels
        base = Fraction(1, 25) if odd.file.endswith((".avi", ".ts")) else Fraction(1, 1000)
        stream.codec_context.time_base = base
        for stamp, image in zip(odd.stamps, images(), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = int(Fraction(stamp, 1000) / base), base
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read(
    path: Path, decoder: str, rate: float | None = None
) -> tuple[NDArray[np.uint8], NDArray[np.float64], VideoSummary]:
    with read_frames(path, frame_size=lambda width, height: (width, height), decoder=decoder, sampling_rate=rate) as s:
        chunks = list(s)
    frames, times = (np.concatenate([getattr(chunk, name) for chunk in chunks]) for name in ("frames", "times"))
    return frames, times, s.summary


def shown(frames: NDArray[np.uint8]) -> list[int]:
    """Which of the images each frame is."""
    means = frames.astype(float).mean((1, 2, 3))
    return [int(number) for number in np.rint((means - images()[0].mean()) / 6)]


@pytest.mark.parametrize("decoder", ["pyav", "decord", "torchcodec"])
@pytest.mark.parametrize("kind", ODD)
@pytest.mark.slow
def test_every_decoder_gives_the_frames_at_their_times(kind: str, decoder: str, tmp_path: Path) -> None:
    if decoder == "torchcodec" and find_spec("torchcodec") is None:
        pytest.skip("torchcodec is not installed")
    odd = ODD[kind]
    path = make(odd, tmp_path)
    if decoder in odd.refused:
        with pytest.raises(VideoError, match=decoder):
            read(path, decoder)
        return
    frames, times, summary = read(path, decoder)
    numbers, first = np.unique(shown(frames), return_index=True)
    assert list(numbers) == list(range(FRAMES)) and (np.diff(first) > 0).all()
    expected = (np.array(odd.stamps) - odd.stamps[0]) / 1000
    assert times[first] == pytest.approx(expected, abs=1e-6)
    # Held frames are repeated, and nothing else is.
    assert (summary.frames, summary.lost, summary.repeated) == (FRAMES, 0, len(frames) - FRAMES)
    assert (len(frames) > FRAMES) == (odd.stamps is UNEVEN)
    assert np.diff(times).max() < 0.15
    # avi stores no display times; what FFmpeg makes up begins a frame late.
    assert summary.start == pytest.approx(odd.start, abs=0.05 if path.suffix == ".avi" else 1e-6)
    steps = np.diff(expected)
    assert summary.constant_rate == bool(np.allclose(np.diff(times), steps[0]))
    # The last frame is written without a duration: one step of the file's rate.
    assert summary.duration == pytest.approx(expected[-1] + 0.04, abs=2e-3)


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
@pytest.mark.parametrize("rate", [5.0, 12.5, 30.0])
def test_resampling_goes_by_the_times_of_the_frames(decoder: str, rate: float, tmp_path: Path) -> None:
    frames, times, summary = read(make(ODD["variable rate"], tmp_path), decoder, rate)
    assert times == pytest.approx(np.arange(len(times)) / rate)
    assert summary.delivered_fps == rate
    stamps = np.array(UNEVEN) / 1000
    # A tick shows the last image whose own nearest tick it is, or was before it.
    nearest = np.floor(stamps * rate + 0.5 + 1e-6)
    expected = [int(np.flatnonzero(nearest <= tick)[-1]) for tick in range(len(times))]
    assert shown(frames) == expected
    assert len(times) >= nearest[-1]


@pytest.mark.parametrize("decoder", ["pyav", "decord"])
def test_the_shape_of_pixels_is_left_alone(decoder: str, tmp_path: Path) -> None:
    path = tmp_path / "wide.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(2, 1)
        for image in images():
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        assert container.streams.video[0].codec_context.sample_aspect_ratio == 2
    assert (probe(path).width, probe(path).height) == (64, 48)
    assert read(path, decoder)[0].shape == (FRAMES, 48, 64, 3)
