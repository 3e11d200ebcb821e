"""Video files as streams of small RGB frames with presentation times.

Decoding happens in a child process (`worker.py`): a file that crashes, hangs or floods the decoder costs
that one video, and decoding runs beside whatever the parent computes. Scaling happens there too, inside FFmpeg
(area averaging), so that only small pictures cross the pipe.

Times are seconds since the first frame of the first video stream; where the container's clock starts later (mpeg-ts,
cut recordings), `VideoSummary.start` says so.

Pixels are taken as stored, whatever aspect the container wants them shown in (anamorphic DVDs, some broadcasts): the
programs that made the published features took them so, and a network does not mind a picture that is a little wide.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from tal_cli.extractors.errors import DecoderUnavailable, VideoError
from tal_cli.extractors.files.child import DecoderProcess, RawChunk
from tal_cli.extractors.video.messages import DecodeError, DecoderMissing, Opened, Request, VideoSummary

DECODERS = ("auto", "pyav", "decord", "torchcodec")
TIMEOUT = 60.0

FrameSize = Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True)
class VideoInfo:
    """What is known of a video once its first frame is decoded.

    width, height: pixels as displayed, after rotation (the sample aspect ratio is left alone).
    fps, frames, duration (seconds): the container's claims; None where it makes none.
    rotation: degrees counter-clockwise (0, 90, 180, 270) by which stored pictures are turned to be upright.
    streams: how many video streams the file has; stream: which of them, from 0, is read.
    """

    path: str
    width: int
    height: int
    fps: float
    frames: int | None
    duration: float | None
    rotation: int
    streams: int = 1
    stream: int = 0


@dataclass(frozen=True)
class FrameChunk:
    """frames uint8 [N, height, width, 3] RGB, times float64 [N] seconds, strictly increasing."""

    frames: NDArray[np.uint8]
    times: NDArray[np.float64]


class FrameStream:
    """The frames of one video, in order, each once: a context manager and an iterator of FrameChunk.

    `info` is there from the start, `summary` after the last chunk. Iterating raises VideoError.
    """

    def __init__(self, path: str, process: DecoderProcess, opened: Opened, size: tuple[int, int]) -> None:
        turned = opened.rotation % 180 == 90
        self.info = VideoInfo(
            path=path,
            width=opened.height if turned else opened.width,
            height=opened.width if turned else opened.height,
            fps=opened.fps,
            frames=opened.frames,
            duration=opened.duration,
            rotation=opened.rotation,
            streams=opened.streams,
            stream=opened.stream,
        )
        self.size = size
        self._process = process
        self._summary: VideoSummary | None = None

    @property
    def summary(self) -> VideoSummary:
        """Raises RuntimeError before the last chunk was taken."""
        if self._summary is None:
            raise RuntimeError("a video has a summary after its last frame")
        return self._summary

    def __iter__(self) -> Iterator[FrameChunk]:
        while self._summary is None:
            try:
                message = self._process.receive()
            except DecodeError as error:
                raise VideoError(self.info.path, str(error)) from None
            if isinstance(message, VideoSummary):
                self._summary = message
                self.close()
            elif isinstance(message, RawChunk) and len(message.times):
                yield FrameChunk(self._upright(message), message.times)

    def __enter__(self) -> FrameStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End decoding; nothing is left running."""
        self._process.close()

    def _upright(self, chunk: RawChunk) -> NDArray[np.uint8]:
        width, height = stored_size(self.size, self.info.rotation)
        rows = chunk.pixels.reshape(len(chunk.times), -1, chunk.row)[:, :height, : 3 * width]
        pictures = rows.reshape(len(chunk.times), height, width, 3)
        return np.ascontiguousarray(np.rot90(pictures, self.info.rotation // 90, axes=(1, 2)))


def stored_size(size: tuple[int, int], rotation: int) -> tuple[int, int]:
    """(width, height) before rotation of what is (width, height) after it, and the other way round."""
    return (size[1], size[0]) if rotation % 180 == 90 else size


def probe(path: str | os.PathLike[str], *, timeout: float = TIMEOUT) -> VideoInfo:
    """Open a video and decode its first frame. Raises VideoError."""
    with read_frames(path, frame_size=lambda width, height: (16, 16), timeout=timeout) as stream:
        return stream.info


def read_frames(
    path: str | os.PathLike[str],
    *,
    frame_size: FrameSize,
    sampling_rate: float | None = None,
    max_rate: float | None = None,
    decoder: str = "auto",
    timeout: float = TIMEOUT,
) -> FrameStream:
    """Start decoding a video.

    frame_size: (width, height) of the upright video -> (width, height) of the frames that are wanted.
    sampling_rate: resample to that many frames per second by presentation time.
    max_rate: without sampling_rate, keep every k-th frame, k the smallest that leaves at most so many per second.
    decoder: one of DECODERS; "auto" is PyAV. timeout: seconds without any progress that count as a hang.
    Raises VideoError, DecoderUnavailable; ValueError for a decoder or a size that does not exist.
    """
    if decoder not in DECODERS:
        raise ValueError(f"unknown decoder {decoder!r}; there are {', '.join(DECODERS)}")
    name = os.fspath(path)
    request = Request(
        path=os.path.abspath(regular_file(name)),
        decoder="pyav" if decoder == "auto" else decoder,
        sampling_rate=sampling_rate,
        max_rate=max_rate,
    )
    process = DecoderProcess(request, timeout)
    try:
        opened = process.receive()
        assert isinstance(opened, Opened)
        size = frame_size(*stored_size((opened.width, opened.height), opened.rotation))
        if min(size) < 1:
            raise ValueError(f"frames of {size[0]}x{size[1]} pixels cannot be made")
        process.say(str(list(stored_size(size, opened.rotation))).encode())
        return FrameStream(name, process, opened, size)
    except BaseException as error:
        process.close()
        if isinstance(error, DecoderMissing):
            raise DecoderUnavailable(decoder, str(error)) from None
        if isinstance(error, DecodeError):
            raise VideoError(name, str(error)) from None
        raise


def regular_file(path: str) -> str:
    """The path, when it leads to a regular file that may be read. Raises VideoError before anything is opened."""
    try:
        found = os.stat(path)
    except (OSError, ValueError) as error:
        raise VideoError(path, getattr(error, "strerror", None) or str(error)) from None
    if not stat.S_ISREG(found.st_mode):
        raise VideoError(path, f"it is {'a folder' if stat.S_ISDIR(found.st_mode) else 'not a regular file'}")
    if not os.access(path, os.R_OK):
        raise VideoError(path, "permission denied")
    if not found.st_size:
        raise VideoError(path, "the file is empty")
    return path
