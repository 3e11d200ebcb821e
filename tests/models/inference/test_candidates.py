"""Picking the best entries of a level."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from tal_cli.models.inference.candidates import _largest


@given(st.lists(st.integers(0, 6), max_size=40), st.integers(1, 12))
def test_the_largest_values_come_first_and_equal_ones_in_order(numbers: list[int], limit: int) -> None:
    values = torch.tensor(numbers, dtype=torch.float32)
    expected = sorted(range(len(numbers)), key=lambda index: -numbers[index])[:limit]
    assert _largest(values, limit).tolist() == expected
