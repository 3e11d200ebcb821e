"""Video files as streams of small RGB frames with presentation times.

Decoding happens in a child process (`worker.py`): a file that crashes, hangs or floods the decoder costs only
that video, and decoding runs in parallel with the parent. Scaling happens there too, inside FFmpeg
(area averaging), so that only small frames cross the pipe.

Times are seconds since the first frame of the first video stream; where the container's clock starts later (mpeg-ts,
cut recordings), `VideoSummary.start` holds the offset.

Pixels are used as stored, ignoring the sample aspect ratio (anamorphic DVDs, some broadcasts): the programs that made
the published features did the same, and networks tolerate slightly wide frames.
"""

from __future__ import annotations

import json
import os
import queue
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tal_cli.extractors.errors import DecoderUnavailable, VideoError
from tal_cli.extractors.files.child import Child, ChildFailed
from tal_cli.extractors.video import messages
from tal_cli.extractors.video.info import VideoInfo, info_of, regular_file, turned
from tal_cli.extractors.video.messages import Failure, Opened, Request, VideoSummary

DECODERS = ("auto", "pyav", "decord", "torchcodec")
TIMEOUT = 60.0
# Seconds of waiting for the decoder in total, unless another limit is given: never less than the first, and as many for
# every second that the video lasts. A file shorter than a kilobyte per second does not last as long as it claims.
LEAST_TIME_LIMIT, TIME_PER_SECOND, BYTES_PER_SECOND = 600.0, 10.0, 1000
# Chunks (of at most 2 MB) queued in the parent while the child continues decoding.
CHUNKS_AHEAD = 4

FrameSize = Callable[[int, int], tuple[int, int]]


@dataclass(frozen=True)
class FrameChunk:
    """frames uint8 [N, height, width, 3] RGB, times float64 [N] seconds, strictly increasing."""

    frames: NDArray[np.uint8]
    times: NDArray[np.float64]


@dataclass(frozen=True)
class RawChunk:
    """times float64 [N] in seconds, pixels uint8 [N * height * row] with `row` bytes per row of an image."""

    times: NDArray[np.float64]
    pixels: NDArray[np.uint8]
    row: int


MORE_TIME = "--time-limit SECONDS allows more"
Message = Opened | RawChunk | VideoSummary | Failure


class FrameStream:
    """The frames of one video, in order, each once: a context manager and an iterator of FrameChunk.

    `info` is available from the start, `summary` after the last chunk. Iterating raises VideoError.
    """

    def __init__(
        self, path: str, request: Request, frame_size: FrameSize, timeout: float, time_limit: float | None
    ) -> None:
        """Starts the decoder and waits for the first frame; see `read_frames`."""
        self._path, self._timeout, self._decoder = path, timeout, request.decoder
        self._waited, self._limit = 0.0, LEAST_TIME_LIMIT if time_limit is None else time_limit
        self._summary: VideoSummary | None = None
        self._child: Child[Message] = Child("tal_cli.extractors.video.worker", read_message, queue.Queue(CHUNKS_AHEAD))
        try:
            self._child.send(messages.dump(request))
            opened = self._receive()
            assert isinstance(opened, Opened)
            self.info = info_of(path, opened)
            if time_limit is None:
                self._limit = default_time_limit(self.info.duration, os.path.getsize(request.path))
            self.size = frame_size(self.info.width, self.info.height)
            if min(self.size) < 1:
                raise ValueError(f"frames of {self.size[0]}x{self.size[1]} pixels cannot be made")
            self._child.send(json.dumps(turned(self.size, opened.rotation)).encode())
        except BaseException:
            self.close()
            raise

    @property
    def summary(self) -> VideoSummary:
        """The video's summary. Raises RuntimeError before the last chunk has been read."""
        if self._summary is None:
            raise RuntimeError("the summary is available after the last frame")
        return self._summary

    def __iter__(self) -> Iterator[FrameChunk]:
        while self._summary is None:
            message = self._receive()
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
        """Ends decoding and the child process."""
        self._child.close()

    def _receive(self) -> Opened | RawChunk | VideoSummary:
        started = time.monotonic()
        try:
            message = self._child.receive(max(0.0, min(self._timeout, self._limit - self._waited)))
        except ChildFailed as error:
            if self._waited + time.monotonic() - started >= self._limit:
                raise VideoError(self._path, f"decoding took {self._limit:g} s; {MORE_TIME}") from None
            raise VideoError(self._path, f"the decoder {error}") from None
        self._waited += time.monotonic() - started
        if isinstance(message, Failure):
            self.close()
            if message.missing_decoder:
                raise DecoderUnavailable(self._decoder, message.reason)
            raise VideoError(self._path, message.reason)
        return message

    def _upright(self, chunk: RawChunk) -> NDArray[np.uint8]:
        width, height = turned(self.size, self.info.rotation)
        rows = chunk.pixels.reshape(len(chunk.times), -1, chunk.row)[:, :height, : 3 * width]
        stored = rows.reshape(len(chunk.times), height, width, 3)
        return np.ascontiguousarray(np.rot90(stored, self.info.rotation // 90, axes=(1, 2)))


def probe(path: str | os.PathLike[str], *, timeout: float = TIMEOUT) -> VideoInfo:
    """Opens a video and decodes its first frame. Raises VideoError."""
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
    time_limit: float | None = None,
    start: float = 0.0,
) -> FrameStream:
    """Start decoding a video.

    frame_size: maps (width, height) of the upright video to (width, height) of the delivered frames.
    sampling_rate: resample to that many frames per second by presentation time.
    max_rate: without sampling_rate, keep every k-th frame, k the smallest that leaves at most this many per second.
    decoder: one of DECODERS; "auto" is PyAV. timeout: seconds without progress after which decoding fails.
    time_limit: seconds of waiting for the decoder in total after which it fails; None: see `default_time_limit`.
    start: seconds since the first frame; frames before may be left out, where the format has an index.
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
        start=start,
    )
    return FrameStream(name, request, frame_size, timeout, time_limit)


def default_time_limit(duration: float | None, size: int) -> float:
    """Seconds that the decoder of a video may take, from its claimed duration in seconds and its file's bytes."""
    return LEAST_TIME_LIMIT + TIME_PER_SECOND * max(0.0, min(duration or 0.0, size / BYTES_PER_SECOND))


def read_message(pipe: BinaryIO) -> Message | None:
    """One message of the decoder, or None if the pipe ends before or within one."""
    header = pipe.read(messages.HEADER.size)
    if len(header) < messages.HEADER.size:
        return None
    kind, frames, row, size = messages.HEADER.unpack(header)
    body = np.empty(size, np.uint8)
    if pipe.readinto(body.data) < size:  # type: ignore[attr-defined]
        return None
    if kind == messages.FRAMES:
        return RawChunk(body[: 8 * frames].view(np.float64), body[8 * frames :], row)
    content = messages.load(body.tobytes())
    kinds: dict[bytes, type[Opened | VideoSummary | Failure]] = {
        messages.OPENED: Opened,
        messages.SUMMARY: VideoSummary,
        messages.FAILED: Failure,
    }
    return kinds[kind](**content)
