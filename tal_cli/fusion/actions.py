"""EPIC-KITCHENS: fusion of detected verbs and nouns into actions.

Published systems (ActionFormer's entry, OpenTAD's) fuse the two detectors at each point of their pyramids: the segment
is the mean of both, the score is sqrt(verb score · noun score). Result files do not contain the points, so here a verb
and a noun are paired if their tIoU reaches a threshold; duplicates of an action are suppressed by Soft-NMS.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal_cli.evaluation.predictions import Predictions
from tal_cli.models.inference.nms import ScoredSegments, suppress
from tal_cli.models.inference.tiou import tiou
from tal_cli.models.recipe.inference import InferenceConfig

Ints = NDArray[np.int64]

MINIMUM_OVERLAP = 0.5
BEST_OF_EACH = 2000  # detections of a video that are paired
MOST_PAIRS = 30_000
MOST_ACTIONS = 2000
SIGMA = 0.4  # of the published settings for EPIC-KITCHENS
LEAST_SCORE = 0.001


@dataclass(frozen=True)
class Action:
    """One detected action, in seconds; verb and noun are labels of the detections."""

    video: str
    verb: str
    noun: str
    start: float
    end: float
    score: float


def combine_actions(
    verbs: Predictions, nouns: Predictions, minimum_overlap: float = MINIMUM_OVERLAP, most: int = MOST_ACTIONS
) -> Iterator[Action]:
    """Actions of every video in both files, best first in each video."""
    verb_rows, noun_rows = _rows_by_video(verbs), _rows_by_video(nouns)
    for video, rows in verb_rows.items():
        if video in noun_rows:
            yield from _of_video(video, verbs, rows, nouns, noun_rows[video], minimum_overlap, most)


def _of_video(
    video: str, verbs: Predictions, v: Ints, nouns: Predictions, n: Ints, minimum_overlap: float, most: int
) -> Iterator[Action]:
    overlap = tiou(verbs.starts[v, None], verbs.ends[v, None], nouns.starts[n], nouns.ends[n])
    first, second = np.nonzero(overlap >= minimum_overlap)
    first, second = v[first], n[second]
    scores = np.sqrt(np.maximum(verbs.scores[first] * nouns.scores[second], 0))
    best = np.argsort(-scores, kind="stable")[:MOST_PAIRS]
    first, second, scores = first[best], second[best], scores[best]
    if not best.size:
        return
    names: dict[tuple[str, str], int] = {}
    pairs = [(verbs.labels[a], nouns.labels[b]) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    labels = np.asarray([names.setdefault(pair, len(names)) for pair in pairs], dtype=np.int64)
    starts = (verbs.starts[first] + nouns.starts[second]) / 2
    ends = (verbs.ends[first] + nouns.ends[second]) / 2
    candidates = ScoredSegments(labels, *(column.astype(np.float32) for column in (starts, ends, scores)))
    config = InferenceConfig(
        nms="soft", sigma=SIGMA, min_score=LEAST_SCORE, max_segments=most, multiclass=True, voting_threshold=0.0
    )
    kept = suppress(candidates, config)
    known = list(names)
    for row in range(len(kept)):
        verb, noun = known[kept.labels[row]]
        yield Action(video, verb, noun, float(kept.starts[row]), float(kept.ends[row]), float(kept.scores[row]))


def _rows_by_video(predictions: Predictions) -> dict[str, Ints]:
    """The best rows of each video, best first."""
    rows: dict[str, list[int]] = {}
    for row, video in enumerate(predictions.videos):
        rows.setdefault(video, []).append(row)
    return {
        video: np.asarray(found)[np.argsort(-predictions.scores[found], kind="stable")][:BEST_OF_EACH]
        for video, found in rows.items()
    }
