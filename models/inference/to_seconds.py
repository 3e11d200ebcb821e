"""Grid positions to seconds on the video's clock, shared by detection and validation."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.models.inference.nms import ScoredSegments
from tal_cli.models.inference.tiou import tiou
from tal_cli.models.recipe.inference import Boundary, InferenceConfig

SHORTEST = 1e-4  # seconds: anything shorter, far below one frame, is a rounding artefact
SAME = 0.5  # tIoU above which two segments of a label are one


STATE, POINT = "state", "point"


class TimedSegment(NamedTuple):
    """A label from start to end, seconds, with its score in [0, 1]; kind `state`, or `point`, whose end is its
    start."""

    label: str
    start: float
    end: float
    score: float
    kind: str = STATE


def to_seconds(
    found: ScoredSegments, sequence: FeatureSequence, labels: Sequence[str], config: InferenceConfig | None = None
) -> list[TimedSegment]:
    """Segments on a sequence's grid as segments in its video, cut to its duration and, if `config` says so, at
    boundaries; in the same order. Of labels that are points for `config`, the middle.

    Those of which less than `SHORTEST` is left are dropped. Raises ValueError where the sequence has no clock.
    """
    segments = [
        TimedSegment(labels[label], start, end, min(1.0, score))
        for label, start, end, score in zip(
            found.labels.tolist(),
            sequence.seconds(found.starts).tolist(),
            sequence.seconds(found.ends).tolist(),
            found.scores.tolist(),
            strict=True,
        )
        if end - start >= SHORTEST
    ]
    if config is not None and config.boundary is not None:
        segments = end_at(config.boundary, segments)
    points = () if config is None else config.points
    return [_point(segment) if segment.label in points else segment for segment in segments] if points else segments


def _point(segment: TimedSegment) -> TimedSegment:
    middle = (segment.start + segment.end) / 2
    return segment._replace(start=middle, end=middle, kind=POINT)


def end_at(boundary: Boundary, segments: Sequence[TimedSegment]) -> list[TimedSegment]:
    """Segments, by falling score, of which those that cross the middle of a boundary keep their longest part; nothing
    of them where a better segment of their label is there already."""
    found = (each for each in segments if each.label == boundary.label and each.score >= boundary.min_score)
    times = sorted((each.start + each.end) / 2 for each in found)
    free = Counter(each.label for each in segments if each.label in boundary.ends)
    there = {label: np.zeros((number, 2)) for label, number in free.items()}  # start and end of those kept so far
    kept: list[TimedSegment] = []
    for segment in segments:
        if segment.label in boundary.ends:
            if inside := times[bisect_right(times, segment.start) : bisect_left(times, segment.end)]:
                parts = pairwise([segment.start, *inside, segment.end])
                start, end = max(parts, key=lambda part: part[1] - part[0])
                others = there[segment.label].T
                if end - start < SHORTEST or (tiou(start, end, others[0], others[1]) > SAME).any():
                    continue
                segment = segment._replace(start=start, end=end)
            free[segment.label] -= 1
            there[segment.label][free[segment.label]] = segment.start, segment.end
        kept.append(segment)
    return kept
