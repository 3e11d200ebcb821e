"""`csv`: one row per segment under the header `video,label,start,end,score`."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import BinaryIO

from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo
from tal_cli.results.writers.json import DECIMALS

HEADER = ("video", "label", "start", "end", "score")


def write(detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None:
    """Write rows in the order of the videos, each in temporal order; quoted as in RFC 4180."""
    file.write(_lines([HEADER]))
    for found in detections:
        file.write(
            _lines(
                (found.video, s.label, *(round(value, DECIMALS) for value in (s.start, s.end, s.score)))
                for s in found.in_time()
            )
        )


def _lines(rows: Iterable[tuple[object, ...]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()
