"""Picking the best entries of a level."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from tal_cli.models.inference.candidates import _largest, find_candidates
from tal_cli.models.layers.pyramid import PyramidLayout
from tal_cli.models.predictions import PlainBoundaries, Predictions
from tal_cli.models.recipe.inference import InferenceConfig


@given(st.lists(st.integers(0, 6), max_size=40), st.integers(1, 12))
def test_the_largest_values_come_first_and_equal_ones_in_order(numbers: list[int], limit: int) -> None:
    values = torch.tensor(numbers, dtype=torch.float32)
    expected = sorted(range(len(numbers)), key=lambda index: -numbers[index])[:limit]
    assert _largest(values, limit).tolist() == expected


def test_the_best_of_all_levels_together_may_be_of_one_and_of_any_length() -> None:
    """Six points on three levels; the best two are on the first, and one of them begins where it ends."""
    logits = torch.tensor([3.0, -2.0, 2.0, 0.0, 1.0, -1.0, 0.5])[None, :, None]
    distances = torch.ones(1, 7, 2)
    distances[0, 2] = 0
    valid = torch.ones(1, 7, dtype=torch.bool)
    found = Predictions(PyramidLayout((4, 2, 1), 0), valid, logits, logits, PlainBoundaries(distances))
    config = InferenceConfig(pre_nms_top_k=2, top_k_of="pyramid", min_duration=0)
    together = find_candidates(found, config)
    assert together.starts.tolist() == [-1, 2] and together.ends.tolist() == [1, 2]
    assert len(find_candidates(found, config.model_copy(update={"top_k_of": "level"}))) == 5
    longer = find_candidates(found, config.model_copy(update={"min_duration": 0.05}))
    assert longer.starts.tolist() == [-1]
