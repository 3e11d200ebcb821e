"""Every decoder gives the same frames at the same times."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tal_cli.extractors.errors import VideoError
from tal_cli.extractors.video.decoders.plain import container_of
from tal_cli.extractors.video.messages import VideoSummary
from tal_cli.extractors.video.stream import read_frames

# What decord 0.6 cannot read, and why.
NOT_BY_DECORD = {
    "decord_corrupted.mp4": "it stops at the first error",
    "moviepy_1x1_pixel.mp4": "it pads images that narrow",
    "moviepy_no_duration.webm": "it needs a duration",
    "torchcodec_av1_video.mkv": "it has no AV1",
    "torchcodec_nasa_13013.mp4": "it reads another stream",
}
# Ten bit images are rounded to eight before scaling by the one and after it by the other.
FAR = {"torchcodec_h264_10bits.mp4": 4.5, "torchcodec_h265_10bits.mp4": 4.5}


def read(path: Path, decoder: str) -> tuple[NDArray[np.uint8], NDArray[np.float64], VideoSummary]:
    with read_frames(path, frame_size=lambda width, height: (96, 72), decoder=decoder) as stream:
        chunks = list(stream)
    return (
        np.concatenate([chunk.frames for chunk in chunks]),
        np.concatenate([chunk.times for chunk in chunks]),
        stream.summary,
    )


def differences(path: Path, decoder: str) -> str:
    """What a decoder does otherwise than PyAV; empty where nothing."""
    frames, times, summary = read(path, "pyav")
    others, other_times, other_summary = read(path, decoder)
    if frames.shape != others.shape:
        return f"{others.shape} frames, not {frames.shape}"
    if abs(times - other_times).max() > 1e-4:
        return f"times off by {abs(times - other_times).max()}"
    if summary.constant_rate != other_summary.constant_rate or abs(summary.duration - other_summary.duration) > 1e-3:
        return f"{other_summary}, not {summary}"
    distance = abs(frames.astype(float) - others).mean((1, 2, 3)).max()
    return f"images off by {distance}" if distance > FAR.get(path.name, 2.5) else ""


@pytest.mark.parametrize("decoder", ["decord", "torchcodec"])
@pytest.mark.slow
def test_decoders_agree(shared: Path, decoder: str) -> None:
    if find_spec(decoder) is None:
        pytest.skip(f"{decoder} is not installed")
    skipped = NOT_BY_DECORD if decoder == "decord" else {"decord_corrupted.mp4": "", "mmaction2_test.avi": ""}
    paths = [path for path in sorted((shared / "videos").glob("*.[mwa]*")) if path.suffix != ".md"]
    assert len(paths) == 29
    found = {path.name: differences(path, decoder) for path in paths if path.name not in skipped}
    assert {name: what for name, what in found.items() if what} == {}


@pytest.mark.parametrize("name", [name for name in NOT_BY_DECORD if name != "decord_corrupted.mp4"])
def test_what_decord_cannot_read_is_an_error(shared: Path, name: str) -> None:
    if find_spec("decord") is None:
        pytest.skip("decord is not installed")
    with pytest.raises(VideoError, match="decord"):
        read(shared / "videos" / name, "decord")


def write_video(path: Path, format: str, grey: int) -> bytes:
    """Ten frames of one grey, as MPEG video in that container."""
    with av.open(str(path), "w", format=format) as container:
        stream = container.add_stream("mpeg2video", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.full((48, 64, 3), grey, np.uint8))))
        container.mux(stream.encode(None))
    return path.read_bytes()


@pytest.mark.parametrize("decoder", ["pyav", "decord", "torchcodec"])
@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:1,\nprivate.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile private.ts\n",
    ],
)
def test_no_decoder_follows_a_playlist_before_a_video(tmp_path: Path, decoder: str, playlist: str) -> None:
    """PyAV's FFmpeg takes the first of these files for MPEG, decord's for a playlist."""
    if decoder != "pyav" and find_spec(decoder) is None:
        pytest.skip(f"{decoder} is not installed")
    write_video(tmp_path / "private.ts", "mpegts", 250)
    for name in ("x.mpg", "x.mp4"):
        (tmp_path / name).write_bytes(playlist.encode() + write_video(tmp_path / "own.mpg", "mpeg", 10))
        try:
            frames = read(tmp_path / name, decoder)[0]
        except VideoError:
            continue
        assert decoder == "pyav" and frames.max() < 40


@pytest.mark.parametrize(
    ("head", "container"),
    [
        (b"\0\0\0 ftypisom", "mov,mp4,m4a,3gp,3g2,mj2"),
        (b"\0\0\2\0moov", "mov,mp4,m4a,3gp,3g2,mj2"),
        (b"\0\0\0\4ftypisom", None),
        (b"\x1aE\xdf\xa3\x9fB\x82\x88matroska", "matroska,webm"),
        (b"\x1aE\xdf\xa3\x9fB\x82\x88#EXTM3U", None),
        (b"RIFF....AVI LIST", "avi"),
        (b"RIFF....WAVEfmt ", None),
        (b"#EXTM3U\n", None),
        (b"", None),
    ],
)
def test_containers_are_told_by_their_first_bytes(head: bytes, container: str | None) -> None:
    assert container_of(head) == container
