"""Two annotations of the same videos, compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tal_cli.behaviour.agreement import (
    aligned,
    elementary_units,
    held,
    joint_units,
    kappa,
    name_of,
    time_units,
    units_of,
)
from tal_cli.behaviour.bouts import Bout, Counts, match
from tal_cli.behaviour.selection import Selection
from tal_cli.behaviour.sessions import Session, sessions_of
from tal_cli.datasets.annotations import Annotations, GroundTruth, Ranges, common
from tal_cli.datasets.formats.values import stem


@dataclass(frozen=True)
class Pair:
    """What both have of one video, or of one part of it that both have reviewed."""

    name: str
    first: tuple[GroundTruth, ...]
    second: tuple[GroundTruth, ...]

    def of(self, selection: Selection) -> Pair:
        """What of it counts."""
        return replace(self, first=selection.of(self.first), second=selection.of(self.second))


def pairs_of(first: Annotations, second: Annotations) -> list[Pair]:
    """The videos of both: of the same name, file or observation, or the only one of each."""
    ours, theirs = sessions_of(first), sessions_of(second)
    by_name = {name: session for session in reversed(theirs) for name in _names(session, second)}
    couples: list[tuple[Session, Session]] = []
    for session in ours:
        other = next((by_name[name] for name in _names(session, first) if name in by_name), None)
        if other is not None and all(other is not taken for _, taken in couples):
            couples.append((session, other))
    if not couples and len(ours) == len(theirs) == 1:
        couples = [(ours[0], theirs[0])]
    found = []
    for one, other in couples:
        ranges = common(_reviewed(one, first), _reviewed(other, second))
        if ranges is None:
            found.append(Pair(one.name, one.bouts, other.bouts))
            continue
        found += [Pair(one.name, one.within(*span).bouts, other.within(*span).bouts) for span in ranges]
    return found


def _names(session: Session, annotations: Annotations) -> Iterator[str]:
    yield session.video
    if session.video in annotations.videos and annotations.videos[session.video].path:
        yield stem(annotations.videos[session.video].path)
    yield session.name


def _reviewed(session: Session, annotations: Annotations) -> Ranges | None:
    video = annotations.videos.get(session.video)
    return None if video is None else video.reviewed


@dataclass(frozen=True)
class Rules:
    """How two annotations are compared.

    Attributes:
        window: time unit, seconds; also how far points may be apart.
        levels: tIoU thresholds.
        modifiers: whether modifiers have to be the same.
        decimals: of times in the kappa of bouts.
        point_weight: of a point in the kappa of bouts that is weighted by duration, seconds.
        subjects: of whom there are time units, even if they do nothing; empty: of those who do something.
        without_sets: labels without sets of modifiers, of which the kappa of bouts overlooks modifiers: those are areas
            of BORIS's coding maps, which its plugins do not see.
    """

    window: float = 1.0
    levels: Sequence[float] = (0.5,)
    modifiers: bool = False
    decimals: int = 3
    point_weight: float = 1.0
    subjects: Sequence[str | None] = ()
    without_sets: frozenset[str] = frozenset()


def agreement(pairs: Sequence[Pair], rules: Rules) -> dict[str, Any]:
    """The document of `tal agree --format json`; kappas are of the units of all pairs together."""
    window, levels, modifiers = rules.window, rules.levels, rules.modifiers
    times: tuple[list[str], list[str]] = ([], [])
    bouts: tuple[list[str], list[str]] = ([], [])
    weights: list[float] = []
    equal = columns = 0
    for pair in pairs:
        sides = (pair.first, pair.second)
        first, second = time_units(sides, window, _subjects(sides, rules), modifiers=modifiers)
        times[0].extend(first)
        times[1].extend(second)
        same, length = aligned(*joint_units(sides, window, modifiers=modifiers))
        equal, columns = equal + same, columns + length
        coded = [_without_areas(side, rules.without_sets) for side in sides]
        one, other, weight = elementary_units(
            (coded[0], coded[1]), decimals=rules.decimals, modifiers=modifiers, point_weight=rules.point_weight
        )
        bouts[0].extend(one)
        bouts[1].extend(other)
        weights += weight
    labels = sorted({item.label for pair in pairs for item in (*pair.first, *pair.second)})
    overall = {level: _matched(pairs, level, window, modifiers=modifiers) for level in levels}
    confusion: dict[str, Counter[str]] = {}
    for code, theirs in zip(*times, strict=True):
        confusion.setdefault(code, Counter())[theirs] += 1
    kappas = {"time": kappa(*times), "bouts": kappa(*bouts), "bouts_by_duration": kappa(*bouts, weights)}
    return {
        "kappa": {name: found.kappa for name, found in kappas.items()},
        "kappa_of": {
            name: {
                "observed": found.observed,
                "expected": found.expected,
                "units": found.weight,
                "categories": found.categories,
            }
            for name, found in kappas.items()
        },
        "needleman_wunsch": equal / columns if columns else 1.0,
        "f1": {f"{level:.6g}": counts.f1 for level, counts in overall.items()},
        "per_label": {label: _of_label(pairs, label, rules) for label in labels},
        "confusion": {code: dict(counts) for code, counts in confusion.items()},
        "units": len(times[0]),
        "window": window,
        "videos": len({pair.name for pair in pairs}),
    }


def _subjects(sides: Sequence[Sequence[GroundTruth]], rules: Rules) -> list[str | None]:
    return list(rules.subjects or dict.fromkeys(item.subject for side in sides for item in side))


def _without_areas(items: Sequence[GroundTruth], labels: frozenset[str]) -> list[GroundTruth]:
    return [replace(item, modifiers=()) if item.label in labels else item for item in items]


def _of_label(pairs: Sequence[Pair], label: str, rules: Rules) -> dict[str, Any]:
    """Agreement on one label, over time units that reach from the first to the last instance of any label."""
    window, levels, modifiers = rules.window, rules.levels, rules.modifiers
    codes: tuple[list[str], list[str]] = ([], [])
    own = []
    for pair in pairs:
        sides = (pair.first, pair.second)
        first, second = (tuple(item for item in side if item.label == label) for side in sides)
        own.append(replace(pair, first=first, second=second))
        times = units_of(sides, window)
        for side, found in zip((first, second), codes, strict=True):
            for subject in _subjects(sides, rules):
                mine = [item for item in side if item.subject == subject]
                found += [str(bool(code)) for code in held(mine, times, window, modifiers=False)]
    units = Counter(zip(*codes, strict=True))
    return {
        "kappa": kappa(*codes).kappa,
        "f1": {f"{level:.6g}": _matched(own, level, window, modifiers=modifiers).f1 for level in levels},
        "units": {
            "both": units["True", "True"],
            "only_a": units["True", "False"],
            "only_b": units["False", "True"],
            "neither": units["False", "False"],
        },
        "bouts": [sum(len(pair.first) for pair in own), sum(len(pair.second) for pair in own)],
        "seconds": [
            sum(item.end - item.start for pair in own for item in side(pair))
            for side in (lambda pair: pair.first, lambda pair: pair.second)
        ],
    }


def _matched(pairs: Sequence[Pair], level: float, window: float, *, modifiers: bool) -> Counts:
    first, second = (
        [
            Bout(
                (number, name_of(item, modifiers=modifiers), item.subject, item.kind),
                item.start,
                item.end,
                _score(item),
            )
            for number, pair in enumerate(pairs)
            for item in (pair.second if is_second else pair.first)
        ]
        for is_second in (False, True)
    )
    return match(first, second, level, window)


def _score(item: GroundTruth) -> float:
    return 1.0 if item.score is None else item.score
