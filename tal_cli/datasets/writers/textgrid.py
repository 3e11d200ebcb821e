"""Praat's TextGrid, long form: a tier per subject, or per label.

Praat and its readers want names of tiers that differ, and intervals of a tier that neither overlap nor are empty. So
points are in a tier of their own, `NAME (points)`, and what overlaps in `NAME (overlapping 2)` and so on; the reader
puts them together again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import count

from tal_cli import console
from tal_cli.datasets.annotations import POINT, STATE, Annotations, GroundTruth
from tal_cli.datasets.formats.behaviour.textgrid import GAPS, PART_OF_TIER
from tal_cli.datasets.formats.boris.timeline import NO_SUBJECT

SHORTEST = 0.001  # seconds
DECIMALS = 6

Tier = tuple[str, str]  # name and kind
Entry = tuple[float, float, str]  # start, end, text; a point's end is its start


def write_textgrid(annotations: Annotations) -> bytes:
    """One video, with a tier for each subject; texts are labels."""
    return _write(annotations, lambda item: item.subject or NO_SUBJECT)


def write_textgrid_by_label(annotations: Annotations) -> bytes:
    """One video, with a tier for each label; texts are subjects, or labels where there is none."""
    return _write(annotations, lambda item: item.label)


def _write(annotations: Annotations, tier_of: Callable[[GroundTruth], str]) -> bytes:
    (video,) = annotations.videos.values()
    items = [item for item in video.segments if not math.isnan(item.start)]
    begun = min((0.0, *(item.start for item in items)))
    tiers: dict[Tier, list[Entry]] = {}
    for item in sorted(items, key=lambda item: (item.start, item.end)):
        end = item.end
        if item.kind != POINT and end - item.start < SHORTEST:
            end = item.start + SHORTEST
            console.warn(
                f"{video.name}: {item.label} at {item.start:g} s is shorter than {SHORTEST:g} s; it gets that length"
            )
        name = tier_of(item)
        _warn_of_names(video.name, name, item)
        entry = (item.start, end, item.label if name != item.label else item.subject or item.label)
        _into(tiers, name, item.kind, entry)
    if not tiers:
        tiers[NO_SUBJECT, STATE] = []
    ended = max((video.duration, *(end for entries in tiers.values() for _, end, _ in entries)))
    lines = ['File type = "ooTextFile"', 'Object class = "TextGrid"', "", *_bounds(begun, ended), "tiers? <exists>"]
    lines += [f"size = {len(tiers)}", "item []:"]
    for number, (tier, entries) in enumerate(tiers.items(), start=1):
        lines += [f"    item [{number}]:", *(f"        {line}" for line in _tier(tier, entries, begun, ended))]
    return ("\n".join(lines) + "\n").encode()


def _warn_of_names(video: str, tier: str, item: GroundTruth) -> None:
    """Say what would be read otherwise."""
    text = item.label if tier != item.label else item.subject or item.label
    if text.strip() in GAPS:
        console.warn(f"{video}: {item.label} at {item.start:g} s: the text {text!r} is that of a gap, so it is lost")
    elif item.subject == item.label == tier:
        console.warn(
            f"{video}: {item.label} at {item.start:g} s: a subject of that name means none where tiers are labels"
        )
    elif PART_OF_TIER.search(tier):
        console.warn(
            f"{video}: {item.label} at {item.start:g} s: the end of {tier!r} is lost, as it is that of a further tier"
        )


def _into(tiers: dict[Tier, list[Entry]], name: str, kind: str, entry: Entry) -> None:
    """Add an entry to the first tier of this name that has room for it."""
    first, further = (" (points)", " (points {})") if kind == POINT else ("", " (overlapping {})")
    for number in count(1):
        entries = tiers.setdefault((name + (first if number == 1 else further.format(number)), kind), [])
        if not entries or entries[-1][1] < entry[0] or (kind == STATE and entries[-1][1] == entry[0]):
            entries.append(entry)
            return


def _tier(tier: Tier, entries: Sequence[Entry], begun: float, ended: float) -> Iterable[str]:
    name, kind = tier
    yield f'class = "{"TextTier" if kind == POINT else "IntervalTier"}"'
    yield f"name = {_quoted(name)}"
    yield from _bounds(begun, ended)
    if kind == POINT:
        yield f"points: size = {len(entries)}"
        for number, (time, _, text) in enumerate(entries, start=1):
            yield from (f"points [{number}]:", f"    number = {_number(time)}", f"    mark = {_quoted(text)}")
        return
    whole: list[Entry] = []
    for start, end, text in (*entries, (ended, ended, "")):
        before = whole[-1][1] if whole else begun
        if start > before:
            whole.append((before, start, ""))
        if end > start:
            whole.append((start, end, text))
    yield f"intervals: size = {len(whole)}"
    for number, (start, end, text) in enumerate(whole, start=1):
        yield f"intervals [{number}]:"
        yield from (f"    {line}" for line in (*_bounds(start, end), f"text = {_quoted(text)}"))


def _bounds(start: float, end: float) -> tuple[str, str]:
    return f"xmin = {_number(start)}", f"xmax = {_number(end)}"


def _number(value: float) -> str:
    return f"{round(value, DECIMALS) + 0.0:.{DECIMALS}f}".rstrip("0").rstrip(".")


def _quoted(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
