"""The tables of `tal stats`: rows of budgets, transitions, and latencies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import product
from statistics import median
from typing import Any

from tal_cli.behaviour.budget import Budget, Key, Watch, bin_budgets, budget, budgets, closed_bins, deviation, mean
from tal_cli.behaviour.selection import Selection
from tal_cli.behaviour.sessions import Session
from tal_cli.behaviour.transitions import after_markers, latencies, sequence, transitions
from tal_cli.datasets.annotations import POINT, Annotations, GroundTruth
from tal_cli.datasets.formats.boris.timeline import modifier_text

FIELDS = ("video", "observation", "subject", "label", "category", "group", "modifiers")
WHERE = ("video", "observation")  # fields that tell sessions apart
DIGITS = 9  # of seconds and shares: sums of times have no sensible more

Row = dict[str, Any]


def stat_rows(
    sessions: Sequence[Session],
    annotations: Annotations,
    fields: Sequence[str],
    selection: Selection,
    watch: Watch,
    step: float | None = None,
    *,
    is_closed: bool = False,
    with_absent: bool = False,
) -> list[Row]:
    """Rows of statistics, one for each combination of the fields that occurs; in bins of `step` seconds.

    is_closed: whether bins are closed at both ends. with_absent: whether what does not occur has rows as well.
    """
    key = _key(annotations, fields, selection)
    apart = [[session] for session in sessions] if step is not None or set(fields) & set(WHERE) else [sessions]
    absent = _combinations(sessions, annotations, selection) if with_absent else []
    rows: list[Row] = []
    for part in apart:
        if step is None:
            found = _completed(budgets(part, key, watch=watch), part, key, absent, watch)
            rows += [_row(fields, name, told) for name, told in found.items()]
            continue
        (session,) = part
        for span, parts in _binned(session, step, key, watch, is_closed=is_closed):
            cut = [session.within(*span)] if absent else []
            for name, told in _completed(parts, cut, key, absent, watch).items():
                rows.append({**_row(fields, name, told), "video": session.video, "bin": list(span)})
    return rows


def _key(annotations: Annotations, fields: Sequence[str], selection: Selection) -> Key:
    about = {item.name: item for item in annotations.definitions}

    def key(session: Session, item: GroundTruth) -> tuple[object, ...] | None:
        if not selection.has_label(item.label):
            return None
        known = about.get(item.label)
        told = {
            "video": session.video,
            "observation": session.name,
            "subject": item.subject,
            "label": item.label,
            "category": known.category if known else "",
            "group": known.group if known else "",
            "modifiers": modifier_text(item.modifiers),
        }
        return tuple(told[field] for field in fields)

    return key


def _binned(
    session: Session, step: float, key: Key, watch: Watch, *, is_closed: bool
) -> Iterator[tuple[tuple[float, float], dict[Any, Budget]]]:
    if is_closed:
        for span, part in closed_bins(session, step, key):
            yield span, budgets([part], key, watch=watch)
    else:
        yield from bin_budgets(session, step, key, watch)


def _combinations(sessions: Sequence[Session], annotations: Annotations, selection: Selection) -> list[GroundTruth]:
    """An instance of each subject and label, with each of the modifiers that the label occurs with."""
    items = [item for session in sessions for item in session.bouts]
    kinds = {item.name: item.kind for item in annotations.definitions}
    modifiers: dict[str, dict[tuple[tuple[str, ...], ...], None]] = {name: {} for name in kinds}
    for item in items:
        kinds.setdefault(item.label, item.kind)
        modifiers.setdefault(item.label, {})[item.modifiers] = None
    known = [None, *annotations.subjects] if annotations.subjects else []
    subjects = selection.subjects or tuple(dict.fromkeys([*known, *(item.subject for item in items)])) or (None,)
    return [
        GroundTruth(label, 0.0, 0.0, kind, subject, told)
        for subject, (label, kind) in product(subjects, kinds.items())
        for told in modifiers[label] or [()]
    ]


def _completed(
    found: dict[Any, Budget], sessions: Sequence[Session], key: Key, absent: Sequence[GroundTruth], watch: Watch
) -> dict[Any, Budget]:
    """The budgets, and those of what does not occur."""
    told = dict(found)
    for session, item in product(sessions, absent):
        name = key(session, item)
        if name is not None and name not in told:
            watched = watch.seconds(sessions, [item.subject], [item.label])
            told[name] = budget([], watched, is_points=item.kind == POINT)
    return told


def _row(fields: Sequence[str], name: Any, found: Budget) -> Row:
    numbers = {key: round(v, DIGITS) if isinstance(v, float) else v for key, v in asdict(found).items()}
    if "label" not in fields:  # points that are pooled with other labels last 0 s
        numbers["seconds"] = numbers["seconds"] or 0.0
        numbers["share"] = numbers["share"] or (0.0 if found.watched > 0 else None)
    told: Row = {"video": None, "subject": None, "label": None}
    return {**told, **dict(zip(fields, name, strict=True)), **numbers}


def _place(session: Session) -> Row:
    return {"video": session.video, "observation": session.name}


def by_subject(sessions: Sequence[Session]) -> Iterator[tuple[Session, str | None, list[GroundTruth]]]:
    """What each subject does in each session."""
    for session in sessions:
        for subject in dict.fromkeys(item.subject for item in session.bouts):
            yield session, subject, [item for item in session.bouts if item.subject == subject]


def transition_tables(sessions: Sequence[Session], *, modifiers: bool = False) -> dict[str, Any]:
    """What follows what, over all sessions and subjects: numbers, shares of those from the same entry, shares of all,
    and the sequences that they are of."""
    told = [
        (session, subject, sequence(items, modifiers=modifiers)) for session, subject, items in by_subject(sessions)
    ]
    sequences = [entries for _, _, entries in told]
    number, after, of_all = (
        transitions(sequences, mode) for mode in ("number", "frequencies_after_behaviors", "frequency")
    )
    return {
        "names": list(number.names),
        "number": number.table.tolist(),
        "share": after.table.tolist(),
        "share_of_all": of_all.table.tolist(),
        "sequences": [
            {**_place(session), "subject": subject, "entries": entries} for session, subject, entries in told
        ],
    }


def latency_tables(sessions: Sequence[Session]) -> dict[str, list[Row]]:
    """Seconds from the end of the latest bout of a label to a start of another, of the same subject; and what sums
    them up, over all sessions."""
    pairs: list[Row] = [
        {
            **_place(session),
            "subject": subject,
            "before": each.before,
            "after": each.after,
            "stop": each.stop,
            "start": each.start,
            "seconds": round(each.seconds, DIGITS),
        }
        for session, subject, items in by_subject(sessions)
        for each in latencies(items)
    ]
    grouped: dict[tuple[str | None, str, str], list[float]] = {}
    for row in pairs:
        grouped.setdefault((row["subject"], row["before"], row["after"]), []).append(row["seconds"])
    summary = [
        {
            "subject": subject,
            "before": before,
            "after": after,
            "count": len(seconds),
            **{name: _short(told(seconds)) for name, told in SUMMARY.items()},
        }
        for (subject, before, after), seconds in grouped.items()
    ]
    return {"summary": summary, "pairs": pairs}


SUMMARY: dict[str, Callable[[list[float]], float | None]] = {
    "mean": mean,
    "median": median,
    "min": min,
    "max": max,
    "sd": deviation,
}


def _short(value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS)


def marker_rows(sessions: Sequence[Session], markers: Sequence[str], selection: Selection) -> list[Row]:
    """Seconds from each start of a marker to each start of the chosen labels, until the next marker; a row without
    label where nothing follows."""
    rows: list[Row] = []
    for session in sessions:
        labels = {item.label for item in session.bouts if selection.has_label(item.label)}
        for mark, found in after_markers(session.bouts, markers, labels):
            about = {**_place(session), "marker": mark.label, "marker_subject": mark.subject, "at": mark.start}
            told: list[tuple[str | None, str | None, float | None]] = [
                (*name, round(each, DIGITS)) for name, seconds in found.items() for each in seconds
            ]
            rows += [
                {**about, "label": label, "subject": subject, "seconds": seconds}
                for label, subject, seconds in told or [(None, None, None)]
            ]
    return rows
