"""Suppression in torch, which GPUs run, against the compiled one: the same segments with the very same scores."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tal_cli.models.inference.device_nms import DeviceCandidates, concatenate_on_device, suppress_on_device
from tal_cli.models.inference.nms import Candidates, suppress
from tal_cli.models.recipe.inference import InferenceConfig

# On coarse grids, so that equal scores, equal segments and empty ones are common.
row = st.tuples(
    st.integers(0, 3),
    st.integers(0, 30).map(lambda n: n / 2),
    st.integers(0, 12).map(lambda n: n / 2),
    st.integers(1, 20).map(lambda n: n / 20),
)


def on_host(rows: list[tuple[int, float, float, float]]) -> Candidates:
    labels, starts, lengths, scores = (np.array([entry[field] for entry in rows]) for field in range(4))
    return Candidates(
        labels.astype(np.int64),
        starts.astype(np.float32),
        (starts + lengths).astype(np.float32),
        scores.astype(np.float32),
    )


def on_device(candidates: Candidates) -> DeviceCandidates:
    fields = (candidates.labels, candidates.starts, candidates.ends, candidates.scores)
    return DeviceCandidates(*(torch.from_numpy(values.copy()) for values in fields))


def assert_same(ours: Candidates, reference: Candidates) -> None:
    np.testing.assert_array_equal(ours.labels, reference.labels)
    np.testing.assert_array_equal(ours.starts, reference.starts)
    np.testing.assert_array_equal(ours.ends, reference.ends)
    np.testing.assert_array_equal(ours.scores, reference.scores)


@settings(deadline=None, max_examples=150)
@given(
    st.lists(row, min_size=1, max_size=40),
    st.sampled_from(["soft", "hard"]),
    st.booleans(),
    st.sampled_from([0.0, 0.05, 0.4]),
    st.sampled_from([2, 1000]),
)
def test_both_keep_the_same(
    rows: list[tuple[int, float, float, float]], method: str, multiclass: bool, least: float, limit: int
) -> None:
    config = InferenceConfig.model_validate(
        {"nms": method, "multiclass": multiclass, "min_score": least, "max_segments": limit, "iou_threshold": 0.3}
    )
    candidates = on_host(rows)
    assert_same(suppress_on_device(on_device(candidates), config).to_host(), suppress(candidates, config))


@pytest.mark.parametrize("classes", [1, 20])
def test_both_keep_the_same_of_many(classes: int) -> None:
    generator = np.random.default_rng(classes)
    middle, length = 500 * generator.random(2000), np.exp(generator.normal(2, 1, 2000))
    candidates = Candidates(
        generator.integers(0, classes, 2000),
        (middle - length).astype(np.float32),
        (middle + length).astype(np.float32),
        generator.random(2000).astype(np.float32) ** 3,
    )
    config = InferenceConfig(sigma=0.4, max_segments=500)
    kept = suppress(candidates, config)
    assert len(kept) == 500
    assert_same(suppress_on_device(on_device(candidates), config).to_host(), kept)


@settings(deadline=None, max_examples=60)
@given(st.lists(row, min_size=1, max_size=30), st.sampled_from(["score", "score-iou"]))
def test_both_vote_alike(rows: list[tuple[int, float, float, float]], weight: str) -> None:
    config = InferenceConfig.model_validate(
        {"multiclass": False, "voting_threshold": 0.6, "voting_weight": weight, "sigma": 0.7}
    )
    candidates = on_host(rows)
    ours, reference = suppress_on_device(on_device(candidates), config).to_host(), suppress(candidates, config)
    np.testing.assert_array_equal(ours.scores, reference.scores)
    np.testing.assert_allclose(ours.starts, reference.starts, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(ours.ends, reference.ends, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("method", ["soft", "hard", "none"])
def test_nothing_stays_nothing(method: str) -> None:
    config = InferenceConfig.model_validate({"nms": method, "min_score": 0.9})
    nothing = on_device(on_host([]))
    assert len(suppress_on_device(nothing, config)) == 0
    low = on_device(on_host([(0, 1.0, 2.0, 0.1)]))
    assert_same(suppress_on_device(low, config).to_host(), suppress(low.to_host(), config))


def test_parts_join_and_move() -> None:
    part = on_device(on_host([(1, 0.0, 2.0, 0.5)]))
    joined = concatenate_on_device([part, part.shift(8)]).to_host()
    np.testing.assert_array_equal(joined.starts, [0, 8])
    np.testing.assert_array_equal(joined.ends, [2, 10])
