"""Observations of BORIS: events on one clock that runs over a player's files, paired, and cut at their ends."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tal_cli import console
from tal_cli.datasets.annotations import DECIMALS, POINT, STATE, GroundTruth, VideoAnnotation
from tal_cli.datasets.formats.values import (
    Facts,
    How,
    facts_in,
    last_end,
    stem,
    unused,
    video_of,
    without_suffix,
)

START, STOP = "START", "STOP"
NO_SUBJECT = "No focal subject"  # as BORIS writes it
Modifiers = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Media:
    """A media file: path as stored, seconds and frames per second, where known."""

    path: str
    duration: float | None = None
    fps: float | None = None


@dataclass(frozen=True)
class Event:
    """A row of an observation.

    Attributes:
        time: seconds on the clock of the observation; nan for pictures without times.
        what: `START`, `STOP`, `POINT`; empty where starts and stops alternate.
        frame: frame or image index.
        line: of the table that it is from; 0 for a project.
    """

    time: float
    subject: str | None
    label: str
    modifiers: Modifiers
    comment: str
    what: str
    frame: int | None
    line: int = 0


@dataclass(frozen=True)
class Observation:
    """Instances on the clock of the media of player 1; `cameras` are those of the other players; `interval` as in
    `VideoAnnotation`."""

    name: str
    media: tuple[Media, ...]
    cameras: tuple[Media, ...]
    bouts: tuple[GroundTruth, ...]
    interval: tuple[float, float] | None = None


def modifiers_of(sets: Sequence[str]) -> Modifiers:
    """Modifiers from one text per set: several values are joined by commas, `None` and nothing are none."""
    return tuple(() if text in ("", "None") else tuple(text.split(",")) for text in sets)


def modifier_text(modifiers: Modifiers) -> str:
    """Modifiers as BORIS stores them: sets joined by bars, values by commas."""
    return "|".join(map(set_text, modifiers))


def set_text(values: Sequence[str]) -> str:
    """The values chosen of one set of modifiers."""
    return ",".join(values) or "None"


def subject_of(text: str | None) -> str | None:
    """A subject, None where none was chosen."""
    return None if text is None or text in ("", NO_SUBJECT) else text


def moment(event: Event) -> float:
    """What events are ordered by: their times, or the numbers of pictures without times."""
    return float(event.frame or 0) if math.isnan(event.time) else event.time


def when(time: float, frame: int | None) -> str:
    """A time as messages tell it; of pictures without times, the number of the image."""
    return f"image {frame}" if math.isnan(time) else f"{time:g} s"


def pair(path: Path, observation: str, events: Iterable[Event]) -> tuple[GroundTruth, ...]:
    """Instances from events in order of time. State events without a partner are warned of, and left out."""
    bouts: list[GroundTruth] = []
    begun: dict[tuple[str | None, str, Modifiers], list[Event]] = {}
    lost: list[tuple[Event, str]] = []
    for event in events:
        if event.what == "POINT":
            bouts.append(_bout(event, event))
            continue
        waiting = begun.setdefault((event.subject, event.label, event.modifiers), [])
        if event.what == START or (not event.what and not waiting):
            waiting.append(event)
        elif waiting:
            bouts.append(_bout(waiting.pop(), event))
        else:
            lost.append((event, "start"))
    lost += [(event, "stop") for events in begun.values() for event in events]
    for event, missing in sorted(lost, key=lambda item: item[0].time):
        who = "" if event.subject is None else f" of {event.subject}"
        with_ = f" ({modifier_text(event.modifiers)})" if any(event.modifiers) else ""
        where = f"{path}: line {event.line}: {observation}" if event.line else f"{path}: {observation}"
        at = when(event.time, event.frame)
        console.warn(f"{where}: {event.label}{with_}{who} at {at} has no {missing}, so it is left out")
    return tuple(bouts)


def _bout(first: Event, last: Event) -> GroundTruth:
    is_point = first is last
    frames = None if first.frame is None and last.frame is None else (first.frame, last.frame)
    return GroundTruth(
        first.label,
        first.time,
        last.time,
        POINT if is_point else STATE,
        first.subject,
        first.modifiers,
        first.comment,
        "" if is_point else last.comment,
        frames=frames,
    )


def videos_of(path: Path, observations: Iterable[Observation], how: How) -> dict[str, VideoAnnotation]:
    """Videos of observations: one per media file, or one for all where there is none (live, pictures)."""
    videos: dict[str, VideoAnnotation] = {}
    for observation in observations:
        for video in _videos(path, observation, how):
            same = videos.get(video.name)
            other = same is not None and same.path != video.path
            name = unused(without_suffix(video.path) if other else video.name, observation.name, videos)
            videos[name] = replace(video, name=name)
    return videos


def _videos(path: Path, observation: Observation, how: How) -> Iterator[VideoAnnotation]:
    name, interval = observation.name, observation.interval
    if not observation.media:
        yield video_of(name, observation.bouts, observation=name, interval=interval)
        return
    media = [_known(each, how) for each in observation.media]
    for each in media[:-1]:
        if each.duration is None:
            console.warn(f"{path}: {name}: the length of {each.path} is not told, so what follows counts as part of it")
    pieces: list[list[GroundTruth]] = [[] for _ in media]
    for bout in observation.bouts:
        for index, piece in _cut(bout, media):
            pieces[index].append(piece)
    total = sum(each.duration or math.inf for each in media)
    late = sum(bout.end > total for bout in observation.bouts)
    if late:
        console.warn(f"{path}: {name}: {late} of its instances end after its media, which last {total:g} s")
    for each, segments in zip(media, pieces, strict=True):
        yield video_of(
            stem(each.path), segments, Facts(each.fps, None, each.duration), path=each.path, observation=name,
            interval=interval,
        )  # fmt: skip
    for each in (_known(camera, how) for camera in observation.cameras):
        console.note(
            f"{path}: {name}: {each.path} is a further camera; times are those of player 1, so it gets no labels"
        )
        yield video_of(
            stem(each.path), (), Facts(each.fps, None, each.duration), path=each.path, observation=name, reviewed=()
        )


def _known(media: Media, how: How) -> Media:
    facts = facts_in(how.facts, media.path) or Facts()
    return Media(media.path, media.duration or facts.duration, media.fps or facts.fps or how.fps)


def _cut(bout: GroundTruth, media: Sequence[Media]) -> list[tuple[int, GroundTruth]]:
    """The pieces of an instance on the clocks of media files that are played one after the other.

    A start or point at the end of a file belongs to the next, a stop to the file itself.
    """
    if math.isnan(bout.start):
        return [(0, bout)]
    starts = [0.0]
    for each in media[:-1]:
        starts.append(starts[-1] + (each.duration or math.inf))
    first = max(index for index, start in enumerate(starts) if index == 0 or bout.start >= start - 1e-9)
    last = max(index for index, start in enumerate(starts) if index <= first or bout.end > start + 1e-9)
    pieces = []
    for index in range(first, last + 1):
        start = bout.start - starts[index] if index == first else 0.0
        end = bout.end - starts[index] if index == last else media[index].duration or 0.0
        piece = replace(bout, start=round(start, DECIMALS), end=round(end, DECIMALS))
        pieces.append((index, piece if first == last else replace(piece, part=(index - first + 1, last - first + 1))))
    return pieces


def joined(videos: Sequence[VideoAnnotation]) -> list[GroundTruth]:
    """Instances on one clock that runs over an observation's videos, pieces put together again."""
    bouts: list[GroundTruth] = []
    start = 0.0
    for video in videos:
        for item in video.segments:
            moved = replace(
                item, start=round(item.start + start, DECIMALS), end=round(item.end + start, DECIMALS), part=None
            )
            before = _before(bouts, moved) if item.part is not None and item.part[0] > 1 else None
            if before is None:
                bouts.append(moved)
            else:
                bouts[before] = replace(bouts[before], end=moved.end)
        start += video.duration or last_end(video.segments)
    return sorted(bouts, key=lambda item: (math.isnan(item.start), item.start))


def _before(bouts: Sequence[GroundTruth], piece: GroundTruth) -> int | None:
    """Index of the instance that a piece continues."""
    same = (piece.label, piece.subject, piece.modifiers)
    return next(
        (
            index
            for index, item in enumerate(bouts)
            if (item.label, item.subject, item.modifiers) == same and abs(item.end - piece.start) < 1e-6
        ),
        None,
    )
