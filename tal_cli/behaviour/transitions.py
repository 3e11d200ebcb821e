"""What follows what: sequences of behaviours, their transitions, and latencies from one behaviour to another."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tal_cli.datasets.annotations import POINT, GroundTruth
from tal_cli.datasets.formats.boris.timeline import set_text

Mode = Literal["number", "frequency", "frequencies_after_behaviors"]
STOP, MOMENT, START, STOP_AT_ONCE = range(4)  # order of events of one instant


def with_modifiers(item: GroundTruth) -> str:
    """A label with its modifiers, as in `rear&left;slow`; points always have the sign."""
    text = ";".join(map(set_text, item.modifiers))
    return f"{item.label}&{text}" if text or item.kind == POINT else item.label


def sequence(bouts: Iterable[GroundTruth], *, modifiers: bool = False) -> list[str]:
    """What one subject does, one entry per event: the states that hold, in order of their names, joined by `+`.

    A start gives the states that hold after it, a stop those that still hold (none: no entry), a point its name after
    them, which are then in the order in which they began, as BORIS has them.
    """
    events: list[tuple[float, int, str]] = []
    for item in bouts:
        name = with_modifiers(item) if modifiers else item.label
        if item.kind == POINT:
            events.append((item.start, MOMENT, name))
        else:
            events += [(item.start, START, name), (item.end, STOP if item.end > item.start else STOP_AT_ONCE, name)]
    held: list[str] = []
    found = []
    for _, what, name in sorted(events):
        if what == START:
            held.append(name)
        elif what != MOMENT:
            held.remove(name)
        shown = [*held, name] if what == MOMENT else sorted(held)
        if shown:
            found.append("+".join(shown))
    return found


@dataclass(frozen=True)
class Transitions:
    """Transitions from rows to columns, [names, names]."""

    names: tuple[str, ...]
    table: NDArray[np.float64]


def transitions(sequences: Iterable[Sequence[str]], mode: Mode = "number") -> Transitions:
    """How often each entry follows each: numbers, shares of all, or shares of those from the same entry (0 of none)."""
    sequences = list(sequences)
    names = tuple(sorted({name for each in sequences for name in each}))
    places = {name: index for index, name in enumerate(names)}
    table = np.zeros((len(names), len(names)))
    for each in sequences:
        for before, after in pairwise(each):
            table[places[before], places[after]] += 1
    if mode == "frequency" and table.sum():
        table /= table.sum()
    elif mode == "frequencies_after_behaviors":
        table /= np.maximum(table.sum(axis=1, keepdims=True), 1)
    return Transitions(names, table)


@dataclass(frozen=True)
class Latency:
    """Seconds from the end of the latest `before` to a start of `after`; negative where it still held."""

    before: str
    after: str
    stop: float
    start: float

    @property
    def seconds(self) -> float:
        """The latency."""
        return self.start - self.stop


def latencies(bouts: Iterable[GroundTruth]) -> Iterator[Latency]:
    """Of each bout of a subject, the latency after each other label that was seen before."""
    latest: dict[str, float] = {}
    for item in sorted(bouts, key=lambda item: (item.start, item.end, item.label)):
        for label, stop in latest.items():
            if label != item.label:
                yield Latency(label, item.label, stop, item.start)
        latest[item.label] = item.end


def after_markers(
    bouts: Sequence[GroundTruth], markers: Collection[str], labels: Collection[str]
) -> list[tuple[GroundTruth, dict[tuple[str, str | None], list[float]]]]:
    """From each start of a marker until the next: seconds to each start of the labels, by label and subject."""
    ordered = sorted(bouts, key=lambda item: item.start)
    starts = [item.start for item in ordered]
    found = []
    marks = [item for item in ordered if item.label in markers]
    for mark, following in zip(marks, [*(item.start for item in marks[1:]), float("inf")], strict=True):
        times: dict[tuple[str, str | None], list[float]] = {}
        for item in ordered[bisect_left(starts, mark.start) : bisect_left(starts, following)]:
            if item.label in labels and item is not mark:
                times.setdefault((item.label, item.subject), []).append(item.start - mark.start)
        found.append((mark, times))
    return found
