"""The times of a video's frames: snapping, the form in which they are sent, and a cache on disk."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any

from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.extractors.files.weights import home
from tal_cli.media.host import run_task

DIGITS = 6  # of seconds, as they are written
# What Chromium and Firefox play without a proxy; the page tries, whatever this says.
PLAYED_CODECS = {"h264", "vp8", "vp9", "av1"}
PLAYED_CONTAINERS = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm"}
PLAYED_PIXELS = {"yuv420p", "yuvj420p", ""}
# What is decoded for a step back that is just not slow: pixels of the frames between two key frames, and what a frame
# takes besides, as pixels.
SLOW, EACH = 50e6, 60e3


@dataclass(frozen=True)
class FrameTimes:
    """The task `frame_times`' result: see there. steps: as numbers."""

    base: tuple[int, int]
    first: int
    steps: Sequence[int]
    width: int
    height: int
    fps: float
    offset: float
    container: str
    codec: str
    pixels: str
    sound: bool
    longest_group: int
    grey: float

    @cached_property
    def _stamps(self) -> array[int]:
        """The edges in the unit `base`."""
        return array("q", accumulate(self.steps, initial=0))

    def edge(self, place: int) -> float:
        """Seconds after frame 0 of a frame; of the place after the last one, its end."""
        over, under = self.base
        return round(self._stamps[place] * over / under, DIGITS)

    @cached_property
    def edges(self) -> tuple[float, ...]:
        """All edges. Where a few are wanted of a long video, `edge` is quicker."""
        over, under = self.base
        return tuple(round(stamp * over / under, DIGITS) for stamp in self._stamps)

    @property
    def frames(self) -> int:
        """Number of frames."""
        return len(self.steps)

    @property
    def duration(self) -> float:
        """Seconds from the first frame to the end of the last."""
        return self.edge(self.frames)

    @property
    def is_playable(self) -> bool:
        """Whether browsers can be expected to play the file."""
        played = self.container in PLAYED_CONTAINERS and self.codec in PLAYED_CODECS
        return played and self.pixels in PLAYED_PIXELS

    @property
    def has_slow_steps(self) -> bool:
        """Whether a step back may take more than 150 ms."""
        return self.longest_group * (self.width * self.height + EACH) > SLOW

    def nearest_edge(self, time: float) -> int:
        """Index of the edge nearest to a time."""
        over, under = self.base
        place = min(bisect_left(self._stamps, time * under / over), self.frames)
        return place - 1 if place and time - self.edge(place - 1) < self.edge(place) - time else place

    def snapped(self, start: float, end: float, is_point: bool) -> tuple[float, float]:
        """The nearest edges of frames; a state has one frame at least, a point is a frame's time."""
        first = min(self.nearest_edge(start), self.frames - 1)
        if is_point:
            return self.edge(first), self.edge(first)
        return self.edge(first), self.edge(max(first + 1, self.nearest_edge(end)))

    @cached_property
    def packed(self) -> bytes:
        """The steps between frames as unsigned LEB128, gzipped."""
        written = {step: leb128(step) for step in set(self.steps)}
        return gzip.compress(b"".join(map(written.__getitem__, self.steps)), 6, mtime=0)


def leb128(number: int) -> bytes:
    """A number as unsigned LEB128."""
    done = bytearray()
    while number > 0x7F:
        done.append(number & 0x7F | 0x80)
        number >>= 7
    done.append(number)
    return bytes(done)


@dataclass(frozen=True)
class _Nothing:
    """The request of a task without arguments."""


def cache_folder() -> Path:
    """Where frame times, proxies, undo steps and rankings are kept."""
    return home() / "labelling"


def kept_path(file: Path, kind: str) -> Path:
    """Where something about an annotation file is kept between runs: in the cache, as it is a comfort only."""
    name = hashlib.sha256(str(file.resolve()).encode("utf-8", "surrogatepass")).hexdigest()
    return cache_folder() / kind / f"{name[:32]}.json"


def load_frame_times(path: Path, progress: Callable[[float, float | None], None] | None = None) -> FrameTimes:
    """The frame times of a video, from the cache or from the file in one pass.

    Raises:
        InputError: the video cannot be read.
    """
    found = os.stat(path)
    key = hashlib.sha256(f"{path}\n{found.st_size}\n{found.st_mtime_ns}".encode("utf-8", "surrogatepass")).hexdigest()
    cached = cache_folder() / "frames" / f"{key[:32]}.json.gz"
    try:
        return _times_from(json.loads(gzip.decompress(cached.read_bytes())))
    except (OSError, ValueError, TypeError, KeyError, EOFError, zlib.error):
        pass
    result = run_task("frame_times", str(path), _Nothing(), progress)
    times = _times_from(result)
    write_atomically(cached, gzip.compress(json.dumps(result).encode(), 3, mtime=0))
    return times


def _times_from(result: Any) -> FrameTimes:
    steps = array("q")
    steps.frombytes(zlib.decompress(base64.b64decode(result["steps"])))
    return FrameTimes(**{**result, "base": tuple(result["base"]), "steps": steps})
