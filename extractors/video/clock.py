"""Presentation times of one video: made monotonic, summed up, and resampled. Pure Python, for the decoding child."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TypeVar

Image = TypeVar("Image")

# A smaller step backwards is a frame out of order, a larger one a new clock (joined recordings).
DISCONTINUITY = 1.0
# No camera holds a frame for longer than this: a larger gap is a damaged time stamp.
LONGEST_STEP = 3600.0
# Streams whose clock may start again anywhere (joined broadcasts) hold no frame for as long as this.
LONGEST_STEP_IN_STREAMS = 10.0
# A frame that stays for more of the container's nominal steps, and for longer than SHORTEST_HOLD, is a held frame:
# the recorder left out its repetitions. Shorter gaps are a frame lost here and there, as published features have them.
HELD_STEPS = 3.5
SHORTEST_HOLD = 0.12
USUAL_RATE = 30.0
# Maximal repeated frames of one video, about a day: a hostile file may declare a century.
MOST_REPEATED = 24 * 3600 * 30
# Containers give average rates like 30.02, which must not halve the frames of a video limited to 30.
RATE_NOISE = 1.02


@dataclass(frozen=True)
class FileClock:
    """How a file's own clock, on which players and editing programs show it, relates to seconds since its first frame.

    offset: seconds on the file's clock at which the first frame is shown; above 0 where the sound begins earlier.
    timecode: of the first frame, `HH:MM:SS:FF`, as cameras record it; None where the file has none.
    """

    offset: float = 0.0
    timecode: str | None = None


@dataclass(frozen=True)
class Rhythm:
    """fps, median step (seconds), and whether frame i is shown at i / fps within a quarter of a step.

    fps is the container's value unless the time stamps contradict it.
    """

    fps: float
    step: float
    constant: bool


class Clock:
    """Converts time stamps to strictly increasing seconds since the first frame.

    The first frame is time 0, whatever its time stamp: results must lie within the video, and a
    late start (mpeg-ts, cut recordings) is not part of it. `start` keeps the container's time of the first frame.
    A missing, repeated or reversed time stamp becomes the previous time plus one nominal step.
    longest_step: seconds; a longer one is a new clock. jumps: how often the clock started again.
    """

    def __init__(self, fps: float, longest_step: float = LONGEST_STEP) -> None:
        self.fps = fps
        self.longest_step = longest_step
        self.jumps = 0
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
        if step <= 0 or step > self.longest_step:
            if stamp is not None and (step < -DISCONTINUITY or step > self.longest_step):
                self._offset = stamp - expected
                self.jumps += 1
            time = expected
        self.times.append(time)
        return time


def rhythm(times: Sequence[float], claimed: float) -> Rhythm:
    """Frame rate statistics from the increasing times of all frames; claimed: the container's frames per second."""
    steps = sorted(after - before for before, after in pairwise(times))
    if not steps:
        return Rhythm(claimed, 1.0 / claimed, True)
    mean_rate = len(steps) / times[-1]
    for fps in (claimed, mean_rate):
        if all(abs(time * fps - index) <= 0.25 for index, time in enumerate(times)):
            return Rhythm(fps, 1.0 / fps, True)
    claim_fits = abs(claimed / mean_rate - 1) < 0.2
    return Rhythm(claimed if claim_fits else mean_rate, steps[len(steps) // 2], False)


def nominal_rate(average: float, claimed: float | None) -> float:
    """The rate at which held frames are repeated: that of the recording before repeated frames were dropped.

    average: frames per second over the file. claimed: the rate whose multiples all time stamps are, if known;
    above USUAL_RATE it may merely be the container's clock.
    """
    return average if claimed is None else max(average, min(claimed, USUAL_RATE))


class Holds:
    """Repeats held frames at the nominal rate, so that a window spans as many seconds as it does in any video.

    times: of all delivered frames, repeated ones included. repeated: number of repeated frames.
    """

    def __init__(self, nominal: float) -> None:
        self._step = 1.0 / nominal
        self.times = array("d")
        self.repeated = 0

    def fill(self, frames: Iterable[tuple[float, Image]]) -> Iterator[tuple[float, Image]]:
        """Yields the frames, and each held one again at every nominal step until the next one is shown."""
        held: Image | None = None
        last = 0.0
        for time, image in frames:
            if held is not None and time - last > max(SHORTEST_HOLD, HELD_STEPS * self._step):
                # The last repetition is at least half a step away from the next frame.
                for number in range(1, math.floor((time - last) / self._step - 0.5 + 1e-6) + 1):
                    if self.repeated == MOST_REPEATED:
                        break
                    self.repeated += 1
                    self.times.append(last + number * self._step)
                    yield self.times[-1], held
            self.times.append(time)
            yield time, image
            held, last = image, time


def decimation(fps: float, max_rate: float | None) -> int:
    """The decimation factor that leaves at most about max_rate frames per second."""
    return 1 if max_rate is None else max(1, math.ceil(fps / (max_rate * RATE_NOISE)))


def decimate(frames: Iterable[tuple[float, Image]], factor: int) -> Iterator[tuple[float, Image | None]]:
    """Yields None for dropped frames, so that the receiver knows that decoding continues."""
    for index, (time, image) in enumerate(frames):
        yield time, (image if index % factor == 0 else None)


def resample(
    frames: Iterable[tuple[float, Image]], rate: float, shown: Callable[[], float]
) -> Iterator[tuple[float, Image | None]]:
    """Frames at k / rate seconds: each time is rounded to the nearest tick, and a tick shows the last frame at or
    before it (the rule of FFmpeg's `fps` filter, with which the published features were resampled).

    shown: returns the display duration of the last frame, seconds; called after it. Yields None for a dropped frame.
    """
    held: Image | None = None
    tick, last = 0, 0.0
    for time, image in frames:
        until = nearest_tick(time, rate)
        if held is not None:
            for missing in range(tick, until):
                yield missing / rate, held
            if until <= tick:
                yield time, None
        held, tick, last = image, max(tick, until), time
    if held is not None:
        for missing in range(tick, max(1, nearest_tick(last + shown(), rate))):
            yield missing / rate, held


def nearest_tick(time: float, rate: float) -> int:
    """time * rate rounded, halves upwards, including products slightly below a half from rounding."""
    return math.floor(time * rate + 0.5 + 1e-6)
