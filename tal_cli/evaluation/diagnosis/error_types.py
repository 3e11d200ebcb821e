"""Error types of predictions, after Alwassel et al. (2018), Figure 2.

An unmatched prediction is classified by the ground-truth segment of any label with the highest tIoU; among equal ones,
the first in file order. Shapes: P predictions, N thresholds.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from tal_cli.datasets.annotations import VideoAnnotation
from tal_cli.evaluation.matching import CHUNK, Floats, Ints
from tal_cli.evaluation.predictions import Predictions
from tal_cli.models.inference.tiou import tiou

LOCALIZATION_FLOOR = 0.1  # a lower tIoU with every segment means background


class Kind(IntEnum):
    """True positive or error type of a prediction, in the order of the published figures."""

    TRUE_POSITIVE = 0
    DOUBLE_DETECTION = 1
    WRONG_LABEL = 2
    LOCALIZATION = 3
    CONFUSION = 4
    BACKGROUND = 5

    @property
    def words(self) -> str:
        """Name in tables."""
        return self.name.replace("_", " ").lower()

    @property
    def published_name(self) -> str:
        """Name in the published tool."""
        words = self.name.replace("_", " ").title()
        return words if self is Kind.TRUE_POSITIVE else f"{words} Err"


ERRORS = tuple(kind for kind in Kind if kind is not Kind.TRUE_POSITIVE)


def classify(
    predictions: Predictions, rows: Ints, videos: Sequence[VideoAnnotation], matched: NDArray[np.bool_], tiou: Floats
) -> Ints:
    """The kind of each prediction at each threshold, [N, P].

    Args:
        predictions: all predictions.
        rows: rows of the predictions to classify, [P].
        videos: ground truth.
        matched: whether each is matched to an instance, [N, P].
        tiou: tIoU thresholds, [N].
    """
    overlap, same = _nearest(predictions, rows, videos)
    found = overlap >= tiou[:, None]
    kinds = np.where(
        found,
        np.where(same, Kind.DOUBLE_DETECTION, Kind.WRONG_LABEL),
        np.where(same, Kind.LOCALIZATION, Kind.CONFUSION),
    )
    kinds = np.where(found | (overlap >= LOCALIZATION_FLOOR), kinds, Kind.BACKGROUND)
    return np.where(matched, Kind.TRUE_POSITIVE, kinds).astype(np.int64)


def _nearest(
    predictions: Predictions, rows: Ints, videos: Sequence[VideoAnnotation]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Highest tIoU with a segment of the video, and whether that has the prediction's label, both [P]."""
    by_name: dict[str, list[int]] = {}
    for position, row in enumerate(rows.tolist()):
        by_name.setdefault(predictions.videos[row], []).append(position)
    numbers: dict[str, int] = {}
    label = np.asarray([numbers.setdefault(predictions.labels[row], len(numbers)) for row in rows.tolist()], np.int64)
    overlap, same = np.zeros(len(rows)), np.zeros(len(rows), dtype=bool)
    for video in videos:
        positions = np.asarray(by_name.get(video.name, []), dtype=np.int64)
        if not positions.size or not video.segments:
            continue
        starts, ends = np.asarray([(item.start, item.end) for item in video.segments]).T
        ground_truth = np.asarray([numbers.get(item.label, -1) for item in video.segments], dtype=np.int64)
        for part in np.array_split(positions, -(-len(positions) * len(ground_truth) // CHUNK)):
            row = rows[part]
            ratio = tiou(predictions.starts[row, None], predictions.ends[row, None], starts, ends)
            ratio[np.isnan(ratio)] = 0
            best = ratio.argmax(axis=1)
            overlap[part] = ratio[np.arange(len(part)), best]
            same[part] = ground_truth[best] == label[part]
    return overlap, same
