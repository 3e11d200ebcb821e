"""Solomon Coder: a row each 0.2 s or so, and a column per channel with the label that holds; labels of a channel
exclude one another. Commas and points, or semicolons and decimal commas in the code page of Windows."""

from __future__ import annotations

from pathlib import Path

from tal_cli.datasets.annotations import DECIMALS, Annotations, GroundTruth, LabelDefinition
from tal_cli.datasets.formats.sheets import first_row, read_sheet
from tal_cli.datasets.formats.values import (
    BEHAVIOUR_VERSION,
    Facts,
    How,
    named_after,
    runs,
    seconds,
    sorted_labels,
    video_of,
)

NAME = "Solomon Coder"
TIME = "time"
STEP = 0.2  # seconds between rows, unless the first two tell


def recognises(head: str) -> bool:
    """Whether the first column is `Time`, there are others, and the first row begins with a number."""
    names = first_row(head)
    if len(names) < 2 or names[0].lower() != TIME:
        return False
    rows = read_sheet(Path(), head, [name.lower() for name in names]).rows
    return bool(rows) and seconds(rows[0][1][0].replace(",", ".")) is not None


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a table; each label's group is its channel.

    Raises:
        AnnotationError: a time that is no number; the message names the line.
    """
    sheet = read_sheet(path, text, [name.lower() for name in first_row(text)])
    times = [sheet.time(line, row[0]) for line, row in sheet.rows]
    step = times[1] - times[0] if len(times) > 1 else STEP
    segments: list[GroundTruth] = []
    channels: dict[str, str] = {}
    for place, channel in enumerate(sheet.header[1:], start=1):
        column = [row[place].strip() if place < len(row) else "" for _, row in sheet.rows]
        for first, last, label in runs(column):
            if label:
                end = times[last + 1] if last + 1 < len(times) else times[last] + step
                start, end = round(times[first], DECIMALS), round(end, DECIMALS)
                segments.append(GroundTruth(str(label), start, end, frames=(first, last)))
                channels.setdefault(str(label), channel)
    name = named_after(path)
    duration = round(times[-1] + step, DECIMALS) if times else None
    videos = {name: video_of(name, segments, Facts(duration=duration))}
    labels = sorted_labels(videos)
    definitions = tuple(LabelDefinition(label, group=channels[label]) for label in labels)
    return Annotations(BEHAVIOUR_VERSION, videos, labels, definitions=definitions)
