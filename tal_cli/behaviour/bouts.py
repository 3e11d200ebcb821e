"""Bouts found and missed: one-to-one matches of predicted with true bouts of one label."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass


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


def tiou(first: Bout, second: Bout) -> float:
    """Temporal intersection over union; that of two points at the same time is 1."""
    if first.start == first.end == second.start == second.end:
        return 1.0
    inter = max(0.0, min(first.end, second.end) - max(first.start, second.start))
    union = (first.end - first.start) + (second.end - second.start) - inter
    return inter / union if union > 0 else 0.0


def match(truth: Sequence[Bout], predicted: Sequence[Bout], least: float, tolerance: float = 0.0) -> Counts:
    """Matches by falling score: each prediction takes the free true bout with the largest tIoU, if that is `least`.

    Points, which have no length, are matched with the nearest free point within `tolerance` seconds.
    """
    free: dict[Hashable, list[Bout]] = {}
    for bout in truth:
        free.setdefault(bout.key, []).append(bout)
    hits = 0
    for bout in sorted(predicted, key=lambda bout: -bout.score):
        others = free.get(bout.key, [])
        fitting = [(_fit(bout, other, least, tolerance), -n) for n, other in enumerate(others)]
        best, place = max(fitting, default=(-1.0, 0))
        if best >= 0:
            others.pop(-place)
            hits += 1
    return Counts(hits, len(predicted) - hits, len(truth) - hits)


def _fit(bout: Bout, other: Bout, least: float, tolerance: float) -> float:
    """How well two bouts fit; negative if they do not."""
    if bout.start == bout.end and other.start == other.end:
        distance = abs(bout.start - other.start)
        return 1 / (1 + distance) if distance <= tolerance + 1e-9 else -1.0
    overlap = tiou(bout, other)
    return overlap if overlap >= least else -1.0
