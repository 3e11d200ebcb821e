"""Tables with a row per frame or time step and a column of 0 and 1 per label.

- DeepEthogram (`NAME_labels.csv`): the frame without a name, `background`, labels; -1 was not looked at.
- SimBA (`targets_inserted`, `machine_results`): the frame without a name, features, labels last. Labels are named in
  `project_config.ini`, frame rates in `logs/video_info.csv`, in a folder above; else they are the columns with a column
  `Probability_LABEL`, or the last ones that hold only 0 and 1. The score of an instance is its mean probability.
  The first column may be missing.
- `frame` and labels, or `video`, `frame` and labels, as `tal` writes it.
- BORIS's binary tables and others: `time` and labels; columns of one name are joined, `rear (left|slow)` has
  modifiers.
"""

from __future__ import annotations

import configparser
import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tal_cli import console
from tal_cli.datasets.annotations import DECIMALS, Annotations, GroundTruth, Ranges, VideoAnnotation
from tal_cli.datasets.formats.boris.timeline import NO_SUBJECT, modifiers_of
from tal_cli.datasets.formats.sheets import Sheet, first_row, read_sheet
from tal_cli.datasets.formats.values import (
    BEHAVIOUR_VERSION,
    Facts,
    How,
    framed,
    named_after,
    runs,
    stem,
    video_of,
    warn_of_no_rate,
)
from tal_cli.extractors.errors import AnnotationError
from tal_cli.extractors.files.json_files import read_text

NAME = "table with a row per frame"
BACKGROUND = "background"
FRAME, TIME, VIDEO = "frame", "time", "video"
FRAMES = (FRAME, "frames", "frame number", "frame_number", "frame index", "frame_index")
CLOCKS = (TIME, "timestamp", "seconds")  # of each frame, beside its number
PROBABILITY = "Probability_"
TRUTH = {"true": 1.0, "false": 0.0}
UNNAMED = ("", "unnamed: 0")  # the latter where pandas read and wrote it again
WITH_MODIFIERS = re.compile(r"(.+?) \((.*)\)", re.DOTALL)
BINARY_OF_BORIS = re.compile(r".*_binary_(.+)")

Columns = dict[str, list[int]]  # label -> 0, 1 or -1 of each row


def recognises(head: str) -> bool:
    """Whether the first column counts frames or times (SimBA's may lack it), and the last holds 0, 1 or -1; or one is
    `background`."""
    names = [name.lower() for name in first_row(head)]
    if names == [TIME]:
        return True
    if len(names) < 2:
        return False
    counted = names[0] in (*UNNAMED, *FRAMES, TIME, BACKGROUND) or names[:2] == [VIDEO, FRAME]
    if not counted and not _predicted(names) and not _tracked(names):
        return False
    sheet = read_sheet(Path(), head, names)
    complete = [row for _, row in sheet.rows[:50] if len(row) == len(names)]
    if BACKGROUND in names or (complete and _predicted(names)):
        return True
    if names[0] == TIME:
        return bool(complete) and all(_state(sheet, cell) is not None for row in complete for cell in row[1:])
    last = next((n for n in range(len(names) - 1, 0, -1) if not names[n].startswith(PROBABILITY.lower())), 0)
    return bool(complete and last) and all(_state(sheet, row[last]) is not None for row in complete)


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a table; times are nan where the frame rate is not known.

    Raises:
        AnnotationError: a cell of a label is not 0, 1 or -1; the message names the line.
    """
    sheet = read_sheet(path, text, [name.lower() for name in first_row(text)])
    name = named_after(path, "_labels")
    if sheet.header[0].lower() == TIME:
        return _timed(sheet, name)
    if sheet.header[0].lower() == VIDEO:
        return _of_several(sheet, how)
    if sheet.header[0].lower() not in (*UNNAMED, *FRAMES):  # saved without its index
        rows = tuple((line, (str(frame), *row)) for frame, (line, row) in enumerate(sheet.rows))
        sheet = replace(sheet, header=("", *sheet.header), rows=rows)
    project = _simba(path) if sheet.header[0].lower() in UNNAMED else None
    labels = _labels(sheet, project)
    facts = how.facts_of(name)
    if facts.fps is None and project:
        facts = replace(facts, fps=_simba_fps(project, name))
    video = _video(sheet, name, labels, facts)
    return Annotations(BEHAVIOUR_VERSION, {name: video}, tuple(labels))


def _of_several(sheet: Sheet, how: How) -> Annotations:
    """A table with the video in its first column, and the frame in the second."""
    labels = list(sheet.header[2:])
    by_video: dict[str, list[tuple[int, tuple[str, ...]]]] = {}
    for line, row in sheet.rows:
        by_video.setdefault(row[0], []).append((line, row))
    videos = {
        name: _video(replace(sheet, rows=tuple(rows)), name, labels, how.facts_of(name))
        for name, rows in by_video.items()
    }
    return Annotations(BEHAVIOUR_VERSION, videos, tuple(labels))


def _video(sheet: Sheet, name: str, labels: Sequence[str], facts: Facts) -> VideoAnnotation:
    columns = _columns(sheet, labels)
    begun = _first_frame(sheet)
    if facts.fps is None:
        warn_of_no_rate(f"{sheet.path}: {name}")
    scores = {label: _probabilities(sheet, label) for label in labels}
    segments = [
        replace(framed(label, begun + first, begun + last, facts), score=_mean(scores[label][first : last + 1]))
        for label, states in columns.items()
        for first, last, state in runs(states)
        if state == 1
    ]
    if begun:
        console.warn(f"{sheet.path}: {name}: the first row is frame {begun}; frames before it were not looked at")
        columns = {label: [*[-1] * begun, *states] for label, states in columns.items()}
    everywhere, by_label = _reviewed(columns, facts)
    video = video_of(name, segments, replace(facts, frames=begun + len(sheet.rows)), reviewed=everywhere)
    return replace(video, reviewed_labels=by_label)


def _first_frame(sheet: Sheet) -> int:
    """The number of the first row's frame. Raises AnnotationError where numbers do not go on by one."""
    place = 1 if sheet.header[0].lower() == VIDEO else 0
    numbers = [sheet.number(row[place]) if place < len(row) else None for _, row in sheet.rows]
    for (line, _), before, number in zip(sheet.rows[1:], numbers, numbers[1:], strict=False):
        if before is not None and number is not None and number != before + 1:
            raise AnnotationError(sheet.path, f"line {line}: frame {number:g} after frame {before:g}: a row is missing")
    return max(0, int(numbers[0])) if numbers and numbers[0] is not None else 0


def _labels(sheet: Sheet, project: Path | None) -> list[str]:
    """The columns that are labels."""
    names = [name for name in sheet.header[1:] if name.lower() not in (VIDEO, *CLOCKS)]
    if any(name.lower() == BACKGROUND for name in names):
        return [name for name in names if name.lower() != BACKGROUND]
    if sheet.header[0].lower() not in UNNAMED:
        return names
    targets = _simba_targets(project) if project else []
    if known := [name for name in names if name in targets] or _predicted(names):
        return known
    found: list[str] = []
    for index in range(len(sheet.header) - 1, 0, -1):
        if any(sheet.number(row[index]) not in (0, 1, -1) for _, row in sheet.rows if index < len(row)):
            break
        found.insert(0, sheet.header[index])
    if found:
        console.note(f"{sheet.path}: columns taken as labels: {', '.join(found)}")
    return found


def _predicted(names: Sequence[str]) -> list[str]:
    """The columns that have a column of probabilities, in SimBA's results."""
    there = {name.lower() for name in names}
    return [name for name in names if f"{PROBABILITY}{name}".lower() in there]


def _tracked(names: Sequence[str]) -> bool:
    """Whether the first columns are a part of a body, as in SimBA's tables that were saved without their index."""
    return names[0].endswith("_x") and names[1] == f"{names[0][:-2]}_y"


def _columns(sheet: Sheet, labels: Sequence[str]) -> Columns:
    columns: Columns = {label: [] for label in labels}
    if len(columns) < len(labels):
        twice = next(label for label in labels if list(labels).count(label) > 1)
        raise AnnotationError(sheet.path, f"two columns are named {twice}")
    places = [(label, sheet.header.index(label)) for label in labels]
    for line, row in sheet.rows:
        for label, place in places:
            state = _state(sheet, row[place]) if place < len(row) else None
            if state is None:
                raise AnnotationError(sheet.path, f"line {line}, {label}: expected 0, 1 or -1")
            columns[label].append(state)
    return columns


def _probabilities(sheet: Sheet, label: str) -> list[float | None]:
    """SimBA's probability of a label in each row, None where there is none."""
    place = sheet.header.index(PROBABILITY + label) if PROBABILITY + label in sheet.header else len(sheet.header)
    return [sheet.number(row[place]) if place < len(row) else None for _, row in sheet.rows]


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return round(math.fsum(known) / len(known), DECIMALS) if known else None


def _state(sheet: Sheet, cell: str) -> int | None:
    """0, 1 or -1 from text such as `1` and `1.0`; counts of points are 1."""
    number = TRUTH.get(cell.strip().lower(), sheet.number(cell))
    if number is None or number != int(number) or number < -1:
        return None
    return min(int(number), 1)


def _reviewed(columns: Columns, facts: Facts) -> tuple[Ranges | None, tuple[tuple[str, Ranges | None], ...]]:
    """Where all labels were looked at, and those labels that were looked at elsewhere; None: everywhere."""
    seen: dict[str, list[bool]] = {label: [state >= 0 for state in states] for label, states in columns.items()}
    if not facts.fps or all(all(states) for states in seen.values()):
        return None, ()
    patterns = [tuple(states) for states in seen.values()]
    usual = max(patterns, key=patterns.count)
    ranges = {
        pattern: None
        if all(pattern)
        else tuple((facts.at(first), facts.at(last + 1)) for first, last, was_seen in runs(pattern) if was_seen)
        for pattern in patterns
    }
    others = {label: ranges[tuple(states)] for label, states in seen.items() if tuple(states) != usual}
    return ranges[usual], tuple(others.items())


def _simba(path: Path) -> Path | None:
    """The folder of the SimBA project that a file lies in."""
    return next((folder for folder in list(path.parents)[:4] if (folder / "project_config.ini").is_file()), None)


def _simba_targets(project: Path) -> list[str]:
    config = configparser.ConfigParser(interpolation=None, strict=False)
    try:
        config.read_string(read_text(project / "project_config.ini"))
    except configparser.Error as error:
        raise AnnotationError(project / "project_config.ini", f"not SimBA's settings: {error}"[:200]) from error
    return [
        value
        for section in config.sections()
        for key, value in config.items(section)
        if re.fullmatch(r"target_name_\d+", key)
    ]


def _simba_fps(project: Path, video: str) -> float | None:
    table = project / "logs" / "video_info.csv"
    if not table.is_file():
        return None
    sheet = read_sheet(table, read_text(table), ("video", "fps"))
    return next((sheet.number(cells["fps"]) for _, cells in sheet.cells() if stem(cells["video"]) == video), None)


def _timed(sheet: Sheet, name: str) -> Annotations:
    """A table of time steps: a row holds until the next."""
    times = [sheet.time(line, row[0]) for line, row in sheet.rows]
    step = round(times[1] - times[0], DECIMALS) if len(times) > 1 else 0.0
    if len(times) == 1:
        console.warn(f"{sheet.path}: one row does not tell how long it holds; what it has ends where it starts")
    states: Columns = {}
    for place, column in enumerate(sheet.header[1:], start=1):
        values = [_state(sheet, row[place]) if place < len(row) else None for _, row in sheet.rows]
        if None in values:
            line = sheet.rows[values.index(None)][0]
            raise AnnotationError(sheet.path, f"line {line}, {column}: expected 0, 1 or a number of events")
        before = states.setdefault(column, [0] * len(values))
        states[column] = [max(a, b or 0) for a, b in zip(before, values, strict=True)]
    segments = []
    for column, column_states in states.items():
        match = WITH_MODIFIERS.fullmatch(column)
        label, modifiers = (match[1], modifiers_of(match[2].split("|"))) if match else (column, ())
        for first, last, state in runs(column_states):
            if state == 1:
                start, end = round(times[first], DECIMALS), round(times[last] + step, DECIMALS)
                segments.append(GroundTruth(label, start, end, modifiers=modifiers, frames=(first, last)))
    match = BINARY_OF_BORIS.fullmatch(name)
    subjects = (match[1],) if match and match[1] != NO_SUBJECT else ()
    labels = dict.fromkeys(WITH_MODIFIERS.sub(r"\1", column) for column in states)
    found = {item.label for item in segments}
    duration = round(times[-1] + step, DECIMALS) if times else None
    video = video_of(name, segments, Facts(duration=duration))
    ordered = tuple(label for label in labels if label in found)
    return Annotations(BEHAVIOUR_VERSION, {name: video}, ordered, subjects=subjects)
