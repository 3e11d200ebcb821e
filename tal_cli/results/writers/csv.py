"""`csv`: one row per segment under the header `video,label,start,end,score`."""

from __future__ import annotations

import csv
import io

from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo
from tal_cli.results.writers.json import DECIMALS


class CsvWriter:
    """Rows in the order of the videos, best segment first; quoted where a value holds a comma, as RFC 4180 has it."""

    def __init__(self, run: RunInfo) -> None:
        pass

    def start(self) -> bytes:
        return self._rows([("video", "label", "start", "end", "score")])

    def add(self, detections: Detections) -> bytes:
        return self._rows(
            [
                (detections.video, s.label, *(round(value, DECIMALS) for value in (s.start, s.end, s.score)))
                for s in detections.segments
            ]
        )

    def finish(self) -> bytes:
        return b""

    @staticmethod
    def _rows(rows: list[tuple[object, ...]]) -> bytes:
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        return text.getvalue().encode()
