"""The decoding child: opens one video, sends its frames, exits. Started by `stream`, never imported by it."""

from __future__ import annotations

import math
import os
import sys
import threading
import time
from array import array
from collections.abc import Iterator
from importlib import import_module
from queue import SimpleQueue
from typing import Any, Protocol

from tal_cli.extractors.files.child_side import limit_memory, over_limit, take_output, write_all
from tal_cli.extractors.files.prefetch import prefetch
from tal_cli.extractors.video import messages
from tal_cli.extractors.video.clock import (
    LONGEST_STEP,
    LONGEST_STEP_IN_STREAMS,
    Clock,
    Holds,
    decimate,
    decimation,
    resample,
    rhythm,
)
from tal_cli.extractors.video.messages import DecodeError, DecoderMissing, Failure, Opened, Request, VideoSummary

SOURCES = {
    "pyav": ("pyav", "PyavSource"),
    "decord": ("decord", "DecordSource"),
    "torchcodec": ("torchcodec", "TorchcodecSource"),
}
CHUNK_FRAMES = 64
CHUNK_BYTES = 2 << 20
SIGN_OF_LIFE = 1.0
# Memory bound on decoded frames queued for scaling.
FRAMES_AHEAD = 32
PIXELS_AHEAD = 1 << 25


class Source(Protocol):
    """A decoder with an open video.

    lost: frames that could not be decoded; last_shown: seconds for which the last frame taken is shown, None: unknown.
    """

    @property
    def lost(self) -> int: ...

    @property
    def last_shown(self) -> float | None: ...

    def opened(self) -> Opened: ...

    def skip_to(self, seconds: float) -> float | None: ...

    def frames(self) -> Iterator[tuple[float | None, Any]]: ...

    def scale(self, frame: Any, width: int, height: int) -> tuple[memoryview, int]: ...


def open_source(decoder: str, path: str) -> Source:
    """The source for a decoder's name. Raises DecodeError, DecoderMissing."""
    module, name = SOURCES[decoder]
    try:
        source = getattr(import_module(f"tal_cli.extractors.video.decoders.{module}"), name)
    except (ImportError, OSError, RuntimeError) as error:  # the latter two if a library it needs is missing
        said = str(error).strip().split("\n")[0]
        raise DecoderMissing(f"the decoder {decoder} is not installed ({said})") from None
    opened: Source = source(path)
    return opened


class Chunk:
    """Frames queued to be sent together. All have the same size, so all have the same bytes per row."""

    def __init__(self, output: int) -> None:
        self._output = output
        self._times: list[float] = []
        self._pixels = bytearray()
        self._row = 0
        self._sent = time.monotonic()

    def add(self, at: float, pixels: memoryview, row: int) -> None:
        """Appends one frame, and sends all once they fill one message."""
        self._times.append(at)
        self._pixels += pixels
        self._row = row
        if len(self._times) >= CHUNK_FRAMES or len(self._pixels) >= CHUNK_BYTES:
            self.flush()

    def keep_alive(self) -> None:
        """Sends the queued frames, possibly none, if no message was sent for a while."""
        if time.monotonic() - self._sent > SIGN_OF_LIFE:
            self.flush()

    def flush(self) -> None:
        """Sends the queued frames."""
        body = array("d", self._times).tobytes()
        size = len(body) + len(self._pixels)
        write_all(self._output, messages.HEADER.pack(messages.FRAMES, len(self._times), self._row, size) + body)
        write_all(self._output, self._pixels)
        self._times.clear()
        self._pixels = bytearray()
        self._sent = time.monotonic()


def send_frames(source: Source, request: Request, opened: Opened, size: tuple[int, int], output: int) -> VideoSummary:
    """Decodes to the end and sends every requested frame."""
    clock = Clock(opened.fps, LONGEST_STEP_IN_STREAMS if opened.joinable else LONGEST_STEP)
    first = source.skip_to(request.start) if request.start > 0 else None
    if first is not None:
        clock = Clock(opened.fps, math.inf)
        clock.tick(first)
    depth = max(2, min(FRAMES_AHEAD, PIXELS_AHEAD // (opened.width * opened.height)))
    timed = ((clock.tick(stamp), image) for stamp, image in prefetch(source.frames(), depth))
    holds = Holds(opened.nominal_fps)
    factor = 1

    def last_shown() -> float:
        return shown_for(clock, source.last_shown, opened)

    if request.sampling_rate is not None:
        selected = resample(timed, request.sampling_rate, last_shown)
    else:
        factor = decimation(opened.fps, request.max_rate)
        selected = decimate(holds.fill(timed), factor)
    chunk = Chunk(output)

    def scaled(item: tuple[float, Any]) -> tuple[float, tuple[memoryview, int] | None]:
        at, image = item
        return at, None if image is None else source.scale(image, *size)

    # Decoding, scaling and sending run in parallel.
    for at, small in prefetch(map(scaled, selected), depth):
        if small is not None:
            chunk.add(at, *small)
        chunk.keep_alive()
    chunk.flush()
    found = rhythm(holds.times or clock.times, opened.nominal_fps if holds.repeated else opened.fps)
    return VideoSummary(
        fps=found.fps,
        delivered_fps=request.sampling_rate or found.fps / factor,
        frames=len(clock.times),
        duration=round(clock.times[-1] + last_shown(), 9),  # rounded to the resolution of the time stamps
        start=clock.start,
        lost=source.lost,
        constant_rate=found.constant or request.sampling_rate is not None,
        repeated=holds.repeated,
        jumps=clock.jumps,
    )


def shown_for(clock: Clock, said: float | None, opened: Opened) -> float:
    """Seconds for which the last frame is shown: as stored in the file, else one median step; not past the file's end.

    A file's end is accurate to one frame only: edit lists and reordered frames shift it.
    """
    step = said if said and said <= clock.longest_step else rhythm(clock.times, opened.fps).step
    if opened.end is None or clock.jumps:
        return step
    left = opened.end - clock.start - clock.times[-1]
    return min(step, max(left, 1.0 / opened.nominal_fps))


def listen(answers: SimpleQueue[bytes]) -> None:
    """Forwards the parent's lines, and exits at the end of standard input: the parent is gone."""
    for line in sys.stdin.buffer:
        answers.put(line)
    os._exit(1)


def converse(output: int) -> None:
    """The whole conversation of `messages`."""
    answers: SimpleQueue[bytes] = SimpleQueue()
    threading.Thread(target=listen, args=(answers,), daemon=True).start()
    request = Request(**messages.load(answers.get()))

    def send(kind: bytes, message: Opened | VideoSummary) -> None:
        messages.send(lambda data: write_all(output, bytes(data)), kind, messages.dump(message))

    source = open_source(request.decoder, request.path)
    opened = source.opened()
    send(messages.OPENED, opened)
    width, height = messages.load(answers.get())
    send(messages.SUMMARY, send_frames(source, request, opened, (width, height), output))


def main() -> None:
    """Runs the child."""
    output = take_output()
    limit_memory()
    failure: Failure | None = None
    try:
        converse(output)
    except DecoderMissing as error:
        failure = Failure(reason=str(error), missing_decoder=True)
    except DecodeError as error:
        failure = Failure(reason=str(error))
    except MemoryError:
        failure = Failure(reason=over_limit())
    except BrokenPipeError:
        pass
    except Exception as error:
        failure = Failure(reason=" ".join(f"{type(error).__name__}: {error}".split()))
    if failure is not None:
        messages.send(lambda data: write_all(output, bytes(data)), messages.FAILED, messages.dump(failure))
    os._exit(0)
