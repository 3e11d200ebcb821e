"""Evaluation of points with a tolerance, as SoccerNet does it: average mAP, tight (1 to 5 s) and loose (5 to 60 s).

At a tolerance of d seconds, each true point, in order of time, takes the free prediction of highest score that is at
most d / 2 away. Precision and recall are taken at 200 scores from 0 to 1, average precision is interpolated at 11
recalls, and the average over tolerances is the area under the curve. SoccerNet counts in frames, two a second.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal_cli.datasets.annotations import POINT, VideoAnnotation
from tal_cli.evaluation.predictions import Predictions

TIGHT = (1.0, 2.0, 3.0, 4.0, 5.0)
LOOSE = tuple(float(5 * n) for n in range(1, 13))
RATE = 2  # frames per second
THRESHOLDS, RECALLS = np.linspace(0, 1, 200), np.arange(11) / 10

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PointEvaluation:
    """Average mAP of points; values in [0, 1].

    Attributes:
        tight, loose: average precision per label and tolerance, [labels, tolerances].
    """

    labels: tuple[str, ...]
    tight: Floats
    loose: Floats

    def as_json(self) -> dict[str, Any]:
        """Average mAP, and that of each label."""
        return {
            "tight": float(area(self.tight.mean(axis=0))),
            "loose": float(area(self.loose.mean(axis=0))),
            "per_label": {
                label: {"tight": float(area(tight)), "loose": float(area(loose))}
                for label, tight, loose in zip(self.labels, self.tight, self.loose, strict=True)
            },
        }


def point_labels(videos: Sequence[VideoAnnotation]) -> tuple[str, ...]:
    """Labels all of whose instances are points, in order of their names."""
    kinds: dict[str, set[str]] = {}
    for video in videos:
        for item in video.segments:
            kinds.setdefault(item.label, set()).add(item.kind)
    return tuple(sorted(label for label, found in kinds.items() if found == {POINT}))


def evaluate_points(
    predictions: Predictions, videos: Sequence[VideoAnnotation], labels: Sequence[str]
) -> PointEvaluation:
    """Evaluate the middles of predictions against points of these labels."""
    names = {video.name for video in videos}
    found: dict[tuple[str, str], dict[int, float]] = {}
    times = ((predictions.starts + predictions.ends) / 2 * RATE + 1e-9).astype(np.int64).tolist()
    for name, label, frame, score in zip(
        predictions.videos, predictions.labels, times, predictions.scores.tolist(), strict=True
    ):
        if name in names:
            found.setdefault((name, label), {})[frame] = score  # of several in a frame, SoccerNet keeps the last
    tight, loose = (
        np.stack([[_precision(found, videos, label, tolerance) for tolerance in tolerances] for label in labels])
        for tolerances in (TIGHT, LOOSE)
    )
    return PointEvaluation(tuple(labels), tight, loose)


def _precision(
    found: dict[tuple[str, str], dict[int, float]], videos: Sequence[VideoAnnotation], label: str, tolerance: float
) -> float:
    scores: list[float] = []
    hits: list[bool] = []
    total = 0
    for video in videos:
        true = sorted({int(item.start * RATE + 1e-9) for item in video.segments if item.label == label})
        told = found.get((video.name, label), {})
        frames = np.asarray(sorted(told), dtype=np.int64)
        values = np.asarray([told[frame] for frame in frames.tolist()])
        taken = np.zeros(len(frames), dtype=bool)
        for frame in true:
            near = np.flatnonzero((np.abs(frames - frame) <= tolerance * RATE / 2) & ~taken)
            if near.size:
                taken[near[np.argmax(values[near])]] = True
        scores += values.tolist()
        hits += taken.tolist()
        total += len(true)
    ranked, right = np.asarray(scores), np.asarray(hits, dtype=bool)
    shown = np.asarray([(ranked >= least).sum() for least in THRESHOLDS])
    true_shown = np.asarray([right[ranked >= least].sum() for least in THRESHOLDS])
    precision = np.divide(true_shown, shown, out=np.zeros(len(shown)), where=shown > 0)
    recall = true_shown / max(total, 1)
    return float(np.mean([precision[recall >= least].max(initial=0.0) for least in RECALLS]))


def area(values: Floats) -> float:
    """The mean height of a curve through values at even steps."""
    return float(((values[:-1] + values[1:]) / 2).mean()) if len(values) > 1 else float(values[0])
