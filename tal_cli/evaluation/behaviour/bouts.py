"""Bouts found, wrong and missed at the score from which segments are shown: precision, recall and F1 beside mAP."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tal_cli.behaviour.bouts import Bout, Counts, match
from tal_cli.datasets.annotations import Annotations
from tal_cli.evaluation.behaviour.points import point_labels
from tal_cli.evaluation.matching import Matching
from tal_cli.evaluation.predictions import Predictions

SHOWN_TIOU = 0.5
POINT_SECONDS = 0.5  # that a shown point may be off


@dataclass(frozen=True)
class Shown:
    """What a person sees: bouts at a tIoU threshold, from a score on; labels are those with ground truth."""

    tiou: float
    score: Mapping[str, float]
    counts: Mapping[str, Counts]

    def as_json(self) -> dict[str, Any]:
        """Means over labels, and each label."""
        rows = {label: {**counts.as_json(), "score": self.score[label]} for label, counts in self.counts.items()}
        means = {name: float(np.mean([row[name] for row in rows.values()])) for name in ("precision", "recall", "f1")}
        return {"tiou": self.tiou, **means, "per_label": rows}


def shown(predictions: Predictions, annotations: Annotations, subset: str, least: float | None = None) -> Shown:
    """Bouts at tIoU 0.5, of predictions from a score on, by default the model's display score."""
    labels = {item.label for video in annotations.of(subset) for item in video.segments}
    score = {label: predictions.shown_from(label) if least is None else least for label in labels}
    return Shown(SHOWN_TIOU, score, bout_counts(predictions, annotations, subset, [SHOWN_TIOU], score)[SHOWN_TIOU])


def bout_counts(
    predictions: Predictions, annotations: Annotations, subset: str, levels: Sequence[float], score: Mapping[str, float]
) -> dict[float, dict[str, Counts]]:
    """Bouts found, wrong and missed, of predictions from a score on; by tIoU threshold and label.

    Points are found within half a second; the middle of a prediction is compared.
    """
    enough = predictions.scores >= np.asarray([score.get(label, 0.0) for label in predictions.labels])
    told = predictions.take(enough)
    videos = annotations.of(subset)
    points = point_labels(videos)
    matching = Matching.of(told, videos)
    classes = len(matching.labels)
    all_ = np.bincount(matching.label_of, minlength=classes).tolist()
    moments: dict[str, Counts] = {}
    middles = ((told.starts + told.ends) / 2).tolist()
    for label in points:
        truth = [
            Bout(video.name, item.start, item.start)
            for video in videos
            for item in video.segments
            if item.label == label
        ]
        found = [
            Bout(name, time, time, score_)
            for name, other, time, score_ in zip(told.videos, told.labels, middles, told.scores.tolist(), strict=True)
            if other == label
        ]
        moments[label] = match(truth, found, 1.0, POINT_SECONDS)
    counts = {}
    for level in levels:
        hits = np.bincount(matching.label_of[matching.true_positives(level)], minlength=classes).tolist()
        counts[level] = {
            label: Counts(hits[n], all_[n] - hits[n], int(matching.instances[n]) - hits[n])
            for n, label in enumerate(matching.labels)
        } | moments
    return counts
