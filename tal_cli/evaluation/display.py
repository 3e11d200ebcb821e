"""From which score a person wants to see segments of each label: chosen on a validation subset."""

from __future__ import annotations

import math

import numpy as np

from tal_cli.datasets.annotations import Annotations
from tal_cli.evaluation.matching import Matching
from tal_cli.evaluation.predictions import Predictions

TIOU = 0.5
FEWEST = 5  # instances of a label, below which a choice would be chance


def display_scores(
    predictions: Predictions, annotations: Annotations, subset: str, precision: float
) -> dict[str, float]:
    """The score of each label with at least FEWEST instances from which F1 at tIoU 0.5 is highest, of those from which
    `precision` of its segments are true (or as many as ever are).

    A score lies half-way between the last segment that it lets through and the first that it does not, in hundredths.
    """
    matching = Matching.of(predictions, annotations.of(subset))
    true = matching.true_positives(TIOU)
    scores = predictions.scores[matching.row]
    chosen = {}
    for number, label in enumerate(matching.labels):
        of_label = matching.label_of == number
        instances = int(matching.instances[number])
        if instances < FEWEST or not true[of_label].any():
            continue
        ranked = scores[of_label]
        hits, listed = np.cumsum(true[of_label]), np.arange(1, len(ranked) + 1)
        # No score tells segments of equal scores apart: only the last of them is a place to stop.
        ends = np.append(ranked[1:] < ranked[:-1], True)
        share = np.where(ends, hits / listed, 0.0)
        enough = share >= min(precision, share.max())
        best = int(np.argmax(np.where(enough, 2 * hits / (listed + instances), -1.0)))
        below = ranked[best + 1] if best + 1 < len(ranked) else 0.0
        middle = (ranked[best] + below) / 2
        chosen[label] = min(math.ceil(middle * 100) / 100, float(ranked[best]))
    return chosen
