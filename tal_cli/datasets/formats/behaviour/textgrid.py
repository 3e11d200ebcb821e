"""Praat's TextGrid, long and short: a tier is a subject and a text a label, or the other way round; empty texts and
BORIS's `null` are gaps.

Only numbers and quoted texts carry meaning, in the same order in both forms; a doubled quotation mark inside a text is
one. Tiers are counted, not taken from `size`, which BORIS writes wrongly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tal_cli.datasets.annotations import DECIMALS, POINT, STATE, Annotations, GroundTruth
from tal_cli.datasets.formats.boris.timeline import subject_of
from tal_cli.datasets.formats.values import (
    BEHAVIOUR_VERSION,
    LABELS,
    Facts,
    How,
    named_after,
    sorted_labels,
    video_of,
)
from tal_cli.extractors.errors import AnnotationError

NAME = "Praat's TextGrid"
GAPS = ("", "null")
PART_OF_TIER = re.compile(r" \((?:points|points \d+|overlapping \d+)\)$")  # as tal writes them
KINDS = {"IntervalTier": STATE, "TextTier": POINT}
TOKEN = re.compile(r'"((?:[^"]|"")*)"|(?<![^\s])(-?\d+(?:\.\d*)?(?:[eE][-+]?\d+)?)(?![^\s])')

Token = str | float


def recognises(head: str) -> bool:
    """Whether the file begins like a TextGrid."""
    return head.startswith(("File type", '"ooTextFile')) and "TextGrid" in head[:200]


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file; its video has its name.

    Raises:
        AnnotationError: it is cut off, or damaged.
    """
    tokens = list(_tokens(text))
    start = next((n for n, token in enumerate(tokens) if token == "TextGrid"), 0) + 1
    segments: list[GroundTruth] = []
    name = named_after(path)
    try:
        duration = float(tokens[start + 1])
        at = next((n for n, token in enumerate(tokens) if token in KINDS), len(tokens))
        while at < len(tokens):
            kind, tier, count = KINDS[str(tokens[at])], str(tokens[at + 1]), int(float(tokens[at + 4]))
            width = 3 if kind == STATE else 2
            body = tokens[at + 5 : at + 5 + width * count]
            if len(body) < width * count:
                raise AnnotationError(path, f"tier {tier} is cut off: {len(body) // width} of {count} entries")
            for index in range(0, len(body), width):
                *times, value = body[index : index + width]
                said = str(value)
                first, last = (round(float(time), DECIMALS) + 0.0 for time in (times[0], times[-1]))
                if said.strip() not in GAPS:
                    name_of = PART_OF_TIER.sub("", tier)
                    label, who = (name_of, said) if how.tiers == LABELS else (said, name_of)
                    subject = None if who == label and how.tiers == LABELS else subject_of(who)
                    segments.append(GroundTruth(label, first, last, kind, subject))
            at += 5 + width * count
    except (LookupError, ValueError, OverflowError) as error:
        raise AnnotationError(path, "not a TextGrid, or cut off") from error
    videos = {name: video_of(name, segments, Facts(duration=duration))}
    subjects = dict.fromkeys(item.subject for item in segments if item.subject)
    return Annotations(BEHAVIOUR_VERSION, videos, sorted_labels(videos), subjects=tuple(subjects))


def _tokens(text: str) -> Iterator[Token]:
    """Texts and numbers; `intervals [1]:` and the like are not."""
    for match in TOKEN.finditer(text):
        yield match[1].replace('""', '"') if match[2] is None else float(match[2])
