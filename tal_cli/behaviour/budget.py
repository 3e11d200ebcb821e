"""Time budgets: how often, how long and at what intervals behaviours occur.

Standard deviations are those of samples (n - 1). Intervals are from the end of one bout to the start of the next of the
same label and subject, within a session.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from tal_cli.behaviour.sessions import Session
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
        watched: seconds, of which `share` is one.
    """

    count: int
    seconds: float | None
    share: float | None
    mean: float | None
    sd: float | None
    interval_mean: float | None
    interval_sd: float | None
    latency: float | None
    watched: float


def budget(sessions: Sequence[Session], watched: float, *, is_points: bool | None = None) -> Budget:
    """The budget of all bouts of some sessions, pooled, of which so many seconds were watched.

    is_points: whether they are points, which have no seconds; by default, if they are.
    """
    bouts = [item for session in sessions for item in session.bouts]
    durations = [item.end - item.start for item in bouts if item.kind == STATE]
    if is_points is None:
        is_points = bool(bouts) and not durations
    gaps = [
        after.start - before.end
        for session in sessions
        for same in _apart(session.bouts)
        for before, after in pairwise(sorted(same, key=lambda item: (item.start, item.end)))
    ]
    firsts = [min(item.start for item in session.bouts) - session.start for session in sessions if session.bouts]
    total = sum(durations, 0.0)
    return Budget(
        count=len(bouts),
        seconds=None if is_points else total,
        share=None if is_points or watched <= 0 else total / watched,
        mean=mean(durations),
        sd=deviation(durations),
        interval_mean=mean(gaps),
        interval_sd=deviation(gaps),
        latency=mean(firsts),
        watched=watched,
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


Key = Callable[[Session, GroundTruth], Hashable]  # what is counted together; None: what is not counted


@dataclass(frozen=True)
class Watch:
    """What of a session's time counts as watched.

    Attributes:
        outside: labels whose time does not count, but for themselves.
        of_subject: whether the time from a subject's first start to its last end counts, over all sessions.
    """

    outside: frozenset[str] = frozenset()
    of_subject: bool = False

    def seconds(self, sessions: Sequence[Session], subjects: Collection[str | None], labels: Collection[str]) -> float:
        """Seconds that were watched for labels of subjects: the mean of several subjects."""
        outside = frozenset() if self.outside.issuperset(labels) else self.outside.difference(labels)
        known = [[i for i in session.bouts if i.subject in subjects] for session in sessions]
        taken = sum(i.end - i.start for items in known for i in items if i.label in outside)
        whole = sum(session.length for session in sessions)
        if self.of_subject:
            ends = [[i for items in known for i in items if i.subject == subject] for subject in subjects]
            whole = sum(max(i.end for i in own) - min(i.start for i in own) for own in ends if own) / max(len(ends), 1)
        return whole - taken / max(len(subjects), 1)


ALL = Watch()


def budgets(sessions: Sequence[Session], key: Key, *, watch: Watch = ALL) -> dict[Hashable, Budget]:
    """Budgets of the bouts that have the same key, in the order in which keys occur.

    Sessions count for a key that has the session in it only once: give one session at a time for budgets per session.
    """
    found = {}
    for name, items in _groups(sessions, key).items():
        own = [replace(session, bouts=tuple(part)) for session, part in zip(sessions, items, strict=True)]
        found[name] = budget(own, _watched(sessions, items, watch))
    return found


def _groups(sessions: Sequence[Session], key: Key) -> dict[Hashable, list[list[GroundTruth]]]:
    grouped: dict[Hashable, list[list[GroundTruth]]] = {}
    for number, session in enumerate(sessions):
        for item in session.bouts:
            if (name := key(session, item)) is not None:
                grouped.setdefault(name, [[] for _ in sessions])[number].append(item)
    return grouped


def _watched(sessions: Sequence[Session], groups: Iterable[Iterable[GroundTruth]], watch: Watch) -> float:
    items = [item for group in groups for item in group]
    return watch.seconds(sessions, {item.subject for item in items}, {item.label for item in items})


def merged(items: Iterable[GroundTruth]) -> list[GroundTruth]:
    """States joined where they overlap or touch, and points, in order of time."""
    kept: list[GroundTruth] = []
    for item in sorted(items, key=lambda item: (item.kind == POINT, item.start)):
        if item.kind == STATE and kept and item.start <= kept[-1].end:
            kept[-1] = replace(kept[-1], end=max(kept[-1].end, item.end))
        else:
            kept.append(item)
    return kept


def bins(session: Session, step: float) -> list[tuple[float, float]]:
    """Intervals of `step` seconds from a session's start on; the last one may be shorter."""
    count = max(1, math.ceil((session.end - session.start) / step - 1e-9))
    edges = [session.start + n * step for n in range(count)]
    return list(pairwise([*edges, session.end]))


def bin_budgets(
    session: Session, step: float, key: Key, watch: Watch = ALL
) -> Iterator[tuple[tuple[float, float], dict[Hashable, Budget]]]:
    """Budgets in bins [a, b): each bout is counted, with its whole length, where it starts, and its seconds where it
    passes, so that counts and seconds of all bins add up. Shares are of the time of a bin that was watched; bins
    without such time, in which nothing is, are left out."""
    order = dict.fromkeys(key(session, item) for item in session.bouts)
    for start, end in bins(session, step):
        last = end >= session.end
        begun = replace(
            session, bouts=tuple(i for i in session.bouts if start <= i.start < end or (last and i.start >= end))
        )
        inside = session.within(start, end)
        pieces = {
            name: [item for item in items if item.kind == STATE] for name, (items,) in _groups([inside], key).items()
        }
        whole = {name: items for name, (items,) in _groups([begun], key).items()}
        found = {}
        for name in order:
            if name in whole or pieces.get(name):
                own = [*whole.get(name, ()), *pieces.get(name, ())]
                told = budget([replace(begun, bouts=tuple(whole.get(name, ())))], _watched([inside], [own], watch))
                if told.seconds is not None:
                    seconds = sum((item.end - item.start for item in pieces.get(name, ())), 0.0)
                    told = replace(told, seconds=seconds, share=seconds / told.watched if told.watched > 0 else None)
                found[name] = told
        if inside.length > 0 or found:
            yield (start, end), found


def closed_bins(session: Session, step: float, key: Key) -> Iterator[tuple[tuple[float, float], Session]]:
    """The session in bins that are closed at both ends, as BORIS has them.

    Bouts of one key are joined, then cut: one that begins where a bin ends counts there with 0 s, one that ends where
    it begins does not, and a point counts in both.
    """
    grouped: dict[Hashable, list[GroundTruth]] = {}
    for item in session.bouts:
        grouped.setdefault(key(session, item) or (item.subject, item.label), []).append(item)
    joined = [item for items in grouped.values() for item in merged(items)]
    for start, end in bins(session, step):
        pieces = tuple(
            replace(item, start=max(item.start, start), end=min(item.end, end))
            for item in joined
            if item.start <= end and (item.end > start or item.start == item.end == start)
        )
        yield (start, end), replace(session, length=session.watched_in(start, end), bouts=pieces)
