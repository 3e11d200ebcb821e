"""THUMOS14's and MultiTHUMOS' text files: one per label, with a line `video_test_0000004  0.20  1.20` per segment.

The label is the file's name without `_val` or `_test`; the subset follows from the names of the videos. The files have
no durations, which can be read from the videos. Segments of THUMOS14's Ambiguous are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tal_cli.datasets.annotations import Annotations
from tal_cli.datasets.formats.values import Entry, How, finite, gather, named_after, sorted_labels
from tal_cli.extractors.errors import AnnotationError

NAME = "THUMOS14's text files"
LINE = re.compile(r"(video_(validation|test)_\d+)\s+(\S+)\s+(\S+)")
AMBIGUOUS = "Ambiguous"
OF_SUBSET = re.compile(r"_(val|test)$")


def recognises(head: str) -> bool:
    """Whether the first line is such a segment."""
    lines = head.splitlines()
    return bool(lines) and LINE.fullmatch(lines[0].strip()) is not None


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file.

    Raises:
        AnnotationError: an invalid line; the message names it.
    """
    label = OF_SUBSET.sub("", named_after(path))
    videos = gather(_entries(path, text, label))
    return Annotations("", videos, sorted_labels(videos))


def _entries(path: Path, text: str, label: str) -> Iterator[Entry]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        match = LINE.fullmatch(line.strip())
        start, end = (finite(match[3]), finite(match[4])) if match else (None, None)
        if match is None or start is None or end is None:
            raise AnnotationError(path, f"line {number}: expected a video, a start and an end")
        yield Entry(match[1], None if label == AMBIGUOUS else label, start, end, match[2])
