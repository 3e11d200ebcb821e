"""Agreement of two people, or of a person and a model: Cohen's kappa by time unit and by bout, and Needleman-Wunsch."""

from __future__ import annotations

import itertools
import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal_cli.datasets.annotations import POINT, STATE, GroundTruth
from tal_cli.datasets.formats.boris.timeline import modifier_text

Bouts = Sequence[GroundTruth]
Codes = NDArray[np.int64]
MATCH, MISMATCH = np.int32(1), np.int32(-1)


@dataclass(frozen=True)
class Kappa:
    """Cohen's kappa with the agreement that was observed and that chance would give, the weight of all units, and how
    many different codes there are."""

    kappa: float
    observed: float
    expected: float
    weight: float
    categories: int


def kappa(first: Sequence[str], second: Sequence[str], weights: Sequence[float] | None = None) -> Kappa:
    """Cohen's kappa of two codings of the same units; 1 where chance alone would agree."""
    weights = [1.0] * len(first) if weights is None else weights
    total = sum(weights)
    if total <= 0:
        return Kappa(1.0, 1.0, 1.0, 0.0, 0)
    own: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
    observed = 0.0
    for a, b, weight in zip(first, second, weights, strict=True):
        own[0][a] += weight  # type: ignore[assignment]
        own[1][b] += weight  # type: ignore[assignment]
        observed += weight * (a == b)
    observed /= total
    expected = sum(own[0][code] * own[1][code] for code in own[0]) / total**2
    value = 1.0 if expected == 1 else (observed - expected) / (1 - expected)
    return Kappa(value, observed, expected, total, len({*first, *second}))


def name_of(item: GroundTruth, *, modifiers: bool) -> str:
    """A label, with its modifiers if they count."""
    text = modifier_text(item.modifiers) if modifiers else ""
    return f"{item.label}|{text}" if text else item.label


def time_units(
    pair: tuple[Bouts, Bouts], interval: float, subjects: Iterable[str | None], *, modifiers: bool = False
) -> tuple[list[str], list[str]]:
    """What holds in each time unit, for each subject in turn: from the first start to the last end of the two.

    States hold from start to end, both inside; points within half an interval. What different subjects do is different;
    that they do nothing is the same.
    """
    codes: tuple[list[str], list[str]] = ([], [])
    times = units_of(pair, interval)
    for subject in subjects:
        for bouts, found in zip(pair, codes, strict=True):
            own = [item for item in bouts if item.subject == subject]
            found += held(own, times, interval, modifiers=modifiers)
    return codes


def joint_units(pair: tuple[Bouts, Bouts], interval: float, *, modifiers: bool = False) -> tuple[list[str], list[str]]:
    """What all subjects do in each time unit; see `time_units`."""
    times = units_of(pair, interval)
    first, second = (held(bouts, times, interval, modifiers=modifiers) for bouts in pair)
    return first, second


def units_of(pair: tuple[Bouts, Bouts], interval: float) -> list[float]:
    """Times of the units from the first start to the last end of the two, seconds."""
    everything = [item for bouts in pair for item in bouts]
    if not everything:
        return []
    return _steps(min(item.start for item in everything), max(item.end for item in everything), interval)


def _steps(start: float, end: float, interval: float) -> list[float]:
    """Times from start to end, the end included, as sums of decimal steps."""
    count = int(round((end - start) / interval, 6))
    return [round(start + n * interval, 6) for n in range(count + 1)]


def held(bouts: Bouts, times: Sequence[float], interval: float, *, modifiers: bool) -> list[str]:
    """What holds at each of the times, of all subjects; see `time_units`."""
    found: list[set[str]] = [set() for _ in times]
    grid = np.asarray(times)
    for item in bouts:
        name = f"{item.subject or ''}|{name_of(item, modifiers=modifiers)}"
        reach = interval / 2 if item.kind == POINT else 0.0
        first = int(np.searchsorted(grid, item.start - reach - 1e-9))
        last = int(np.searchsorted(grid, item.end + reach + 1e-9))
        for unit in range(first, last):
            found[unit].add(name)
    return ["+".join(sorted(names)) for names in found]


def needleman_wunsch(first: Sequence[str], second: Sequence[str]) -> float:
    """Share of equal columns of two aligned sequences; see `aligned`."""
    equal, length = aligned(first, second)
    return equal / length if length else 1.0


def aligned(first: Sequence[str], second: Sequence[str]) -> tuple[int, int]:
    """Equal columns, and all, when two sequences are aligned globally: match +1, mismatch -1, gap -1.

    Traced back by the diagonal, then by a gap in the second, then by one in the first.
    """
    numbers = {code: index for index, code in enumerate(dict.fromkeys((*first, *second)))}
    a, b = (np.asarray([numbers[code] for code in codes], dtype=np.int64) for codes in (first, second))
    size = max(1, math.isqrt(len(a)))
    kept = [-np.arange(len(b) + 1, dtype=np.int32)]  # every size-th row of scores: all would not fit into memory
    for begin in range(0, len(a), size):
        kept.append(_scores(a[begin : begin + size], b, kept[-1])[-1].copy())
    column, equal, length = len(b), 0, 0
    for number in range(len(kept) - 2, -1, -1):
        part = a[number * size : (number + 1) * size]
        score = _scores(part, b, kept[number])
        row = len(part)
        while row:
            length += 1
            same = column > 0 and part[row - 1] == b[column - 1]
            if column and score[row, column] == score[row - 1, column - 1] + (1 if same else -1):
                equal += bool(same)
                row, column = row - 1, column - 1
            elif score[row, column] == score[row - 1, column] - 1:
                row -= 1
            else:
                column -= 1
    return equal, length + column


def _scores(part: Codes, b: Codes, before: NDArray[np.int32]) -> NDArray[np.int32]:
    """The scores of alignments up to some rows and all columns, after the row before, [rows + 1, columns + 1]."""
    score = np.empty((len(part) + 1, len(b) + 1), dtype=np.int32)
    score[0] = before
    columns = np.arange(len(b) + 1, dtype=np.int32)
    for row, code in enumerate(part, start=1):
        score[row, 0] = score[row - 1, 0] - 1
        score[row, 1:] = np.maximum(score[row - 1, :-1] + np.where(b == code, MATCH, MISMATCH), score[row - 1, 1:] - 1)
        # Gaps in the row itself: the best of all cells before, less their distance.
        score[row] = np.maximum.accumulate(score[row] + columns) - columns
    return score


def elementary_units(
    pair: tuple[Bouts, Bouts], *, decimals: int = 3, modifiers: bool = False, point_weight: float = 1.0
) -> tuple[list[str], list[str], list[float]]:
    """Codes of both in the intervals between all starts and ends of states, at each point, and their weights.

    Times are rounded first; a code is `subject|label` of the states that hold, joined by `+`. The weight of an interval
    is its length in seconds, that of a point, or of a bout that has become empty, is `point_weight`.
    """
    rounded = [[(item, _round(item.start, decimals), _round(item.end, decimals)) for item in bouts] for bouts in pair]
    edges = sorted({
        time for items in rounded for item, start, end in items if item.kind == STATE and start < end
        for time in (start, end)
    })  # fmt: skip
    moments = sorted({
        start for items in rounded for item, start, end in items if item.kind == POINT or start == end
    })  # fmt: skip
    weights = [round(end - start, 9) for start, end in itertools.pairwise(edges)]
    weights += [point_weight] * len(moments)
    first, second = (
        _coded(items, edges[:-1], modifiers=modifiers) + _coded(items, moments, modifiers=modifiers, with_moments=True)
        for items in rounded
    )
    return first, second, weights


def _coded(
    items: Iterable[tuple[GroundTruth, float, float]],
    times: Sequence[float],
    *,
    modifiers: bool,
    with_moments: bool = False,
) -> list[str]:
    """The codes that hold at each of the rising times, of states with start <= time < end, and of moments there."""
    codes: list[list[str]] = [[] for _ in times]
    for item, start, end in items:
        is_moment = item.kind == POINT or start == end
        if is_moment and not with_moments:
            continue
        last = bisect_right(times, start) if is_moment else bisect_left(times, end)
        for unit in range(bisect_left(times, start), last):
            codes[unit].append(f"{item.subject or ''}|{name_of(item, modifiers=modifiers)}")
    return ["+".join(sorted(names)) for names in codes]


def _round(time: float, decimals: int) -> float:
    """A time rounded half to even."""
    return float(round(time * 10**decimals) / 10**decimals)
