"""Scores of frames: thresholds, smoothing, one label at a time, as FERAL, DeepEthogram and V-TRACE have them.

Shapes: F frames, of all videos one after another, L labels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


def shared_threshold(true: Flags, scores: Floats, quantiles: int | None = None) -> tuple[float, float]:
    """The one score from which the mean of the labels' F1 is largest, and that mean; scores of 0 never count; [F, L].

    quantiles: how many quantiles of the scores to choose from; None: all of the scores.
    """
    levels = np.unique(scores[scores > 0])
    if quantiles is not None and len(levels):
        levels = np.unique(np.quantile(scores[scores > 0], np.linspace(0, 1, quantiles)))
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


@dataclass(frozen=True)
class OneLabel:
    """What is found where each frame has the label of the largest score, or none.

    Attributes:
        labels: the first is for none of them.
        table: frames by true (rows) and found label (columns).
        average_precision: of the scores of each label but the first.
    """

    labels: tuple[str, ...]
    table: NDArray[np.int64]
    average_precision: tuple[float, ...]

    def as_json(self) -> dict[str, Any]:
        """Confusion, accuracy, kappa and F1; `macro` and `micro` are of the labels, `weighted` with none of them."""
        total, rows, columns = self.table.sum(), self.table.sum(axis=1), self.table.sum(axis=0)
        hits = np.diag(self.table)
        agreed, chance = hits.sum() / total, float(rows @ columns) / float(total) ** 2
        f1 = 2 * hits / np.maximum(rows + columns, 1)
        precision, recall = hits / np.maximum(columns, 1), hits / np.maximum(rows, 1)
        return {
            "labels": list(self.labels),
            "confusion": self.table.tolist(),
            "accuracy": float(agreed),
            "kappa": 1.0 if chance == 1 else float((agreed - chance) / (1 - chance)),
            "mAP": float(np.mean(self.average_precision)),
            "precision": float(precision[1:].mean()),
            "recall": float(recall[1:].mean()),
            "f1": dict(zip(self.labels, f1.tolist(), strict=True)),
            "macro_f1": float(f1[1:].mean()),
            "macro_f1_with_none": float(f1.mean()),
            "micro_f1": float(2 * hits[1:].sum() / max((rows + columns)[1:].sum(), 1)),
            "weighted_f1_with_none": float((f1 * rows).sum() / total),
        }


def one_label(true: Flags, scores: Floats, labels: Sequence[str], none: str) -> OneLabel:
    """Frames of which only the best label counts, or none where the best leaves more than half; [F, L]."""
    first = true & (np.cumsum(true, axis=1) == 1)
    precision = tuple(average_precision(*pair) for pair in zip(first.T, scores.T, strict=True))
    return OneLabel((none, *labels), confusion(true, with_other(scores).argmax(axis=1)), precision)


@dataclass(frozen=True)
class Tuned:
    """DeepEthogram's figures: at the threshold of the largest F1 of each label, on a grid; labels with `background`."""

    thresholds: Mapping[str, float]
    f1: Mapping[str, float]
    precision: Mapping[str, float]
    overall: float
    accuracy: float

    def as_json(self) -> dict[str, Any]:
        """The figures, and means over labels with and without background."""
        values = list(self.f1.values())
        return {
            "thresholds": dict(self.thresholds),
            "f1": dict(self.f1),
            "ap": dict(self.precision),
            "mean_f1_with_background": float(np.mean(values)),
            "mean_f1": float(np.mean(values[1:])),
            "overall_f1": self.overall,
            "accuracy": self.accuracy,
        }


GRID = np.linspace(1e-4, 1, 200).tolist()
USUAL, LEAST_F1, LEAST = 0.5, 0.05, 0.01  # threshold where the best one is none


def tuned(true: Flags, scores: Floats, labels: Sequence[str]) -> Tuned:
    """DeepEthogram's figures; background is where none of the others is; [F, L]."""
    true, scores = np.column_stack([~true.any(axis=1), true]), with_other(scores)
    best = [best_threshold(is_true, told, GRID) for is_true, told in zip(true.T, scores.T, strict=True)]
    thresholds = [level if f1 >= LEAST_F1 and level >= LEAST else USUAL for level, f1 in best]
    found = scores > thresholds
    found[:, 0] = ~found[:, 1:].any(axis=1)
    names = ("background", *labels)
    pairs = list(zip(true.T, found.T, strict=True))
    return Tuned(
        dict(zip(names, thresholds, strict=True)),
        {name: counts_of(*pair).f1 for name, pair in zip(names, pairs, strict=True)},
        {name: average_precision(*pair) for name, pair in zip(names, zip(true.T, scores.T, strict=True), strict=True)},
        counts_of(true.ravel(), found.ravel()).f1,
        float((found == true).mean()),
    )


def average_precision(true: Flags, scores: Floats) -> float:
    """Area under the steps of precision over recall; 0 where nothing is true."""
    total = int(true.sum())
    if not total:
        return 0.0
    order = np.argsort(-scores, kind="stable")
    hits = np.cumsum(true[order])
    # Frames of one score are one step.
    ends = np.flatnonzero(np.append(np.diff(scores[order]) != 0, True))
    recall = hits[ends] / total
    return float((np.diff(recall, prepend=0.0) * hits[ends] / (ends + 1)).sum())


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
