"""Tables as BORIS exports them: aggregated events (a row per instance) and tabular events (rows START, STOP, POINT)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from tal_cli.datasets.annotations import POINT, Annotations, GroundTruth
from tal_cli.datasets.formats.boris.timeline import NO_SUBJECT, START, STOP, set_text
from tal_cli.datasets.writers.boris import Session, path_of, sessions
from tal_cli.spreadsheets import csv_bytes

NA = "NA"
Cell = str | float | int


def write_aggregated(annotations: Annotations) -> bytes:
    """One row per instance."""
    categories = {item.name: item.category for item in annotations.definitions}
    found = sessions(annotations)
    sets = _sets(found)
    header = [
        "Observation id", "Observation date", "Description", "Observation type", "Source", "Time offset (s)",
        "Coding duration", "Media duration (s)", "FPS (frame/s)", "Subject",
        "Observation duration by subject by observation", "Behavior", "Behavioral category",
        *(f"Modifier #{n + 1}" for n in range(sets)), "Behavior type", "Start (s)", "Stop (s)", "Duration (s)",
        "Media file name", "Image index start", "Image index stop", "Image file path start", "Image file path stop",
        "Comment start", "Comment stop",
    ]  # fmt: skip
    rows: list[list[Cell]] = []
    for session in found:
        durations, rates = _told(session)
        coded = _number(max((item.end for item in session.bouts), default=0.0))
        for item in session.bouts:
            is_point = item.kind == POINT
            first, last = item.frames or (None, None)
            rows.append([
                session.name, "", "", _type(session), _source(session), 0.0, coded, durations, rates,
                item.subject or NO_SUBJECT, NA, item.label, categories.get(item.label) or "Not defined",
                *_modifiers(item, sets), "POINT" if is_point else "STATE", _number(item.start), _number(item.end),
                NA if is_point else _number(item.end - item.start), _file(session, item.start), _frame(first),
                _frame(last), "", "", item.comment, item.comment_end,
            ])  # fmt: skip
    return csv_bytes([header, *rows])


def write_tabular(annotations: Annotations) -> bytes:
    """One row per start, stop and point, in the order of time."""
    categories = {item.name: item.category for item in annotations.definitions}
    found = sessions(annotations)
    sets = _sets(found)
    header = [
        "Observation id", "Observation date", "Description", "Observation duration", "Observation type", "Source",
        "Time offset (s)", "Media duration (s)", "FPS", "Subject", "Behavior", "Behavioral category",
        *(f"Modifier #{n + 1}" for n in range(sets)), "Behavior type", "Time", "Media file name", "Image index",
        "Image file path", "Comment",
    ]  # fmt: skip
    rows: list[list[Cell]] = []
    for session in found:
        durations, rates = _told(session)
        length = _number(sum(video.duration for video in session.media)) if session.media else NA
        events = sorted(
            (event for item in session.bouts for event in _events(item)),
            # What ends makes room for what starts; an instance without length starts before it ends.
            key=lambda event: (math.isnan(event[0]), event[0], event[1] != STOP or event[2].start == event[2].end),
        )
        rows += [
            [
                session.name, "", "", length, _type(session), _source(session), 0.0, durations, rates,
                item.subject or "", item.label, categories.get(item.label, ""), *_modifiers(item, sets), what,
                _number(time), _file(session, time), _frame(frame), NA, comment,
            ]
            for time, what, item, comment, frame in events
        ]  # fmt: skip
    return csv_bytes([header, *rows])


def _events(item: GroundTruth) -> Iterator[tuple[float, str, GroundTruth, str, int | None]]:
    first, last = item.frames or (None, None)
    if item.kind == POINT:
        yield item.start, "POINT", item, item.comment, first
        return
    yield item.start, START, item, item.comment, first
    yield item.end, STOP, item, item.comment_end, last


def _sets(found: Sequence[Session]) -> int:
    return max((len(item.modifiers) for session in found for item in session.bouts), default=0)


def _modifiers(item: GroundTruth, sets: int) -> list[str]:
    return [*map(set_text, item.modifiers), *[""] * (sets - len(item.modifiers))]


def _type(session: Session) -> str:
    if session.media:
        return "Media file(s)"
    return "Live observation" if session.has_times else "From directories of images"


def _source(session: Session) -> str:
    files = (";".join(map(path_of, player)) for player in session.players)
    return "|".join(f"player #{n}:{names}" for n, names in enumerate(files, start=1))


def _told(session: Session) -> tuple[str, str]:
    """Durations and frame rates of the media, as in `120.04;90|150`."""
    durations = "|".join(";".join(str(_number(video.duration)) for video in player) for player in session.players)
    rates = "|".join(";".join(str(_number(video.fps or math.nan)) for video in player) for player in session.players)
    return durations or NA, rates or NA


def _file(session: Session, time: float) -> str:
    shown = session.at(time)
    return NA if shown is None else path_of(shown[0])


def _number(value: float) -> Cell:
    return NA if math.isnan(value) else round(value, 6)


def _frame(frame: int | None) -> Cell:
    return NA if frame is None else frame
