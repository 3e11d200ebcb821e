"""Scores of frames: thresholds, smoothing, one label at a time, as FERAL, DeepEthogram and V-TRACE have them.

Shapes: F frames, of all videos one after another, L labels.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from tal_cli.behaviour.bouts import Counts

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


def counts_of(true: Flags, found: Flags) -> Counts:
    """Frames found, wrong and missed, of one label, [F]."""
    hits = int((true & found).sum())
    return Counts(hits, int(found.sum()) - hits, int(true.sum()) - hits)


def best_threshold(true: Flags, scores: Floats, thresholds: Iterable[float] | None = None) -> tuple[float, float]:
    """The threshold of the largest F1 of one label, and that F1; [F].

    thresholds: to choose from, of which scores above count, as in DeepEthogram; None: every score there is, of which
    scores from it on count, as in FERAL and V-TRACE.
    """
    if thresholds is not None:
        return max(((each, counts_of(true, scores > each).f1) for each in thresholds), key=lambda pair: pair[1])
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    hits = np.cumsum(true[order])[ends]
    f1 = 2 * hits / np.maximum(ends + 1 + true.sum(), 1)
    best = int(np.argmax(f1))
    return float(scores[order][ends[best]]), float(f1[best])


def shared_threshold(true: Flags, scores: Floats) -> tuple[float, float]:
    """The one score from which the mean of the labels' F1 is largest, and that mean; scores of 0 never count; [F, L].

    V-TRACE's `tuned_global`, of all scores there are instead of 512 quantiles of them.
    """
    levels = np.unique(scores[scores > 0])
    if not len(levels):
        return 0.0, 0.0
    f1 = np.zeros(len(levels))
    for is_true, told in zip(true.T, scores.T, strict=True):
        order = np.argsort(told, kind="stable")
        first = np.searchsorted(told[order], levels)
        hits = np.append(np.cumsum(is_true[order][::-1])[::-1], 0)[first]
        f1 += 2 * hits / np.maximum(len(told) - first + is_true.sum(), 1)
    best = int(np.argmax(f1))
    return float(levels[best]), float(f1[best]) / true.shape[1]


def smoothed(scores: Floats, frames: int) -> Floats:
    """Means over `frames` frames around each, of one video, cut at its ends, [F, L]."""
    half = frames // 2
    sums = np.concatenate([np.zeros((1, scores.shape[1])), np.cumsum(scores, axis=0)])
    places = np.arange(len(scores))
    first, after = np.maximum(places - half, 0), np.minimum(places + half + 1, len(scores))
    mean: Floats = (sums[after] - sums[first]) / (after - first)[:, None]
    return mean.round(12)  # equal means stay equal


def with_other(scores: Floats) -> Floats:
    """The scores with a first column for none of the labels: what the best of them leaves, [F, 1 + L]."""
    return np.column_stack([1 - scores.max(axis=1), scores])


def runs(held: Flags) -> list[tuple[int, int]]:
    """Bouts as first and last frame, [F]."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], held.astype(np.int8), [0]])))
    return [(int(first), int(after) - 1) for first, after in zip(edges[::2], edges[1::2], strict=True)]


def confusion(true: Flags, found: NDArray[np.int64]) -> NDArray[np.int64]:
    """Frames by true class (rows) and found class (columns), 0 being none of the labels; of labels that hold
    together, the first counts. true: [F, L]; found: [F]."""
    classes = true.shape[1] + 1
    truth = np.where(true.any(axis=1), true.argmax(axis=1) + 1, 0)
    table = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(table, (truth, found), 1)
    return table
