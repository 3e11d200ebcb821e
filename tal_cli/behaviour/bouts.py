"""Bouts found and missed: one-to-one matches of predicted with true bouts of one label."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal_cli.models.inference.tiou import tiou

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bout:
    """A bout: what has to be equal for a match (label, video, subject), times in seconds, and a score."""

    key: Hashable
    start: float
    end: float
    score: float = 1.0


@dataclass(frozen=True)
class Counts:
    """True positives, false positives and false negatives, of bouts or of frames."""

    tp: int = 0
    fp: int = 0
    fn: int = 0

    @property
    def precision(self) -> float:
        """tp / (tp + fp); 0 of nothing."""
        return self.tp / (self.tp + self.fp) if self.tp + self.fp else 0.0

    @property
    def recall(self) -> float:
        """tp / (tp + fn); 0 of nothing."""
        return self.tp / (self.tp + self.fn) if self.tp + self.fn else 0.0

    @property
    def f1(self) -> float:
        """Harmonic mean of precision and recall; 0 where there is nothing to find and nothing found."""
        total = 2 * self.tp + self.fp + self.fn
        return 2 * self.tp / total if total else 0.0

    def as_json(self) -> dict[str, float]:
        """The counts and what follows from them."""
        found = {"precision": self.precision, "recall": self.recall, "f1": self.f1}
        return {**found, "tp": self.tp, "fp": self.fp, "fn": self.fn}


def match(truth: Sequence[Bout], predicted: Sequence[Bout], least: float, tolerance: float = 0.0) -> Counts:
    """Matches by falling score: each prediction takes the free true bout with the largest tIoU, if that is `least`.

    Points, which have no length, are matched with the nearest free point within `tolerance` seconds.
    """
    by_key: dict[Hashable, list[tuple[float, float]]] = {}
    for bout in truth:
        by_key.setdefault(bout.key, []).append((bout.start, bout.end))
    others = {key: np.asarray(bounds) for key, bounds in by_key.items()}
    free = {key: np.ones(len(bounds), dtype=bool) for key, bounds in by_key.items()}
    hits = 0
    for bout in sorted(predicted, key=lambda bout: -bout.score):
        if bout.key in others:
            fit = np.where(free[bout.key], _fit(bout, others[bout.key], least, tolerance), -1.0)
            best = int(np.argmax(fit))
            if fit[best] >= 0:
                free[bout.key][best] = False
                hits += 1
    return Counts(hits, len(predicted) - hits, len(truth) - hits)


def _fit(bout: Bout, others: Floats, least: float, tolerance: float) -> Floats:
    """How well a bout fits others, [N, 2], in [0, 1]; negative if it does not."""
    starts, ends = others.T
    overlap = np.nan_to_num(tiou(bout.start, bout.end, starts, ends))
    fit = np.where(overlap >= least, overlap, -1.0)
    if bout.start == bout.end:
        distance = np.abs(bout.start - starts)
        near = np.where(distance <= tolerance + 1e-9, 1 / (1 + distance), -1.0)
        fit = np.where(starts == ends, near, fit)
    return fit
