"""How well features separate labels, without training a detector: linear probes on what they have not seen."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tal_cli.evaluation.behaviour.frame_scores import average_precision

Floats = NDArray[np.float64]

FOLDS = 5
PARTS, FEWEST_PARTS = 8, 3
RIDGES = (0.03, 0.3, 3.0)  # strength of the penalty, relative to the mean variance of the features


def separation(features: Floats, labels: NDArray[np.bool_], groups: Sequence[str]) -> float:
    """Mean over labels of the average precision of a linear probe on groups that it was not fitted to, in [0, 1].

    Each row is a moment; probes are ridge regressions on standardised features, of the best of three strengths. Labels
    count that occur in two groups at least, and do not hold always.

    Args:
        features: [moments, channels].
        labels: which labels hold, [moments, labels].
        groups: the video of each moment, which all are fitted to or none.

    Returns:
        nan where no label can be judged.
    """
    judged = [
        label
        for label in range(labels.shape[1])
        if len({group for group, holds in zip(groups, labels[:, label], strict=True) if holds}) > 1
        and not labels[:, label].all()
    ]
    if not judged:
        return float("nan")
    names = list(dict.fromkeys(groups))
    part = np.asarray([names.index(group) % min(FOLDS, len(names)) for group in groups])
    found = [_held_out(features, labels.astype(np.float64), part, ridge) for ridge in RIDGES]
    return max(
        float(np.mean([average_precision(labels[:, label], scores[:, label]) for label in judged])) for scores in found
    )


def without_each(features: Floats, labels: NDArray[np.bool_], groups: Sequence[str]) -> Floats:
    """`separation` without a part of the groups, for each of up to `PARTS` parts: what its chance is told from."""
    names = list(dict.fromkeys(groups))
    part = np.asarray([names.index(group) % min(PARTS, len(names)) for group in groups])
    kept = [part != number for number in np.unique(part)]
    return np.asarray([separation(features[k], labels[k], np.asarray(groups)[k].tolist()) for k in kept])


def standard_error(first: Floats, second: Floats) -> float:
    """Standard error of the difference of two separations, by the jackknife: from those `without_each` part of the
    same groups.

    inf where parts are too few, or what is left of the groups without one of them cannot be judged.
    """
    differences = first - second
    parts = len(differences)
    if parts < FEWEST_PARTS or not np.isfinite(differences).all():
        return float("inf")
    return float(np.sqrt((parts - 1) * differences.var()))


def _held_out(features: Floats, targets: Floats, part: NDArray[np.int64], ridge: float) -> Floats:
    """Scores of each moment by a probe that was fitted to the other parts, [moments, labels].

    Solved over moments or over channels, whichever are fewer.
    """
    scores = np.zeros_like(targets)
    for number in np.unique(part).tolist():
        held = part == number
        mean, spread = features[~held].mean(axis=0), features[~held].std(axis=0) + 1e-6
        known, asked = ((features[rows] - mean) / spread for rows in (~held, held))
        base = targets[~held].mean(axis=0)
        penalty = ridge * len(known)
        if len(known) <= known.shape[1]:
            weights = known.T @ np.linalg.solve(known @ known.T + penalty * np.eye(len(known)), targets[~held] - base)
        else:
            inner = known.T @ known + penalty * np.eye(known.shape[1])
            weights = np.linalg.solve(inner, known.T @ (targets[~held] - base))
        scores[held] = asked @ weights + base
    return scores
