"""Time budgets: how often, how long and at what intervals behaviours occur.

Standard deviations are those of samples (n - 1). Intervals are from the end of one bout to the start of the next of the
same label and subject, within a session.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tal_cli.behaviour.sessions import Session, overlap
from tal_cli.datasets.annotations import POINT, STATE, GroundTruth


@dataclass(frozen=True)
class Budget:
    """Statistics of bouts of one kind; None where there is nothing to compute from.

    Attributes:
        count: number of bouts, or of points.
        seconds: their sum; None for points.
        share: of the watched time, in [0, 1].
        mean, sd: of bouts, seconds.
        interval_mean, interval_sd: between them, seconds.
        latency: start of the first, seconds after the session's; the mean of several sessions.
    """

    count: int
    seconds: float | None
    share: float | None
    mean: float | None
    sd: float | None
    interval_mean: float | None
    interval_sd: float | None
    latency: float | None


def budget(sessions: Sequence[tuple[float, Sequence[GroundTruth]]]) -> Budget:
    """The budget of bouts pooled over sessions, each with the seconds that were watched."""
    bouts = [item for _, items in sessions for item in items]
    durations = [item.end - item.start for item in bouts if item.kind == STATE]
    is_points = bool(bouts) and not durations
    gaps = [
        after.start - before.end
        for _, items in sessions
        for same in _apart(items)
        for before, after in pairwise(sorted(same, key=lambda item: item.start))
    ]
    firsts = [min(item.start for item in items) for _, items in sessions if items]
    watched = sum(seconds for seconds, _ in sessions)
    total = sum(durations)
    return Budget(
        count=len(bouts),
        seconds=None if is_points else total,
        share=None if is_points or watched <= 0 else total / watched,
        mean=mean(durations),
        sd=deviation(durations),
        interval_mean=mean(gaps),
        interval_sd=deviation(gaps),
        latency=mean(firsts),
    )


def _apart(items: Iterable[GroundTruth]) -> Iterable[list[GroundTruth]]:
    """Bouts of one subject and label each."""
    groups: dict[tuple[str | None, str], list[GroundTruth]] = {}
    for item in items:
        groups.setdefault((item.subject, item.label), []).append(item)
    return groups.values()


def mean(values: Sequence[float]) -> float | None:
    """The mean; None of nothing."""
    return statistics.fmean(values) if values else None


def deviation(values: Sequence[float]) -> float | None:
    """The standard deviation of a sample; None of fewer than two values."""
    return statistics.stdev(values) if len(values) > 1 else None


Key = Callable[[Session, GroundTruth], Hashable]


def budgets(
    sessions: Sequence[Session],
    key: Key,
    *,
    outside: Iterable[str] = (),
    subject_of: Key = lambda _, item: item.subject,
) -> dict[Hashable, Budget]:
    """Budgets of the bouts that have the same key, in the order in which keys occur.

    The watched time of a key is that of all sessions, less the time in which its subject shows a label of `outside`.
    Sessions count for a key that has the session in it only once: give one session at a time for budgets per session.
    """
    left_out = set(outside)
    grouped: dict[Hashable, list[list[GroundTruth]]] = {}
    subjects: dict[Hashable, Hashable] = {}
    for number, session in enumerate(sessions):
        for item in session.bouts:
            name = key(session, item)
            grouped.setdefault(name, [[] for _ in sessions])[number].append(item)
            subjects.setdefault(name, subject_of(session, item))
    found = {}
    for name, items in grouped.items():
        own = {item.label for part in items for item in part}
        watched = [
            session.length
            - sum(
                bout.end - bout.start
                for bout in session.bouts
                if bout.label in left_out - own and subject_of(session, bout) == subjects[name]
            )
            for session in sessions
        ]
        found[name] = budget(list(zip(watched, items, strict=True)))
    return found


def merged(items: Iterable[GroundTruth]) -> list[GroundTruth]:
    """States joined where they overlap or touch, and points, in order of time."""
    kept: list[GroundTruth] = []
    for item in sorted(items, key=lambda item: (item.kind == POINT, item.start)):
        if item.kind == STATE and kept and item.start <= kept[-1].end:
            kept[-1] = replace(kept[-1], end=max(kept[-1].end, item.end))
        else:
            kept.append(item)
    return kept


def bins(length: float, step: float) -> list[tuple[float, float]]:
    """Intervals of `step` seconds from 0 on; the last one may be shorter."""
    count = max(1, math.ceil(length / step - 1e-9))
    return [(n * step, min((n + 1) * step, length)) for n in range(count)]


def bin_budgets(
    session: Session, step: float, key: Key
) -> Iterator[tuple[tuple[float, float], dict[Hashable, Budget]]]:
    """Budgets in bins [a, b): each bout is counted, with its whole length, where it starts, and its seconds where it
    passes, so that counts and seconds of all bins add up. Shares are of the time of a bin that was watched; bins
    without such time, in which nothing is, are left out."""
    order = dict.fromkeys(key(session, item) for item in session.bouts)
    for start, end in bins(session.end, step):
        last, watched = end >= session.end, session.watched_in(start, end)
        begun = tuple(i for i in session.bouts if start <= i.start < end or (last and i.start >= end))
        found = budgets([replace(session, length=watched, bouts=begun)], key)
        seconds: dict[Hashable, float] = {}
        for item in session.bouts:
            if item.kind == STATE and (inside := overlap(item, start, end)) > 0:
                seconds[key(session, item)] = seconds.get(key(session, item), 0.0) + inside
        for name in dict.fromkeys((*found, *seconds)):
            whole = found.get(name, Budget(0, 0.0, 0.0, None, None, None, None, None))
            if whole.seconds is not None:
                inside = seconds.get(name, 0.0)
                found[name] = replace(whole, seconds=inside, share=inside / watched if watched > 0 else None)
        if watched > 0 or found:
            yield (start, end), {name: found[name] for name in order if name in found}


def closed_bins(session: Session, step: float, key: Key) -> Iterator[tuple[tuple[float, float], Session]]:
    """The session in bins that are closed at both ends, as BORIS has them.

    Bouts of one key are joined, then cut: one that begins where a bin ends counts there with 0 s, and a point twice.
    """
    grouped: dict[Hashable, list[GroundTruth]] = {}
    for item in session.bouts:
        grouped.setdefault(key(session, item), []).append(item)
    joined = [item for items in grouped.values() for item in merged(items)]
    for start, end in bins(session.end, step):
        pieces = tuple(
            replace(item, start=max(item.start, start), end=min(item.end, end))
            for item in joined
            if item.start <= end and item.end >= start
        )
        yield (start, end), replace(session, length=session.watched_in(start, end), bouts=pieces)
