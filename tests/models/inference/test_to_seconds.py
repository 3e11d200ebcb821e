"""Segments on the grid to segments in a video."""

from __future__ import annotations

import numpy as np
import pytest

from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.models.inference.nms import ScoredSegments
from tal_cli.models.inference.to_seconds import SHORTEST, TimedSegment, end_at, to_seconds
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.inference import Boundary, InferenceConfig

CONTRACT = FeatureSpec(extractor="x", channels=2, window=16, stride=4).contract()
UNKNOWN = FeatureSequence(features=np.zeros((61, 2), np.float32), contract=None, fps=0, frames=0, duration=0)


def on_grid(*rows: tuple[int, float, float, float]) -> ScoredSegments:
    labels, starts, ends, scores = (np.array(column) for column in zip(*rows, strict=True))
    return ScoredSegments(labels, starts, ends, scores.astype(np.float32))


def test_segments_are_cut_to_the_video_and_keep_their_order() -> None:
    found = on_grid((1, -9.0, 3.0, 0.5), (0, 50.0, 99.0, 1.5), (1, 3.0, 5.5, 0.25))
    segments = to_seconds(found, UNKNOWN.following(CONTRACT, 25.0), ("hop", "skip"))
    assert [segment.label for segment in segments] == ["skip", "hop", "skip"]
    assert [segment.score for segment in segments] == [0.5, 1.0, 0.25]
    duration = (60 * 4 + 16) / 25
    times = [(0.0, 20 / 25), (208 / 25, duration), (20 / 25, 30 / 25)]
    assert [(segment.start, segment.end) for segment in segments] == [pytest.approx(pair) for pair in times]


def test_what_lies_outside_or_is_too_short_is_dropped() -> None:
    cells = SHORTEST * 25 / 4
    found = on_grid((0, -9.0, -5.0, 0.9), (0, 90.0, 99.0, 0.8), (0, 7.0, 7.0 + 0.9 * cells, 0.7), (0, 7.0, 7.1, 0.6))
    assert [segment.score for segment in to_seconds(found, UNKNOWN.following(CONTRACT, 25.0), ("hop",))] == [
        pytest.approx(0.6)
    ]


def test_without_a_clock_there_are_no_seconds() -> None:
    with pytest.raises(ValueError, match="have no times"):
        to_seconds(on_grid((0, 1.0, 2.0, 0.5)), UNKNOWN, ("hop",))


def test_a_found_boundary_ends_what_crosses_it() -> None:
    boundary = Boundary(label="cut", min_score=0.6, ends=("pan",))
    crossing, same = TimedSegment("pan", 1.0, 6.0, 0.8), TimedSegment("pan", 2.2, 6.2, 0.5)
    other, cut = TimedSegment("sit", 1.0, 6.0, 0.7), TimedSegment("cut", 1.9, 2.1, 0.6)
    assert end_at(boundary, [crossing, other, cut, same]) == [
        crossing._replace(start=2.0),
        other,
        cut,
        same,
    ]
    # Of two that would be one segment beyond the cut, the better stays.
    assert end_at(boundary, [crossing, cut, same._replace(start=1.5)]) == [crossing._replace(start=2.0), cut]
    doubtful = cut._replace(score=0.59)
    assert end_at(boundary, [crossing, doubtful]) == [crossing, doubtful]


def test_boundaries_of_a_recipe() -> None:
    found = on_grid((0, 2.0, 12.0, 0.9), (1, 4.5, 5.5, 0.4))
    clock = UNKNOWN.following(CONTRACT, 25.0)
    config = InferenceConfig(boundary=Boundary(label="cut", ends=("pan",)))
    pan, cut = to_seconds(found, clock, ("pan", "cut"), config)
    assert pan.start == pytest.approx((cut.start + cut.end) / 2)
    assert to_seconds(found, clock, ("pan", "cut"))[0].start < cut.start
