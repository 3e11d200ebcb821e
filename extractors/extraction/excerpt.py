"""A part of a video as frames, for looking at features without reading all of it."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator

import numpy as np

from tal_cli.extractors.video.messages import VideoSummary
from tal_cli.extractors.video.stream import FrameChunk, FrameStream


class TimeUp(Exception):
    """The moment has passed until which an excerpt was worth waiting for."""


class Excerpt:
    """The frames of an open stream whose times are in [start, end), seconds; what comes after is not decoded.

    Times are those of the video. `summary` says that they follow from no frame rate, since they do not begin at 0.
    Iterating raises TimeUp once the clock `time.monotonic` is past `until`.
    """

    def __init__(self, stream: FrameStream, start: float, end: float, until: float = math.inf) -> None:
        self.info = stream.info
        self._until = until
        self._stream = stream
        self._span = start, end
        self._frames = 0

    def __iter__(self) -> Iterator[FrameChunk]:
        start, end = self._span
        for chunk in self._stream:
            if time.monotonic() > self._until:
                raise TimeUp
            first, last = np.searchsorted(chunk.times, [start, end]).tolist()
            if last > first:
                self._frames += last - first
                yield FrameChunk(chunk.frames[first:last], chunk.times[first:last])
            if last < len(chunk.times):
                return

    @property
    def summary(self) -> VideoSummary:
        """What is known after the last frame of the excerpt."""
        start, end = self._span
        fps = self.info.fps
        return VideoSummary(
            fps=fps, delivered_fps=fps, frames=self._frames, duration=end - start, start=0.0, lost=0,
            constant_rate=False, repeated=0, jumps=0,
        )  # fmt: skip
