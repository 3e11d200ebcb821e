"""Overlapping windows over a stream of frames, each frame taken once."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from extractors.video import FrameChunk


@dataclass(frozen=True)
class WindowGrid:
    """Windows of `window` frames that start `stride` frames apart; grid position g is the centre of window g."""

    window: int
    stride: int

    def count(self, frames: int) -> int:
        """Windows over that many frames: whole ones only, and one (padded) over a video shorter than a window."""
        return max(0, frames - self.window) // self.stride + 1

    def frames(self, windows: int) -> int:
        """Frames under that many windows."""
        return self.window + (windows - 1) * self.stride

    def positions(self, grid: NDArray[np.float64]) -> NDArray[np.float64]:
        """Grid positions -> frame positions: frame i is shown from i to i + 1."""
        return np.asarray(grid, np.float64) * self.stride + 0.5 * self.window

    def seconds(self, grid: NDArray[np.float64], fps: float) -> NDArray[np.float64]:
        """Grid positions -> seconds at a constant rate, the released code's formula."""
        return self.positions(grid) / fps

    def grid(self, seconds: NDArray[np.float64], fps: float) -> NDArray[np.float64]:
        """The inverse of `seconds`."""
        return (np.asarray(seconds, np.float64) * fps - 0.5 * self.window) / self.stride


def iterate_windows(stream: Iterable[FrameChunk], grid: WindowGrid, batch: int) -> Iterator[FrameChunk]:
    """Blocks of window + (B - 1) * stride frames for B <= batch windows; together they hold every window once.

    Neighbouring blocks share the window - stride frames that windows on both sides need. A video with fewer frames than
    a window is padded by repeating the last frame. An empty stream gives no block.
    """
    block = grid.frames(batch)
    step = batch * grid.stride
    kept: list[FrameChunk] = []
    held = 0
    skip = 0  # frames to drop first: a stride beyond the window leaves gaps
    whole = False
    for chunk in stream:
        if skip:
            dropped = min(skip, len(chunk.times))
            skip -= dropped
            chunk = part(chunk, dropped)
        kept.append(chunk)
        held += len(chunk.times)
        while held >= block:
            joined = join(kept)
            yield part(joined, 0, block)
            whole = True
            rest = part(joined, step)
            skip = max(0, step - held)
            kept, held = [rest], len(rest.times)
    if held >= grid.window:
        yield part(join(kept), 0, grid.frames(grid.count(held)))
    elif held and not whole:
        yield pad(join(kept), grid.window)


def join(chunks: list[FrameChunk]) -> FrameChunk:
    """Chunks, one after the other, as one."""
    if len(chunks) == 1:
        return chunks[0]
    return FrameChunk(
        np.concatenate([chunk.frames for chunk in chunks]), np.concatenate([chunk.times for chunk in chunks])
    )


def part(chunk: FrameChunk, start: int, stop: int | None = None) -> FrameChunk:
    """A view of some of a chunk's frames."""
    return FrameChunk(chunk.frames[start:stop], chunk.times[start:stop])


def pad(chunk: FrameChunk, length: int) -> FrameChunk:
    """Repeat the last frame up to that length; its time goes on by the mean step (a lone frame's by 1/25 s)."""
    missing = length - len(chunk.times)
    step = (chunk.times[-1] - chunk.times[0]) / (len(chunk.times) - 1) if len(chunk.times) > 1 else 0.04
    later = chunk.times[-1] + step * np.arange(1, missing + 1)
    return FrameChunk(
        np.concatenate([chunk.frames, np.repeat(chunk.frames[-1:], missing, axis=0)]),
        np.concatenate([chunk.times, later]),
    )
