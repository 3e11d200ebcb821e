"""Arrays that grow by rows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal_cli.extractors.extraction.growing_array import GrowingArray


@given(st.lists(st.integers(0, 900), min_size=1, max_size=12))
def test_rows_come_back_in_order(lengths: list[int]) -> None:
    pieces = [
        np.arange(length * 2, dtype=np.float32).reshape(length, 2) + index for index, length in enumerate(lengths)
    ]
    grown: GrowingArray[np.float32] = GrowingArray()
    for piece in pieces:
        grown.append(piece)
    assert len(grown) == sum(lengths)
    assert grown.finish().dtype == np.float32
    assert np.array_equal(grown.finish(), np.concatenate(pieces))


def test_nothing_has_no_shape() -> None:
    with pytest.raises(ValueError, match="no rows"):
        GrowingArray().finish()
