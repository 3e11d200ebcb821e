"""BANOS, the behaviour annotation score: bouts detected, their overlap, their edges in frames, and their continuity."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from tal_cli.behaviour.bouts import Counts
from tal_cli.evaluation.behaviour.frame_scores import Flags, runs
from tal_cli.models.inference.tiou import tiou

MEASURES = ("precision", "recall", "f1", "so", "tp", "ic")

Bout = tuple[int, int]


def banos(true: Flags, found: Flags, *, optimal: bool = False) -> dict[str, float]:
    """The measures of one label in one video, [frames]; nan where there is nothing to measure.

    A bout is found when it overlaps one of the truth by a frame, in order of time, each once (`optimal`: as many as
    possible). `so` is the mean tIoU of overlapping pairs, `tp` their mean 1 / (1 + frames that both edges are off),
    `ic` 1 - the share of changes within true bouts. Absent in both is 1, found where nothing is true 0.
    """
    truth, guesses = runs(true), runs(found)
    if not truth:
        return dict.fromkeys(MEASURES, 0.0 if guesses else 1.0)
    hits = (_most if optimal else _in_order)(truth, guesses)
    counts = Counts(hits, len(guesses) - hits, len(truth) - hits)
    pairs = [(one, other) for one in truth for other in guesses if _overlap(one, other)]
    whole = [
        1 - np.count_nonzero(np.diff(found[first : last + 1].astype(np.int8))) / (last - first)
        for first, last in truth
        if last > first
    ]
    return {
        "precision": counts.precision if guesses else float("nan"),
        "recall": counts.recall,
        "f1": counts.f1 if hits else float("nan"),
        "so": _mean([float(tiou(a, b + 1, c, d + 1)) for (a, b), (c, d) in pairs]),
        "tp": _mean([1 / (1 + abs(one[0] - other[0]) + abs(one[1] - other[1])) for one, other in pairs]),
        "ic": _mean(whole),
    }


def means(videos: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each measure over those videos, or labels, that have it."""
    return {name: _mean([each[name] for each in videos if not np.isnan(each[name])]) for name in MEASURES}


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else float("nan")


def _overlap(one: Bout, other: Bout) -> bool:
    return other[1] >= one[0] and other[0] <= one[1]


def _in_order(truth: Sequence[Bout], guesses: Sequence[Bout]) -> int:
    free = list(truth)
    hits = 0
    for guess in guesses:
        match = next((bout for bout in free if _overlap(bout, guess)), None)
        if match is not None:
            free.remove(match)
            hits += 1
    return hits


def _most(truth: Sequence[Bout], guesses: Sequence[Bout]) -> int:
    """The largest number of pairs, by augmenting paths."""
    holder: dict[int, int] = {}

    def place(guess: int, tried: set[int]) -> bool:
        for number, bout in enumerate(truth):
            if number not in tried and _overlap(bout, guesses[guess]):
                tried.add(number)
                if number not in holder or place(holder[number], tried):
                    holder[number] = guess
                    return True
        return False

    return sum(place(guess, set()) for guess in range(len(guesses)))
