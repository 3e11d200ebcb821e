"""Reads frames of a video with their times, on the same clock as detection, and seeks."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from av.error import FFmpegError
from av.video.frame import VideoFrame

from tal_cli.extractors.video.clock import Clock
from tal_cli.extractors.video.decoders.pyav import (
    INDEXED,
    MAX_PIXELS,
    main_video_stream,
    open_container,
    plausible_rate,
    reject_encrypted,
)
from tal_cli.extractors.video.messages import DecodeError

FAILURES_IN_A_ROW = 1000


@dataclass(frozen=True)
class Colour:
    """Colour properties of a file, as FFmpeg's numbers (2: unspecified)."""

    matrix: int
    primaries: int
    transfer: int


class Reader:
    """One open video.

    threads: that decode at most; each holds frames of its own. rate: frames per second according to the container.
    first: the first frame. start: its time in seconds on the container's clock; all returned times are relative to it.
    rotation: counter-clockwise rotation in degrees that makes frames upright.
    Raises DecodeError if no frame can be decoded.
    """

    def __init__(self, path: str, threads: int = 4) -> None:
        self.path = os.path.abspath(path)
        self.container = open_container(self.path)
        self.stream = main_video_stream(self.container)
        context = self.stream.codec_context
        if context is None or context.width * context.height > MAX_PIXELS:
            raise DecodeError("its frames cannot be decoded")
        context.options = {"max_pixels": str(MAX_PIXELS)}
        context.thread_type = "AUTO"
        context.thread_count = max(1, min(threads, os.cpu_count() or 1))
        self.rate = plausible_rate(self.stream.average_rate, self.stream.guessed_rate, self.stream.base_rate)
        self.can_jump = self.container.format.name in INDEXED
        self._clock: Clock | None = Clock(self.rate)
        self._frames = self._decode()
        first = next(self._frames, None)
        if first is None:
            raise DecodeError("no frame of it can be decoded")
        self.first = first
        self._first: VideoFrame | None = first
        self.start = self._stamp(first) or 0.0
        self.rotation = round(first.rotation / 90) * 90 % 360
        self.width, self.height = first.width, first.height
        self.colour = Colour(context.colorspace, context.color_primaries, context.color_trc)

    @property
    def player_offset(self) -> float:
        """Offset from these times to a browser's, which uses the container's clock."""
        return max(0.0, self.start)

    def frames(self) -> Iterator[tuple[float, VideoFrame]]:
        """(seconds, frame) from the current position on, in temporal order."""
        frame, self._first = self._first, None
        frame = frame or next(self._frames, None)
        while frame is not None:
            yield self._time(frame), frame
            frame = next(self._frames, None)

    def jump(self, seconds: float) -> None:
        """Seek to the last key frame at or before a time; only if `can_jump`."""
        base = self.stream.time_base
        assert base is not None
        self.container.seek(int((seconds + self.start) / base), stream=self.stream)
        self._first = None
        self._clock = None  # the clock counts frames, which a seek breaks; formats with an index have reliable stamps
        self._frames = self._decode()

    def key_before(self, seconds: float) -> float:
        """Time of the last key frame at or before a time, 0 if there is none to be found; only if `can_jump`. To be
        followed by a jump: frames are lost."""
        self.jump(seconds)
        try:
            packet = next(self.container.demux(self.stream))
        except (FFmpegError, StopIteration):
            return 0.0
        return 0.0 if packet.pts is None else float(packet.pts * packet.time_base) - self.start

    def _time(self, frame: VideoFrame) -> float:
        stamp = self._stamp(frame)
        if self._clock is not None:
            return self._clock.tick(stamp)
        return 0.0 if stamp is None else stamp - self.start

    def _stamp(self, frame: VideoFrame) -> float | None:
        # AVI stores no presentation times: see tal_cli.extractors.video.decoders.pyav.
        stamp = frame.dts if self.container.format.name == "avi" and frame.dts is not None else frame.pts
        return None if stamp is None or frame.time_base is None else float(stamp * frame.time_base)

    def _decode(self) -> Iterator[VideoFrame]:
        failures = 0
        packets = self.container.demux(self.stream)
        while failures < FAILURES_IN_A_ROW:
            try:
                packet = next(packets, None)
                if packet is None:
                    return
                reject_encrypted(packet)
                frames = packet.decode()
            except MemoryError:
                raise
            except (FFmpegError, ValueError):
                failures += 1
                continue
            failures = 0
            yield from frames
