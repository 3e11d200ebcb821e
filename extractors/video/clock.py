"""Presentation times of one video: made monotonic, summed up, and resampled. Pure Python, for the decoding child."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

Picture = TypeVar("Picture")

# A step backwards by less than this is a frame out of order, by more it is a new clock (joined recordings).
DISCONTINUITY = 1.0
# No camera holds a frame for longer than this; a damaged time stamp says it does.
LONGEST_STEP = 3600.0
# Containers give average rates like 30.02; that must not halve a video whose limit is 30.
RATE_NOISE = 1.02


@dataclass(frozen=True)
class Rhythm:
    """fps, median step (seconds), and whether frame i is shown at i / fps within a quarter of a step.

    fps is the container's claim unless the frames say otherwise.
    """

    fps: float
    step: float
    constant: bool


class Clock:
    """Turns time stamps into strictly increasing seconds since the first frame.

    The first frame is time 0, whatever the container's clock says there: results have to lie within the video, and a
    late start (mpeg-ts, cut recordings) is no part of it. `start` keeps the container's time of the first frame.
    A missing, repeated or reversed time stamp becomes the previous time plus one nominal step.
    """

    def __init__(self, fps: float) -> None:
        self.fps = fps
        self.start = 0.0
        self.times = array("d")
        self._offset: float | None = None

    def tick(self, stamp: float | None) -> float:
        """The time of the next frame in seconds, from its stamp in seconds."""
        if self._offset is None:
            self.start = 0.0 if stamp is None else stamp
            self._offset = self.start
            self.times.append(0.0)
            return 0.0
        expected = self.times[-1] + 1.0 / self.fps
        time = expected if stamp is None else stamp - self._offset
        step = time - self.times[-1]
        if step <= 0 or step > LONGEST_STEP:
            if stamp is not None and (step < -DISCONTINUITY or step > LONGEST_STEP):
                self._offset = stamp - expected
            time = expected
        self.times.append(time)
        return time

    def rhythm(self) -> Rhythm:
        """What the times of all frames amount to."""
        steps = sorted(after - before for before, after in pairwise(self.times))
        if not steps:
            return Rhythm(self.fps, 1.0 / self.fps, True)
        mean_rate = len(steps) / self.times[-1]
        for fps in (self.fps, mean_rate):
            if all(abs(time * fps - index) <= 0.25 for index, time in enumerate(self.times)):
                return Rhythm(fps, 1.0 / fps, True)
        claim_fits = abs(self.fps / mean_rate - 1) < 0.2
        return Rhythm(self.fps if claim_fits else mean_rate, steps[len(steps) // 2], False)


def decimation(fps: float, max_rate: float | None) -> int:
    """Keep one frame in this many, so that at most about max_rate frames per second are left."""
    factor = 1
    while max_rate is not None and fps / factor > max_rate * RATE_NOISE:
        factor += 1
    return factor


def decimate(frames: Iterable[tuple[float, Picture]], factor: int) -> Iterator[tuple[float, Picture | None]]:
    """Replace the pictures that are not kept by None, so that whoever listens knows that decoding goes on."""
    for index, (time, picture) in enumerate(frames):
        yield time, (picture if index % factor == 0 else None)


def resample(
    frames: Iterable[tuple[float, Picture]], rate: float, step: float
) -> Iterator[tuple[float, Picture | None]]:
    """Frames at k / rate seconds: each time goes to its nearest tick, a tick shows the last frame that came to it or
    before it (the rule of FFmpeg's `fps` filter, with which the published features were resampled).

    step: how long the last frame is shown, in seconds. Yields None for a picture that is dropped.
    """
    held: Picture | None = None
    tick, last = 0, 0.0
    for time, picture in frames:
        until = nearest_tick(time, rate)
        if held is not None:
            for missing in range(tick, until):
                yield missing / rate, held
            if until <= tick:
                yield time, None
        held, tick, last = picture, max(tick, until), time
    if held is not None:
        for missing in range(tick, max(1, nearest_tick(last + step, rate))):
            yield missing / rate, held


def nearest_tick(time: float, rate: float) -> int:
    """time * rate rounded, halves upwards also where the product falls a little short of one."""
    return math.floor(time * rate + 0.5 + 1e-6)
