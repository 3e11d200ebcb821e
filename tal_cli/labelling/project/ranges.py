"""Sets of time ranges: what has been reviewed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

Ranges = tuple[tuple[float, float], ...]  # seconds, ascending, neither empty nor touching


def joined(parts: Iterable[tuple[float, float]]) -> Ranges:
    """Any ranges as a set."""
    done: list[tuple[float, float]] = []
    for start, end in sorted(parts):
        if done and start <= done[-1][1]:
            done[-1] = (done[-1][0], max(done[-1][1], end))
        elif end > start:
            done.append((start, end))
    return tuple(done)


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
    return joined((float(start), float(end)) for start, end in value)
