"""Prefetching: the same items, the same errors, never far ahead."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal_cli.extractors.files.prefetch import prefetch


@given(st.integers(0, 100), st.integers(1, 40))
def test_items_come_in_order(count: int, depth: int) -> None:
    assert list(prefetch(range(count), depth)) == list(range(count))


def test_errors_come_after_the_items_before_them() -> None:
    def items() -> Iterator[int]:
        yield from range(11)
        raise MemoryError("full")

    seen = []
    with pytest.raises(MemoryError, match="full"):
        for item in prefetch(items(), 6):
            seen.append(item)
    assert seen == list(range(11))


@pytest.mark.parametrize("depth", [2, 9, 32])
def test_it_stays_within_its_depth(depth: int) -> None:
    taken = 0
    stalled = threading.Event()

    def items() -> Iterator[int]:
        nonlocal taken
        for item in range(1000):
            taken += 1
            yield item

    stream = prefetch(items(), depth)
    for index in range(100):
        assert next(stream) == index
        stalled.wait(0.001)
        assert taken <= index + 1 + depth + 8


def test_leaving_early_ends_the_taking() -> None:
    ended = threading.Event()

    def items() -> Iterator[int]:
        try:
            yield from range(10**9)
        finally:
            ended.set()

    stream = prefetch(items(), 4)
    assert next(stream) == 0
    stream.close()
    assert ended.wait(10)
