"""V-TRACE's figures of predicted segments: seconds become frames by cutting off t * fps, scores below 0.001 do not
count, and the score that all labels share is one of 512 quantiles of those of frames.

Shapes: F frames, of all videos one after another, L labels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal_cli.behaviour.bouts import Counts
from tal_cli.evaluation.behaviour.frame_scores import average_precision, counts_of, shared_threshold

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
LEAST, QUANTILES = 0.001, 512


@dataclass(frozen=True)
class Vtrace:
    """The figures, by label.

    Attributes:
        precision: average precision; None for a label that all frames have.
        shared: the one score from which the mean F1 of all labels is largest, and that mean.
        counts: of frames, from that score on.
        chosen: of frames, from the scores on that were asked for.
        best: the score from which F1 is largest, and that F1.
    """

    precision: Mapping[str, float | None]
    shared: tuple[float, float]
    counts: Mapping[str, Counts]
    chosen: Mapping[str, Counts]
    best: Mapping[str, tuple[float, float]]

    def as_json(self) -> dict[str, Any]:
        """The figures, and means over labels."""
        known = [value for value in self.precision.values() if value is not None]
        return {
            "mAP": float(np.mean(known)) if known else None,
            "best_score": self.shared[0],
            "best_f1": self.shared[1],
            "per_label": {
                label: {
                    **counts.as_json(),
                    "ap": self.precision[label],
                    "best_score": self.best[label][0],
                    "best_f1": self.best[label][1],
                    "from_score": self.chosen[label].as_json(),
                }
                for label, counts in self.counts.items()
            },
        }


def cut_scores(
    items: Sequence[tuple[str, float, float, float]], labels: Sequence[str], fps: float, frames: int
) -> Floats:
    """The score of each frame, [frames, labels]: the largest of the segments (label, start, end, score) around it."""
    scores = np.zeros((frames, len(labels)))
    for label, start, end, score in items:
        if label in labels and score >= LEAST:
            part = scores[max(0, int(start * fps)) : max(0, int(end * fps)), labels.index(label)]
            np.maximum(part, score, out=part)
    return scores


def vtrace(true: Flags, scores: Floats, seen: Flags, labels: Sequence[str], score: Mapping[str, float]) -> Vtrace:
    """The figures of frames that were reviewed, [F, L] each; `score`: from which frames were asked to count."""
    shared = shared_threshold(true & seen, np.where(seen, scores, 0.0), QUANTILES)
    told = {label: (true[seen[:, place], place], scores[seen[:, place], place]) for place, label in enumerate(labels)}
    return Vtrace(
        {label: None if held.all() else average_precision(held, found) for label, (held, found) in told.items()},
        shared,
        {label: counts_of(held, _from(found, shared[0])) for label, (held, found) in told.items()},
        {label: counts_of(held, _from(found, score.get(label, 0.0))) for label, (held, found) in told.items()},
        {label: shared_threshold(held[:, None], found[:, None]) for label, (held, found) in told.items()},
    )


def _from(scores: Floats, least: float) -> Flags:
    return (scores > 0) & (scores >= least)
