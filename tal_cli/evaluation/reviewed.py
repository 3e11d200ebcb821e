"""Evaluation where only a part of the videos was reviewed: nothing is known of the rest, so it does not count.

Time that was not reviewed is taken out: instances and predictions that lie mostly in it are left out, and of the others
every boundary is moved to the amount of reviewed time before it. Overlaps are then those inside the reviewed time.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tal_cli.datasets.annotations import Annotations, Ranges, VideoAnnotation, touches
from tal_cli.evaluation.predictions import Predictions

LEAST = 0.5  # share of a segment that has to be reviewed

Floats = NDArray[np.float64]


def on_reviewed(predictions: Predictions, annotations: Annotations) -> tuple[Predictions, Annotations]:
    """Predictions and ground truth of what was reviewed; unchanged where that is everything.

    Points count if they were reviewed, and keep their times.
    """
    partial = {
        name: video for name, video in annotations.videos.items() if video.reviewed is not None or video.reviewed_labels
    }
    if not partial:
        return predictions, annotations
    starts, ends = predictions.starts.copy(), predictions.ends.copy()
    kept = np.ones(len(starts), dtype=bool)
    for row, (name, label) in enumerate(zip(predictions.videos, predictions.labels, strict=True)):
        ranges = partial[name].reviewed_of(label) if name in partial else None
        if ranges is not None:
            kept[row], starts[row], ends[row] = _moved(ranges, starts[row], ends[row])
    videos = {name: _reviewed(video) if name in partial else video for name, video in annotations.videos.items()}
    known = {name: video for name, video in videos.items() if not video.is_unseen}
    return replace(predictions, starts=starts, ends=ends).take(kept), replace(annotations, videos=known)


def reviewed_before(ranges: Ranges, times: Floats) -> Floats:
    """Seconds of reviewed time before each time."""
    bounds = np.asarray(ranges, dtype=np.float64).reshape(-1, 2)
    inside = np.clip(times[..., None], bounds[:, 0], bounds[:, 1]) - bounds[:, 0]
    total: Floats = inside.sum(axis=-1)
    return total


def _moved(ranges: Ranges, start: float, end: float) -> tuple[bool, float, float]:
    """Whether a segment counts, and its boundaries in reviewed time."""
    if start == end:
        return touches(ranges, start, end), start, end
    first, last = reviewed_before(ranges, np.asarray([start, end])).tolist()
    return last - first >= LEAST * (end - start) and last > first, first, last


def _reviewed(video: VideoAnnotation) -> VideoAnnotation:
    segments = []
    for item in video.settled:
        ranges = video.reviewed_of(item.label)
        counts, start, end = (True, item.start, item.end) if ranges is None else _moved(ranges, item.start, item.end)
        if counts:
            segments.append(replace(item, start=start, end=end))
    return replace(video, segments=tuple(segments))
