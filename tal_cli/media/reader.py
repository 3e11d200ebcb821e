"""Frames of a video with their times, by the clock that detection goes by, and ways to jump ahead."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from av.error import FFmpegError
from av.video.frame import VideoFrame

from tal_cli.extractors.video.clock import Clock
from tal_cli.extractors.video.decoders.pyav import MAX_PIXELS, main_video_stream, open_container, plausible_rate
from tal_cli.extractors.video.messages import DecodeError

# Formats that store display times and an index; in others a jump may land anywhere.
INDEXED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
FAILURES_IN_A_ROW = 1000


@dataclass(frozen=True)
class Colour:
    """What a file says of its colours, as FFmpeg's numbers (2: nothing)."""

    matrix: int
    primaries: int
    transfer: int


class Reader:
    """One open video.

    rate: frames per second, as the container claims. start: the container's time of the first frame, seconds; all
    times that are given out count from it. rotation: degrees counter-clockwise that make frames upright.
    Raises DecodeError where there is nothing to decode.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self.container = open_container(self.path)
        self.stream = main_video_stream(self.container)
        context = self.stream.codec_context
        if context is None or context.width * context.height > MAX_PIXELS:
            raise DecodeError("its frames cannot be decoded")
        context.options = {"max_pixels": str(MAX_PIXELS)}
        context.thread_type = "AUTO"
        context.thread_count = max(1, min(4, os.cpu_count() or 1))
        self.rate = plausible_rate(self.stream.average_rate, self.stream.guessed_rate, self.stream.base_rate)
        self.can_jump = self.container.format.name in INDEXED
        self._clock: Clock | None = Clock(self.rate)
        self._frames = self._decode()
        first = next(self._frames, None)
        if first is None:
            raise DecodeError("no frame of it can be decoded")
        self._first: VideoFrame | None = first
        self.start = self._stamp(first) or 0.0
        self.rotation = round(first.rotation / 90) * 90 % 360
        self.width, self.height = first.width, first.height
        self.colour = Colour(context.colorspace, context.color_primaries, context.color_trc)

    @property
    def player_offset(self) -> float:
        """What a browser adds to our times: its clock is the container's."""
        return max(0.0, self.start)

    def frames(self) -> Iterator[tuple[float, VideoFrame]]:
        """(seconds, frame) on from where the reader is, in the order of time."""
        frame, self._first = self._first, None
        frame = frame or next(self._frames, None)
        while frame is not None:
            yield self._time(frame), frame
            frame = next(self._frames, None)

    def jump(self, seconds: float) -> None:
        """Go to the last key frame at or before a time; only where `can_jump`."""
        base = self.stream.time_base
        assert base is not None
        self.container.seek(int((seconds + self.start) / base), stream=self.stream)
        self._first = None
        self._clock = None  # which counts on from frame to frame; where one can jump, stamps are what they say
        self._frames = self._decode()

    def _time(self, frame: VideoFrame) -> float:
        stamp = self._stamp(frame)
        if self._clock is not None:
            return self._clock.tick(stamp)
        return 0.0 if stamp is None else stamp - self.start

    def _stamp(self, frame: VideoFrame) -> float | None:
        # avi stores no display times: see tal_cli.extractors.video.decoders.pyav.
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
                frames = packet.decode()
            except MemoryError:
                raise
            except (FFmpegError, ValueError):
                failures += 1
                continue
            failures = 0
            yield from frames
