"""From decoded frames to the inputs of forward passes: every frame prepared once, every window in one block.

Shapes: n frames of a chunk, N frames of a block, B windows; H × W pixels as decoded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal_cli.extractors.features.grid import WindowGrid
from tal_cli.extractors.video.stream import FrameChunk


@dataclass(frozen=True)
class PreparedFrames:
    """frames [n, ...] as a backbone prepared them, on its device; times float64 [n] seconds, strictly increasing."""

    frames: Tensor
    times: NDArray[np.float64]

    def __getitem__(self, frames: slice) -> PreparedFrames:
        """A view of a range of frames."""
        return PreparedFrames(self.frames[frames], self.times[frames])


def with_lookahead(stream: Iterable[FrameChunk], lookahead: int) -> Iterator[FrameChunk]:
    """Chunks that overlap by `lookahead` frames: a backbone prepares all but the last `lookahead` of each.

    The video's last `lookahead` frames have no successors and are not prepared; in a video that has no others, the
    last frame is repeated.
    """
    if not lookahead:
        yield from stream
        return
    kept: FrameChunk | None = None
    any_prepared = False
    for chunk in stream:
        joined = chunk if kept is None else join_chunks(kept, chunk)
        kept = joined
        if len(joined.times) > lookahead:
            yield joined
            any_prepared = True
            kept = FrameChunk(joined.frames[-lookahead:].copy(), joined.times[-lookahead:])
    if kept is not None and not any_prepared:
        missing = lookahead + 1 - len(kept.times)
        later = kept.times[-1] + np.arange(1, missing + 1) / 25.0
        yield join_chunks(kept, FrameChunk(np.repeat(kept.frames[-1:], missing, axis=0), later))


def join_chunks(first: FrameChunk, second: FrameChunk) -> FrameChunk:
    """Two consecutive chunks concatenated."""
    return FrameChunk(np.concatenate([first.frames, second.frames]), np.concatenate([first.times, second.times]))


def with_context(stream: Iterable[PreparedFrames], frames: int) -> Iterator[PreparedFrames]:
    """The chunks of a video with its first frame repeated before it, and its last one after it, so many times."""
    last: PreparedFrames | None = None
    step = 0.0
    for chunk in stream:
        step = float(chunk.times[0] - last.times[-1]) if last and len(chunk.times) == 1 else time_step(chunk)
        if last is None and frames:
            yield PreparedFrames(
                torch.cat([chunk.frames[:1]] * frames), chunk.times[0] - step * np.arange(frames, 0, -1)
            )
        yield chunk
        last = chunk
    if last is not None and frames:
        yield PreparedFrames(torch.cat([last.frames[-1:]] * frames), last.times[-1] + step * np.arange(1, frames + 1))


def window_blocks(
    stream: Iterable[PreparedFrames], grid: WindowGrid, batch: int | Callable[[PreparedFrames], int]
) -> Iterator[PreparedFrames]:
    """Blocks of window + (B - 1) * stride frames for B <= batch windows; together they contain every window once.

    Neighbouring blocks share the window - stride frames that windows of both need. A video with fewer frames than
    a window is padded by repeating the last frame. An empty stream gives no block.

    Args:
        stream: all frames of a video, in chunks of any size.
        grid: the windows.
        batch: windows per block, or a function that gives it for the first prepared frames.
    """
    pending: list[PreparedFrames] = []
    count = 0  # of pending frames
    gap = 0  # frames before the next window that are in no window, if the stride exceeds the window
    block = step = 0  # frames in a block, and from one block to the next
    any_block = False
    for chunk in stream:
        if not block:
            windows = batch if isinstance(batch, int) else batch(chunk)
            block, step = grid.frames(windows), windows * grid.stride
        if gap:
            dropped = min(gap, len(chunk.times))
            gap -= dropped
            chunk = chunk[dropped:]
        pending.append(chunk)
        count += len(chunk.times)
        while count >= block:
            joined = join(pending)
            yield joined[:block]
            any_block = True
            gap = max(0, step - count)
            pending = [joined[step:]]
            count = len(pending[0].times)
    if count >= grid.window:
        yield join(pending)[: grid.frames(grid.count(count))]
    elif count and not any_block:
        yield pad(join(pending), grid.window)


def join(chunks: list[PreparedFrames]) -> PreparedFrames:
    """Consecutive chunks concatenated."""
    if len(chunks) == 1:
        return chunks[0]
    frames = [chunk.frames for chunk in chunks]
    if frames[0].device.type == "cpu" and frames[0].dtype in (torch.uint8, torch.float32):
        # torch would split the copy between threads, whose synchronisation takes longer than the copy.
        joined = torch.from_numpy(np.concatenate([some.numpy() for some in frames]))
    else:
        joined = torch.cat(frames)
    return PreparedFrames(joined, np.concatenate([chunk.times for chunk in chunks]))


def pad(chunk: PreparedFrames, length: int) -> PreparedFrames:
    """The last frame repeated up to that length, at times that continue by the mean step."""
    missing = length - len(chunk.times)
    later = chunk.times[-1] + time_step(chunk) * np.arange(1, missing + 1)
    return PreparedFrames(
        torch.cat([chunk.frames, *[chunk.frames[-1:]] * missing]), np.concatenate([chunk.times, later])
    )


def time_step(chunk: PreparedFrames) -> float:
    """The mean time from one frame to the next, seconds; of a single frame 1/25."""
    return float((chunk.times[-1] - chunk.times[0]) / (len(chunk.times) - 1)) if len(chunk.times) > 1 else 0.04
