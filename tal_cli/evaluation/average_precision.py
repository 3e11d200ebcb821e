"""Mean average precision and recall, exactly as in the evaluators of ActivityNet and ActionFormer.

Average precision follows ActivityNet's `eval_detection.py`: predictions of a label are processed by descending score;
each is matched to the unmatched instance of its video with the highest tIoU, if that reaches the threshold; precision
is made monotonic and summed over recall. Every annotation counts, even empty ones: the tIoU of two empty segments is
0/0, which that evaluator, and therefore this one, treats as a match. Among equal scores the first row ranks highest.

Recall at kx follows ActionFormer: per label and video the k*n best predictions for n instances; an instance is recalled
if any of them reaches the tIoU threshold.

Shapes: N thresholds, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal_cli.datasets.annotations import Annotations
from tal_cli.evaluation.behaviour.bouts import Shown
from tal_cli.evaluation.behaviour.points import PointEvaluation, area, evaluate_points, point_labels
from tal_cli.evaluation.matching import Floats, Matching
from tal_cli.evaluation.predictions import Predictions
from tal_cli.extractors.errors import UsageError

RECALL_MULTIPLES = (1, 5)
THUMOS_TIOU = (0.3, 0.7, 5)


@dataclass(frozen=True)
class Evaluation:
    """Metrics of one prediction file on one subset; all values in [0, 1].

    Attributes:
        subset: the evaluated subset.
        tiou: tIoU thresholds, N.
        labels: labels with ground truth, L.
        precision: average precision per label and threshold, [L, N].
        recall: mean over labels of recall at kx, for each multiple k, [N].
        ignored: number of predictions whose label has no ground truth in the subset; they have no influence.
        points: of labels that are points, which tIoU cannot match; their rows of `precision` are tight average mAP.
        shown: precision, recall and F1 at the score from which segments are shown; None where it was not asked for.
    """

    subset: str
    tiou: tuple[float, ...]
    labels: tuple[str, ...]
    precision: Floats
    recall: dict[int, Floats]
    ignored: int
    points: PointEvaluation | None = None
    shown: Shown | None = None

    @property
    def mean(self) -> Floats:
        """mAP per threshold, [N]."""
        mean: Floats = self.precision.mean(axis=0)
        return mean

    @property
    def average(self) -> float:
        """The mean of mAP over the thresholds."""
        return float(self.mean.mean())

    def as_json(self) -> dict[str, Any]:
        """The document that `tal eval --format json` prints."""
        return {
            "tiou": self._by_threshold(self.mean),
            "average": self.average,
            "recall": {f"{k}x": self._by_threshold(values) for k, values in self.recall.items()},
            "per_label": {
                label: self._by_threshold(row) for label, row in zip(self.labels, self.precision, strict=True)
            },
            "subset": self.subset,
            "ignored": self.ignored,
            **({"points": self.points.as_json()} if self.points else {}),
            **({"shown": self.shown.as_json()} if self.shown else {}),
        }

    def _by_threshold(self, values: Floats) -> dict[str, float]:
        return {f"{t:.6g}": float(value) for t, value in zip(self.tiou, values, strict=True)}


def parse_tiou(text: str) -> tuple[float, ...]:
    """Parse `0.3:0.1:0.7` (first:step:last), `0.5` or `0.3,0.5,0.7`; values are those of numpy's linspace.

    Raises:
        UsageError: invalid syntax, or a threshold outside (0, 1].
    """
    try:
        if ":" in text:
            first, step, last = (float(part) for part in text.split(":"))
            count = round((last - first) / step) + 1
            if not (1 <= count <= 1000 and abs(first + (count - 1) * step - last) <= 1e-6):
                raise ValueError
            thresholds = np.linspace(first, last, count).tolist()
        else:
            thresholds = [float(part) for part in text.split(",")]
        if not all(0 < threshold <= 1 for threshold in thresholds):
            raise ValueError
    except (ValueError, ArithmeticError) as error:
        raise UsageError(f"--tiou {text}: not tIoU thresholds", "write them as 0.3:0.1:0.7, 0.5 or 0.3,0.5") from error
    return tuple(thresholds)


def evaluate(
    predictions: Predictions,
    annotations: Annotations,
    subset: str,
    tiou: Sequence[float] = tuple(np.linspace(*THUMOS_TIOU).tolist()),
) -> Evaluation:
    """Evaluate predictions on one subset of the ground truth.

    Predictions in videos outside the subset are false positives; predictions of labels without ground truth are
    ignored.

    Raises:
        UsageError: the subset has no instance.
    """
    videos = annotations.of(subset)
    points = point_labels(videos)
    states = [replace(video, segments=tuple(i for i in video.segments if i.label not in points)) for video in videos]
    is_point = np.asarray([label in points for label in predictions.labels], dtype=bool)
    matching = Matching.of(predictions.take(~is_point) if points else predictions, states if points else videos)
    if not matching.labels and not points:
        known = ", ".join(f"{name} ({count} videos)" for name, count in annotations.subsets.items())
        raise UsageError(f"no instance in subset {subset!r}", f"the file has the subsets {known}")
    true = np.stack([matching.true_positives(threshold) for threshold in tiou])
    splits = np.cumsum(np.bincount(matching.label_of, minlength=len(matching.labels)))[:-1]
    parts = np.split(true, splits, axis=1) if matching.labels else []
    rows = [
        _average_precision(matched, instances) for matched, instances in zip(parts, matching.instances, strict=True)
    ]
    found = evaluate_points(predictions, videos, points) if points else None
    if found is not None:
        rows += [np.full(len(tiou), area(tight)) for tight in found.tight]
    nothing = np.zeros(len(tiou))
    recall = {
        k: np.stack([matching.recall(k, threshold) for threshold in tiou]) if matching.labels else nothing
        for k in RECALL_MULTIPLES
    }
    labels = (*matching.labels, *points)
    return Evaluation(subset, tuple(tiou), labels, np.stack(rows), recall, matching.ignored, found)


def _average_precision(matched: NDArray[np.bool_], instances: int) -> Floats:
    """Area under the monotonic precision-recall curve of one label; matched [N, predictions by descending score]."""
    hits = np.cumsum(matched, axis=1)
    precision = hits / np.arange(1, matched.shape[1] + 1)
    envelope = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recall = np.concatenate([np.zeros((len(hits), 1)), hits / float(instances)], axis=1)
    area: Floats = (np.diff(recall, axis=1) * envelope).sum(axis=1)
    return area
