"""Detections of overlapping chunks, joined."""

from __future__ import annotations

import numpy as np

from tal_cli.models.inference.nms import ScoredSegments
from tal_cli.models.inference.overlaps import join_overlaps
from tal_cli.models.recipe.inference import InferenceConfig


def segments(*rows: tuple[int, float, float, float]) -> ScoredSegments:
    labels, starts, ends, scores = zip(*rows, strict=True)
    times = (np.asarray(values, np.float32) for values in (starts, ends, scores))
    return ScoredSegments(np.asarray(labels, np.int64), *times)


def test_only_what_touches_an_overlap_is_suppressed() -> None:
    config = InferenceConfig(nms="overlaps", iou_threshold=0.4, min_score=0)
    first = segments((0, 0, 4, 0.5), (0, 0, 4, 0.4), (0, 8, 12, 0.9), (1, 8, 12, 0.3))
    second = segments((0, 8.5, 12, 0.8), (0, 14, 16, 0.2))
    joined = join_overlaps([first, second], [range(0, 12), range(10, 20)], config, 0.0)
    rows = zip(joined.labels.tolist(), joined.starts.tolist(), joined.scores.tolist(), strict=True)
    assert {(label, start, round(score, 2)) for label, start, score in rows} == {
        (0, 0.0, 0.5),
        (0, 0.0, 0.4),
        (0, 8.0, 0.9),
        (1, 8.0, 0.3),
        (0, 14.0, 0.2),
    }


def test_what_touches_two_overlaps_may_stay_twice() -> None:
    config = InferenceConfig(nms="overlaps", iou_threshold=0.4, min_score=0)
    parts = [segments((0, 0, 1, 0.5)), segments((0, 4, 16, 0.5)), segments((0, 19, 20, 0.5))]
    joined = join_overlaps(parts, [range(0, 6), range(4, 16), range(14, 20)], config, 0.0)
    assert sorted(joined.starts.tolist()) == [0.0, 4.0, 4.0, 19.0]
    alone = join_overlaps(parts[:1], [range(0, 6)], config, 0.0)
    assert len(alone) == 1
