"""Suppression against a slow reference written from the definition."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal_cli.models.inference.nms import ScoredSegments, suppress, vote
from tal_cli.models.recipe.inference import InferenceConfig


def candidates(rows: list[tuple[int, float, float, float]]) -> ScoredSegments:
    return ScoredSegments(
        labels=np.array([row[0] for row in rows], np.int64),
        starts=np.array([row[1] for row in rows], np.float32),
        ends=np.array([row[1] + row[2] for row in rows], np.float32),
        scores=np.array([row[3] for row in rows], np.float32),
    )


def overlap(a: tuple[float, float], b: tuple[float, float]) -> float:
    inner = max(0.0, min(a[1], b[1]) - max(a[0], b[0]))
    return inner / ((a[1] - a[0] + 1e-6) + (b[1] - b[0] + 1e-6) - inner)


def slow_soft_nms(
    rows: list[tuple[int, float, float, float]], sigma: float, min_score: float
) -> list[tuple[int, float, float, float]]:
    """Greedy: take the best, decay the others of its class by exp(-IoU^2 / sigma), drop what falls below."""
    kept = []
    for label in sorted({row[0] for row in rows}):
        left = [row for row in rows if row[0] == label]
        while left:
            best = max(left, key=lambda row: row[3])
            left.remove(best)
            kept.append(best)
            segment = (best[1], best[1] + best[2])
            left = [
                (name, s, d, score * math.exp(-(overlap(segment, (s, s + d)) ** 2) / sigma))
                for name, s, d, score in left
            ]
            left = [row for row in left if row[3] >= min_score]
    return sorted(kept, key=lambda row: -row[3])


# Distinct scores on a coarse grid: with ties, or near ties after decay, the order is a matter of rounding.
row = st.tuples(
    st.integers(0, 2), st.integers(0, 40).map(lambda n: n / 2), st.integers(0, 20).map(lambda n: n / 2), st.just(0.0)
)


@st.composite
def rows(draw: st.DrawFn) -> list[tuple[int, float, float, float]]:
    drawn = draw(st.lists(row, max_size=25))
    scores = draw(st.permutations(range(len(drawn))))
    return [
        (name, s, d, 0.02 + 0.037 * (rank + 0.618 * math.sin(rank)))
        for (name, s, d, _), rank in zip(drawn, scores, strict=True)
    ]


@settings(deadline=None, max_examples=150)
@given(rows(), st.sampled_from([0.3, 0.5, 0.9]), st.sampled_from([0.0, 0.001, 0.05]))
@pytest.mark.slow
def test_soft_nms_is_what_its_definition_says(
    drawn: list[tuple[int, float, float, float]], sigma: float, min_score: float
) -> None:
    config = InferenceConfig(sigma=sigma, min_score=min_score, max_segments=1000)
    ours = suppress(candidates(drawn), config)
    expected = slow_soft_nms(drawn, sigma, min_score)
    assert len(ours) == len(expected)
    np.testing.assert_allclose(ours.scores, [row[3] for row in expected], rtol=1e-4, atol=1e-6)
    found = sorted(zip(ours.labels.tolist(), ours.starts.tolist(), ours.ends.tolist(), strict=True))
    assert found == sorted((name, s, s + d) for name, s, d, _ in expected)


@settings(deadline=None, max_examples=100)
@given(rows(), st.sampled_from([0.1, 0.5]), st.booleans())
def test_hard_nms_keeps_no_overlap_and_drops_only_overlaps(
    drawn: list[tuple[int, float, float, float]], threshold: float, multiclass: bool
) -> None:
    config = InferenceConfig(nms="hard", iou_threshold=threshold, multiclass=multiclass, min_score=0.0)
    kept = suppress(candidates(drawn), config)
    entries = list(
        zip(kept.labels.tolist(), kept.starts.tolist(), kept.ends.tolist(), kept.scores.tolist(), strict=True)
    )
    assert [entry[3] for entry in entries] == sorted((entry[3] for entry in entries), reverse=True)

    def clash(a: tuple[int, float, float], b: tuple[int, float, float]) -> bool:
        return (not multiclass or a[0] == b[0]) and overlap(a[1:], b[1:]) >= threshold

    for index, entry in enumerate(entries):
        assert not any(clash(entry[:3], other[:3]) for other in entries[:index])
    for label, start, length, score in drawn:
        segment = (label, start, start + length)
        assert any(
            entry[:3] == segment or (clash(entry[:3], segment) and entry[3] > np.float32(score)) for entry in entries
        )


@settings(deadline=None, max_examples=60)
@given(rows(), st.integers(1, 5))
def test_stopping_early_changes_nothing(drawn: list[tuple[int, float, float, float]], limit: int) -> None:
    every = suppress(candidates(drawn), InferenceConfig(max_segments=1000))
    few = suppress(candidates(drawn), InferenceConfig(max_segments=limit))
    np.testing.assert_array_equal(few.scores, every.scores[:limit])


@settings(deadline=None, max_examples=60)
@given(rows())
def test_voting_stays_inside_the_voters_and_is_never_nan(drawn: list[tuple[int, float, float, float]]) -> None:
    everyone = candidates(drawn)
    voted = vote(everyone, everyone, 0.7, by_overlap=False)
    assert np.isfinite(voted.starts).all() and np.isfinite(voted.ends).all()
    if len(everyone):
        assert voted.starts.min() >= everyone.starts.min() - 1e-4
        assert voted.ends.max() <= everyone.ends.max() + 1e-4


def test_voting_is_the_weighted_mean() -> None:
    pair = candidates([(0, 0.0, 10.0, 0.75), (0, 0.0, 8.0, 0.25)])
    voted = vote(pair.take(np.array([0])), pair, 0.7, by_overlap=False)
    assert voted.ends[0] == pytest.approx(0.75 * 10 + 0.25 * 8)
    voted = vote(pair.take(np.array([0])), pair, 0.7, by_overlap=True)
    assert voted.ends[0] == pytest.approx((0.75 * 10 + 0.2 * 8) / 0.95)


@pytest.mark.parametrize("method", ["soft", "hard", "none"])
@pytest.mark.parametrize("multiclass", [True, False])
def test_no_candidates_give_empty_arrays(method: str, multiclass: bool) -> None:
    config = InferenceConfig.model_validate({"nms": method, "multiclass": multiclass, "voting_threshold": 0.7})
    kept = suppress(candidates([]), config)
    assert len(kept) == 0
    assert kept.labels.dtype == np.int64 and kept.scores.dtype == np.float32


@pytest.mark.parametrize("method", ["soft", "hard"])
def test_of_equal_scores_the_first_is_chosen(method: str) -> None:
    """Also of identical segments; those that overlap nothing keep their score and order."""
    same = [(0, 4.0, 2.0, 0.5), (0, 4.0, 2.0, 0.5), (1, 4.0, 2.0, 0.5), (0, 9.0, 1.0, 0.5), (0, 9.5, 1.0, 0.5)]
    kept = suppress(candidates(same), InferenceConfig.model_validate({"nms": method, "iou_threshold": 0.2}))
    whole = kept.scores == np.float32(0.5)
    assert list(zip(kept.labels[whole].tolist(), kept.starts[whole].tolist(), strict=True)) == [(0, 4), (0, 9), (1, 4)]
    assert len(kept) == (5 if method == "soft" else 3)


def test_low_scores() -> None:
    """Hard NMS takes only what is above the threshold, Soft-NMS the best of each class in any case."""
    low = candidates([(0, 1.0, 2.0, 0.1), (0, 5.0, 2.0, 0.05), (1, 1.0, 2.0, 0.95)])
    counts = {"soft": 2, "hard": 1, "none": 3}
    for method, count in counts.items():
        assert len(suppress(low, InferenceConfig.model_validate({"nms": method, "min_score": 0.9}))) == count
