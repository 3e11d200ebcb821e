"""Tables that BORIS exports: aggregated events (a row per instance) and tabular events (rows START, STOP and POINT).

Columns are found by name. Versions before 8 write what is the same for all events in lines above the header of tabular
events. Times hold the time offset.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path

from tal_cli import console
from tal_cli.datasets.annotations import DECIMALS, POINT, STATE, Annotations, GroundTruth
from tal_cli.datasets.formats.boris.timeline import (
    START,
    STOP,
    Event,
    Media,
    Modifiers,
    Observation,
    modifiers_of,
    moment,
    pair,
    subject_of,
    videos_of,
)
from tal_cli.datasets.formats.sheets import Sheet, header_in, read_sheet
from tal_cli.datasets.formats.values import BEHAVIOUR_VERSION, How, facts_in, named_after, sorted_labels
from tal_cli.extractors.errors import AnnotationError

NAME = "BORIS's aggregated and tabular events"
AGGREGATED = ("behavior", "start (s)", "stop (s)")
TABULAR = ("behavior", "behavior type", "time")
OLD = ("behavior", "status", "time")
PLAYER = re.compile(r"player #(\d+):(.*)", re.DOTALL)
MODIFIER = re.compile(r"modifier #?(\d+)")
FILE = ("media file name", "media file path", "media file")
NO_FILE = ("", "NA", "Not found", "LIVE")
KNOWN = {
    *AGGREGATED, *TABULAR, *OLD, *FILE, "observation id", "observation date", "observation duration", "description",
    "observation type", "source", "time offset (s)", "coding duration", "total length", "media duration (s)", "fps",
    "fps (frame/s)", "subject", "observation duration by subject by observation", "behavioral category", "modifiers",
    "duration (s)", "image index", "image index start", "image index stop", "image file path",
    "image file path start", "image file path stop", "comment", "comment start", "comment stop",
}  # fmt: skip

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
    above = _above(sheet)
    is_old = needed is OLD or "player #1" in above
    untitled = above.get("observation id") or named_after(path)
    for line, cells in sheet.cells():
        by_observation.setdefault(cells.get("observation id") or untitled, []).append((line, cells))
    unknown = [name for name in sheet.header if name and name.lower() not in KNOWN and not MODIFIER.match(name.lower())]
    if unknown:
        console.note(f"{path}: columns without a place here, left out: {', '.join(unknown)}")
    observations = []
    for name, rows in by_observation.items():
        facts = {**rows[0][1], **above}
        offset = sheet.time(rows[0][0], facts.get("time offset (s)", ""))
        offset = 0.0 if math.isnan(offset) else offset
        media, cameras = _old_media(sheet, rows, offset, how) if is_old else _media(sheet, facts)
        if not media:
            media = _named_media(sheet, rows, offset, how, needed)
        if needed is AGGREGATED:
            bouts = tuple(bout for line, cells in rows if (bout := _bout(sheet, line, cells, offset)) is not None)
        else:
            events = [_event(sheet, line, cells, offset) for line, cells in rows]
            bouts = pair(path, name, sorted(events, key=moment))
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
    sheet: Sheet, rows: Sequence[tuple[int, Cells]], offset: float, how: How
) -> tuple[tuple[Media, ...], tuple[Media, ...]]:
    """Media from the lines above an old header. Only their total length is told: of several, the events of a file
    tell where it ends at the earliest."""
    files = {number: [row[1] for row in sheet.above if row[:1] == (f"Player #{number}",)] for number in range(1, 9)}
    cells = [cells for _, cells in rows]
    fps = sheet.number(cells[0].get("fps", ""))
    left = sheet.number(cells[0].get("total length", ""))
    media: list[Media] = []
    for file in files[1][:-1]:
        media.append(Media(file, _ended(sheet, rows, offset, how, file, media, "time"), fps))
    for file in files[1][-1:]:
        rest = None if left is None else round(left - sum(each.duration or 0.0 for each in media), DECIMALS)
        media.append(Media(file, rest, fps))
    return tuple(media), tuple(Media(file) for number in range(2, 9) for file in files[number])


def _named_media(
    sheet: Sheet, rows: Sequence[tuple[int, Cells]], offset: float, how: How, needed: Collection[str]
) -> tuple[Media, ...]:
    """Media from the rows alone, where there is no column of sources."""
    column = next((name for name in FILE if name in rows[0][1]), "")
    files = [file for file in dict.fromkeys(cells.get(column, "") for _, cells in rows) if file not in NO_FILE]
    fps = sheet.number(rows[0][1].get("fps", ""))
    media: list[Media] = []
    for file in files[:-1]:
        times = "start (s)" if needed is AGGREGATED else "time"
        media.append(Media(file, _ended(sheet, rows, offset, how, file, media, times), fps))
    return (*media, *(Media(file, None, fps) for file in files[-1:]))


def _ended(
    sheet: Sheet, rows: Iterable[tuple[int, Cells]], offset: float, how: How, file: str, before: Iterable[Media],
    times: str,
) -> float:  # fmt: skip
    """The length of a file that is followed by another: the video's, or as its events tell it, with a warning."""
    if (known := facts_in(how.facts, file)) and known.duration:
        return known.duration
    at = [sheet.time(line, row[times]) for line, row in rows if any(row.get(name) == file for name in FILE)]
    ended = max((time for time in at if not math.isnan(time)), default=0.0) - offset
    ended -= sum(each.duration or 0.0 for each in before)
    console.warn(
        f"{sheet.path}: the length of {file} is not told; taken as {ended:g} s, where its last event is; or give "
        "--videos DIR"
    )
    return ended


def _modifiers(cells: Cells) -> Modifiers:
    """Modifiers of the columns up to the last that is filled."""
    numbered = sorted((int(match[1]), name) for name in cells if (match := MODIFIER.fullmatch(name)))
    texts = [cells[name].strip("\r\n") for _, name in numbered]
    texts = texts or cells.get("modifiers", "").split("|")
    while texts and not texts[-1]:
        texts.pop()
    return modifiers_of(texts)


def _frame(sheet: Sheet, cell: str) -> int | None:
    number = sheet.number(cell)
    return None if number is None else int(number)


def _bout(sheet: Sheet, line: int, cells: Cells, offset: float) -> GroundTruth | None:
    what = cells.get("behavior type", "").upper()
    if not what:
        what = "POINT" if sheet.number(cells.get("duration (s)", cells["stop (s)"])) is None else "STATE"
    kind = POINT if what == "POINT" else STATE
    start, stop = (sheet.time(line, cells[name]) for name in ("start (s)", "stop (s)"))
    if kind == STATE and math.isnan(start) != math.isnan(stop):
        missing = "stop" if math.isnan(stop) else "start"
        console.warn(f"{sheet.path}: line {line}: {cells['behavior']} has no {missing}, so it is left out")
        return None
    first, last = (_frame(sheet, cells.get(f"image index {which}", "")) for which in ("start", "stop"))
    if kind == POINT:
        stop, last = start, first
    ended = cells.get("comment stop", "") if kind == STATE else ""
    return GroundTruth(
        _label(sheet, line, cells), round(start - offset, DECIMALS), round(stop - offset, DECIMALS), kind,
        subject_of(cells.get("subject", "")), _modifiers(cells), cells.get("comment start", ""), ended,
        frames=None if first is None and last is None else (first, last),
    )  # fmt: skip


def _label(sheet: Sheet, line: int, cells: Cells) -> str:
    if not cells["behavior"]:
        raise AnnotationError(sheet.path, f"line {line}: no behavior")
    return cells["behavior"]


def _event(sheet: Sheet, line: int, cells: Cells, offset: float) -> Event:
    time = sheet.time(line, cells["time"])
    told = [cells[name].upper() for name in ("behavior type", "status") if name in cells]
    what = next((each for each in told if each in (START, STOP, "POINT", "")), None)
    if what is None:
        raise AnnotationError(sheet.path, f"line {line}: expected START, STOP or POINT, found {told[0]!r}"[:200])
    return Event(
        round(time - offset, DECIMALS), subject_of(cells.get("subject", "")), _label(sheet, line, cells),
        _modifiers(cells), cells.get("comment", ""), what, _frame(sheet, cells.get("image index", "")), line,
    )  # fmt: skip
