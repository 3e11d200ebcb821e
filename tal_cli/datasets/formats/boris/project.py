"""BORIS projects (.boris, .boris.gz) of all versions.

State events are pairs of rows of one subject, behaviour and modifier text, in order of time. Times run over all media
files of player 1, and hold the time offset, or the media file's creation time. Frame indices are told, not relied on.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tal_cli import console
from tal_cli.datasets.annotations import DECIMALS, POINT, STATE, Annotations, LabelDefinition, ModifierSet
from tal_cli.datasets.formats.boris.timeline import (
    Event,
    Media,
    Observation,
    modifiers_of,
    moment,
    pair,
    subject_of,
    videos_of,
    when,
)
from tal_cli.datasets.formats.values import BEHAVIOUR_VERSION, How, facts_in, finite, sorted_labels
from tal_cli.extractors.errors import AnnotationError, InputError
from tal_cli.extractors.files.json_files import parse_json

NAME = "BORIS project"
MARKS = ('"behaviors_conf"', '"project_format_version"', '"subjects_conf"', '"observations"')
NO_TIME = ("nan", "NaN", "NA", "None", "")  # of pictures
EVENT = 5  # values of an event: time, subject, behaviour, modifiers, comment; later ones are not in all versions
KNOWN = (8, 6)  # newest version of the project's format
KEY = re.compile(r"\s*\(([^()]|F\d+)\)(?=\s*$)")  # key of a modifier's value, as in `left (l)`
MODIFIER_KINDS = {1: "several", 2: "number", 3: "external"}


def recognises(head: str) -> bool:
    """Whether the file begins like a project."""
    return head.startswith("{") and any(mark in head for mark in MARKS)


def read(path: Path, text: str, how: How) -> Annotations:
    """Read a project.

    Raises:
        AnnotationError: the file is cut off, or not a project.
    """
    try:
        content = parse_json(path, text)
    except InputError as error:
        ended = not text.rstrip().endswith("}") or _depth(text) > 0
        reason = "the JSON ends early" if ended else error.reason
        raise AnnotationError(path, f"not a BORIS project: {reason}", "BORIS keeps older versions beside it") from None
    observations = content.get("observations")
    if not isinstance(observations, dict):
        raise AnnotationError(path, "not a BORIS project: no observations")
    version = tuple(int(part) for part in re.findall(r"\d+", str(content.get("project_format_version", "0"))))
    if version > KNOWN:
        console.warn(
            f"{path}: written in a newer form, {content['project_format_version']}; read as far as it is known"
        )
    definitions = tuple(_definition(path, item) for item in _rows(content.get("behaviors_conf")))
    subjects = tuple(_subject(item) for item in _rows(content.get("subjects_conf")))
    kinds = {item.name: item.kind for item in definitions}
    parsed = []
    for name, entry in observations.items():
        try:
            old = entry.get("media_file_info") or content.get("project_media_file_info") or {}
            media = _media(f"{path}: {name}", entry, list(old.values()), how)
            parsed.append(_observation(path, name, entry, kinds, subjects, media))
        except (LookupError, TypeError, AttributeError, ValueError) as error:
            reason = f"not a BORIS project: observation {name} is damaged ({error!r})"
            raise AnnotationError(path, reason[:200]) from error
    told = {key for entry in observations.values() for key in _more(entry)}
    if told:
        console.note(f"{path}: without a place here, left out: {', '.join(sorted(told))}")
    videos = videos_of(path, parsed, how)
    occurring = set(sorted_labels(videos))
    labels = tuple(item.name for item in definitions if item.name in occurring)
    return Annotations(BEHAVIOUR_VERSION, videos, labels, definitions=definitions, subjects=subjects)


def _depth(text: str) -> int:
    """Objects and lists that a JSON text leaves open."""
    plain = re.sub(r'"(?:[^"\\]|\\.)*("|$)', "", text)
    return sum(plain.count(a) - plain.count(b) for a, b in ("{}", "[]"))


def _rows(table: Any) -> list[Any]:
    """The entries of an object whose keys are numbers, in their order."""
    entries = table.items() if isinstance(table, dict) else ()
    return [entry for _, entry in sorted(entries, key=lambda item: finite(item[0]) or 0.0)]


def _subject(item: Any) -> str:
    return str(item[1] if isinstance(item, list) else item.get("name", ""))


def _definition(path: Path, item: Any) -> LabelDefinition:
    if not isinstance(item, dict) or not item.get("code"):
        raise AnnotationError(path, "not a BORIS project: a behaviour has no code")
    excluded = tuple(filter(None, map(str.strip, str(item.get("excluded") or "").split(","))))
    kind = POINT if str(item.get("type", "")).lower().startswith("point") else STATE
    category, color = (str(item.get(key) or "") for key in ("category", "color"))
    modifiers = tuple(_modifier_sets(item.get("modifiers")))
    return LabelDefinition(
        str(item["code"]), kind, str(item.get("key") or ""), "", color, modifiers, category, excluded
    )


def _modifier_sets(sets: Any) -> Iterator[ModifierSet]:
    if isinstance(sets, str):  # before version 4
        for number, told in enumerate(sets.split("|") if sets else (), start=1):
            yield ModifierSet(str(number), "one", tuple(KEY.sub("", value) for value in told.split(",") if value))
    for item in _rows(sets):
        values = tuple(KEY.sub("", str(value)) for value in item.get("values") or ())
        yield ModifierSet(
            str(item.get("name") or ""), MODIFIER_KINDS.get(int(finite(item.get("type")) or 0), "one"), values
        )


def _more(entry: dict[str, Any]) -> Iterator[str]:
    """What an observation tells besides."""
    variables = entry.get("independent_variables")
    yield from (str(name) for name, value in (variables if isinstance(variables, dict) else {}).items() if value)
    if entry.get("description"):
        yield "descriptions of observations"


def _observation(
    path: Path, name: str, entry: Any, kinds: dict[str, str], subjects: tuple[str, ...], files: list[Media]
) -> Observation:
    first = len(_files(entry, "1"))
    media, cameras = files[:first], files[first:]
    offset = finite(entry.get("time offset")) or 0.0
    is_dated = entry.get("media_creation_date_as_offset")
    told = (entry.get("media_info") or {}).get("media_creation_time") or {} if is_dated else {}
    created = [finite(told.get(each.path)) or 0.0 for each in media]
    begun, ended = (finite(bound) or 0.0 for bound in entry.get("observation time interval") or [0, 0])
    if begun or ended:
        console.note(f"{path}: {name}: observed from {begun:g} to {ended:g} s; instances outside are read, too")
    events = _events(path, name, entry, kinds, subjects, lambda time: _without_date(time - offset, created, media))
    ordered = sorted(events, key=lambda event: (moment(event), event.subject or "", event.label))
    interval = (begun, ended) if begun or ended else None
    return Observation(name, tuple(media), tuple(cameras), pair(path, name, ordered), interval)


def _events(
    path: Path,
    name: str,
    entry: Any,
    kinds: dict[str, str],
    subjects: tuple[str, ...],
    on_clock: Callable[[float], float],
) -> Iterator[Event]:
    """The events of an observation in the order of the file; on_clock: from stored times to those of all media."""
    for number, row in enumerate(entry.get("events") or (), start=1):
        if not isinstance(row, list) or len(row) < EVENT:
            raise ValueError(f"event {number}: expected at least {EVENT} values")
        time, subject, label, modifiers, comment, *more = row
        if str(time) in NO_TIME and entry.get("type") == "IMAGES":
            time = math.nan
        elif finite(time) is None:
            raise ValueError(f"event {number}: not a time: {time!r}")
        seconds = round(on_clock(float(time)), DECIMALS)
        told = finite(more[0]) if more else None
        frame = None if told is None else int(told)
        where = f"{path}: {name}, {when(seconds, frame)}"
        if label not in kinds:
            console.warn(f"{where}: {label} is not in the ethogram, so it is left out")
            continue
        if subject_of(subject) and subject not in subjects:
            console.warn(f"{where}: {subject} is not in the list of subjects")
        sets = modifiers_of(str(modifiers).split("|") if modifiers else [])
        what = "POINT" if kinds[label] == POINT else ""
        yield Event(seconds, subject_of(subject), label, sets, str(comment or ""), what, frame)


def _without_date(time: float, created: Sequence[float], media: Sequence[Media]) -> float:
    """A time on the clock of all files, from one to which the date of the file that was playing has been added."""
    begun = 0.0
    for date, each in zip(created, media, strict=True):
        ended = begun + (each.duration or math.inf)
        if begun <= time - date <= ended:
            return time - date
        begun = ended
    return time - created[0] if created else time


def _files(entry: dict[str, Any], player: str) -> list[str]:
    files = entry.get("file") or {}
    if isinstance(files, list):  # before version 1
        return [str(file) for file in files] if player == "1" else []
    return [str(file) for file in files.get(player) or ()]


def _media(where: str, entry: dict[str, Any], old: Sequence[dict[str, Any]], how: How) -> list[Media]:
    """The media of all players. old: what version 1 tells of them, in the order of the file."""
    info = entry.get("media_info") or {}
    media = []
    for file in (file for player in range(1, 9) for file in _files(entry, str(player))):
        duration, fps = (finite((info.get(key) or {}).get(file)) for key in ("length", "fps"))
        media.append(Media(file, duration, fps))
    unknown = [each.duration is None and facts_in(how.facts, each.path) is None for each in media]
    if not any(unknown) or len(old) != len(media):
        return media
    told = [_by_content(each.path, about) for each, about in zip(media, old, strict=True)]
    if len({each.duration for each in told}) > 1:
        remedy = "`tal datasets convert --videos DIR` reads the files instead"
        console.warn(f"{where}: the lengths of its media have no names; taken in their order; {remedy}")
    return [new if is_unknown else each for each, new, is_unknown in zip(media, told, unknown, strict=True)]


def _by_content(file: str, about: dict[str, Any]) -> Media:
    """A media file of version 1, which has lengths in milliseconds and numbers of frames by MD5."""
    length, frames = finite(about.get("video_length")), finite(about.get("nframe"))
    duration = length / 1000 if length else None
    return Media(file, duration, frames / duration if frames and duration else None)
