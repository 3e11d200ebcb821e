"""Sets of time ranges: what has been reviewed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tal_cli.datasets.annotations import Ranges, joined, ranges_of


def with_range(ranges: Ranges, start: float, end: float) -> Ranges:
    """The set with one range more."""
    return joined((*ranges, (start, end)))


def without(ranges: Ranges, others: Iterable[tuple[float, float]]) -> Ranges:
    """The set without the moments of others."""
    left = list(ranges)
    for first, last in others:
        left = [
            part
            for start, end in left
            for part in ((start, min(end, first)), (max(start, last), end))
            if part[0] < part[1]
        ]
    return tuple(left)


def total(ranges: Ranges) -> float:
    """Seconds in a set."""
    return sum(end - start for start, end in ranges)


def covers(ranges: Ranges, time: float) -> bool:
    """Whether a moment is in a set."""
    return any(start <= time < end for start, end in ranges)


def read_ranges(value: Any) -> Ranges:
    """A set from JSON. Raises ValueError."""
    numbers = (int, float)
    if not isinstance(value, list) or not all(
        isinstance(part, list)
        and len(part) == 2
        and all(isinstance(bound, numbers) and abs(bound) < 1e12 for bound in part)
        for part in value
    ):
        raise ValueError("reviewed is not a list of [start, end]")
    return ranges_of((float(start), float(end)) for start, end in value)
