"""Between seconds and frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tal_cli.extractors.errors import InputError

SLACK = 1e-6  # seconds: files tell times to microseconds


def frame_times(frames: int, fps: float) -> NDArray[np.float64]:
    """Presentation times of frames at a constant rate, seconds, [frames]."""
    return np.arange(frames) / fps


@lru_cache(maxsize=8)
def frame_edges(path: Path) -> tuple[float, ...]:
    """When each frame of a video is first shown, and when the last one ends, seconds since the first, [frames + 1].

    Raises:
        InputError: the video cannot be read.
    """
    from tal_cli.labelling.frames import load_frame_times

    return load_frame_times(path).edges


@lru_cache(maxsize=64)
def edges_at_hand(path: Path) -> tuple[float, ...]:
    """`frame_edges` of a file that may be no video: then nothing."""
    try:
        return frame_edges(path)
    except InputError:
        return ()


def shown_times(path: Path, frames: int) -> NDArray[np.float64]:
    """Presentation times of the decoded frames of a video, seconds, [frames]; see `frame_edges`."""
    edges = frame_edges(path)
    missing = frames + 1 - len(edges)  # frames that the decoder makes of none in the file
    step = edges[-1] - edges[-2] if len(edges) > 1 else 0.0
    return np.array([*edges, *(edges[-1] + step * (n + 1) for n in range(missing))])[:frames]


def frames_within(start: float, end: float, times: NDArray[np.float64]) -> tuple[int, int]:
    """The frames [first, after) with start <= time < end, which may be none. `times`: rising, [frames]."""
    first, after = np.searchsorted(times, [start - SLACK, end - SLACK], side="left").tolist()
    return first, after


def frame_span(start: float, end: float, times: NDArray[np.float64]) -> tuple[int, int]:
    """The frames [first, after) of an instance: those within it, else, as of a point, the one shown at its start."""
    first, after = frames_within(start, end, times)
    if after <= first:
        first = min(max(int(np.searchsorted(times, start + SLACK, side="right")) - 1, 0), len(times) - 1)
        after = first + 1
    return first, after


def frame_labels(
    instances: Iterable[tuple[str, float, float]], labels: Sequence[str], times: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which labels hold at each frame, bool [frames, labels], from (label, start, end) in seconds."""
    places = {label: index for index, label in enumerate(labels)}
    held = np.zeros((len(times), len(labels)), dtype=bool)
    for label, start, end in instances if len(times) else ():
        first, after = frame_span(start, end, times)
        held[first:after, places[label]] = True
    return held
