"""Between seconds and frames."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

SLACK = 1e-6  # seconds: files tell times to microseconds


def frame_times(frames: int, fps: float) -> NDArray[np.float64]:
    """Presentation times of frames at a constant rate, seconds, [frames]."""
    return np.arange(frames) / fps


def frame_span(start: float, end: float, times: NDArray[np.float64]) -> tuple[int, int]:
    """The frames [first, after) of an instance: those with start <= time < end.

    One that is too short for that, or a point, has the frame that is shown at its start. `times`: rising, [frames].
    """
    first, after = np.searchsorted(times, [start - SLACK, end - SLACK], side="left").tolist()
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
