"""Tables that BORIS exports: aggregated events (a row per instance) and tabular events (rows START, STOP and POINT).

Columns are found by name. Versions before 8 write what is the same for all events in lines above the header of tabular
events. Times hold the time offset.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from tal_cli import console
from tal_cli.datasets.annotations import POINT, STATE, Annotations, GroundTruth
from tal_cli.datasets.formats.boris.timeline import Event, Media, Modifiers, Observation, modifiers_of, pair, videos_of
from tal_cli.datasets.formats.sheets import Sheet, header_in, read_sheet
from tal_cli.datasets.formats.values import BEHAVIOUR_VERSION, DECIMALS, How, sorted_labels

NAME = "BORIS's aggregated and tabular events"
AGGREGATED = ("observation id", "behavior", "start (s)", "stop (s)")
TABULAR = ("observation id", "behavior", "behavior type", "time")
OLD = ("time", "subject", "behavior", "status")
NOBODY = ("", "No focal subject")
PLAYER = re.compile(r"player #(\d+):(.*)", re.DOTALL)
MODIFIER = re.compile(r"modifier #?\d+")

Cells = Mapping[str, str]


def recognises(head: str) -> bool:
    """Whether a line has the columns of one of these tables."""
    return any(header_in(head, needed) for needed in (AGGREGATED, TABULAR, OLD))


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a table.

    Raises:
        AnnotationError: a damaged row; the message names the line.
    """
    needed = next(needed for needed in (AGGREGATED, TABULAR, OLD) if header_in(text, needed))
    sheet = read_sheet(path, text, needed)
    by_observation: dict[str, list[tuple[int, Cells]]] = {}
    above = _above(sheet) if needed is OLD else {}
    for line, cells in sheet.cells():
        by_observation.setdefault(cells.get("observation id", above.get("observation id", "")), []).append(
            (line, cells)
        )
    observations = []
    for name, rows in by_observation.items():
        facts = {**rows[0][1], **above}
        offset = sheet.number(facts.get("time offset (s)", "")) or 0.0
        media, cameras = _old_media(sheet, rows, offset) if needed is OLD else _media(sheet, facts)
        if needed is AGGREGATED:
            bouts = tuple(_bout(sheet, line, cells, offset) for line, cells in rows)
        else:
            bouts = pair(path, name, [_event(sheet, line, cells, offset) for line, cells in rows])
        observations.append(Observation(name, media, cameras, bouts))
    videos = videos_of(path, observations, how)
    subjects = {item.subject: None for video in videos.values() for item in video.segments if item.subject}
    return Annotations(BEHAVIOUR_VERSION, videos, sorted_labels(videos), subjects=tuple(subjects))


def _above(sheet: Sheet) -> dict[str, str]:
    """The lines above an old header, by their first cell."""
    return {row[0].lower(): row[1] for row in sheet.above if len(row) > 1 and row[0]}


def _media(sheet: Sheet, cells: Cells) -> tuple[tuple[Media, ...], tuple[Media, ...]]:
    """Media of player 1 and of the others, from cells such as `player #1:a.mp4;b.mp4|player #2:c.mp4`."""
    source = cells.get("source", "")
    players = [PLAYER.fullmatch(part) for part in source.split("|")]
    if not all(players):
        return (), ()
    durations, rates = (
        [text.split(";") for text in cells.get(name, "").split("|")]
        for name in ("media duration (s)", "fps (frame/s)" if "fps (frame/s)" in cells else "fps")
    )
    found: tuple[list[Media], list[Media]] = ([], [])
    for index, player in enumerate(players):
        for number, file in enumerate(player[2].split(";") if player else ()):
            duration, fps = (
                sheet.number(told[index][number]) if index < len(told) and number < len(told[index]) else None
                for told in (durations, rates)
            )
            found[player is None or player[1] != "1"].append(Media(file, duration, fps))
    return tuple(found[0]), tuple(found[1])


def _old_media(
    sheet: Sheet, rows: Iterable[tuple[int, Cells]], offset: float
) -> tuple[tuple[Media, ...], tuple[Media, ...]]:
    """Media from the lines above an old header. Only their total length is told: of several, the events of a file
    tell where it ends at the earliest."""
    files = {number: [row[1] for row in sheet.above if row[0] == f"Player #{number}"] for number in range(1, 9)}
    cells = [cells for _, cells in rows]
    fps = sheet.number(cells[0].get("fps", ""))
    left = sheet.number(cells[0].get("total length", ""))
    media: list[Media] = []
    for file in files[1][:-1]:
        times = [sheet.number(row["time"]) or 0.0 for row in cells if row.get("media file path") == file]
        ended = max(times, default=0.0) - offset - sum(each.duration or 0.0 for each in media)
        console.warn(f"{sheet.path}: the length of {file} is not told; taken as {ended:g} s, where its last event is")
        media.append(Media(file, ended, fps))
    for file in files[1][-1:]:
        rest = None if left is None else round(left - sum(each.duration or 0.0 for each in media), DECIMALS)
        media.append(Media(file, rest, fps))
    return tuple(media), tuple(Media(file) for number in range(2, 9) for file in files[number])


def _modifiers(cells: Cells) -> Modifiers:
    """Modifiers of the columns up to the last that is filled."""
    texts = [cell.strip("\r\n") for name, cell in cells.items() if MODIFIER.fullmatch(name)]
    while texts and not texts[-1]:
        texts.pop()
    return modifiers_of(texts)


def _subject(cells: Cells) -> str | None:
    subject = cells.get("subject", "")
    return None if subject in NOBODY else subject


def _frame(sheet: Sheet, cell: str) -> int | None:
    number = sheet.number(cell)
    return None if number is None else int(number)


def _bout(sheet: Sheet, line: int, cells: Cells, offset: float) -> GroundTruth:
    kind = POINT if cells.get("behavior type", "").upper() == "POINT" else STATE
    start = round(sheet.time(line, cells["start (s)"]) - offset, DECIMALS)
    stop = start if kind == POINT else round(sheet.time(line, cells["stop (s)"]) - offset, DECIMALS)
    first, last = (_frame(sheet, cells.get(f"image index {which}", "")) for which in ("start", "stop"))
    if kind == POINT:
        last = first
    ended = cells.get("comment stop", "") if kind == STATE else ""
    return GroundTruth(
        cells["behavior"], start, stop, kind, _subject(cells), _modifiers(cells), cells.get("comment start", ""), ended,
        frames=None if first is None and last is None else (first, last),
    )  # fmt: skip


def _event(sheet: Sheet, line: int, cells: Cells, offset: float) -> Event:
    time = sheet.time(line, cells["time"])
    what = cells.get("behavior type", cells.get("status", "")).upper()
    return Event(
        time if math.isnan(time) else round(time - offset, DECIMALS), _subject(cells), cells["behavior"],
        _modifiers(cells), cells.get("comment", ""), what, _frame(sheet, cells.get("image index", "")),
    )  # fmt: skip
