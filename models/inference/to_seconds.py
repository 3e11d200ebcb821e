"""Grid positions to seconds on the video's clock, shared by detection and validation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.models.inference.nms import ScoredSegments

SHORTEST = 1e-4  # seconds: anything shorter, far below one frame, is a rounding artefact


class TimedSegment(NamedTuple):
    """A label from start to end, seconds, with its score in [0, 1]."""

    label: str
    start: float
    end: float
    score: float


def to_seconds(found: ScoredSegments, sequence: FeatureSequence, labels: Sequence[str]) -> list[TimedSegment]:
    """Segments on a sequence's grid as segments in its video, cut to its duration, in the same order.

    Those of which less than `SHORTEST` is left are dropped. Raises ValueError where the sequence has no clock.
    """
    return [
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
