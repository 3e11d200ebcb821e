"""`jsonl`: one JSON object per video, as soon as that video is done."""

from __future__ import annotations

import json

from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo
from tal_cli.results.writers.json import DECIMALS, segment_rows
from tal_cli.safe_text import printable


class JsonLinesWriter:
    """One line per video."""

    def __init__(self, run: RunInfo) -> None:
        pass

    def start(self) -> bytes:
        return b""

    def add(self, detections: Detections) -> bytes:
        row = {
            "video": detections.video,
            "path": printable(detections.path),
            "duration": round(detections.duration, DECIMALS),
            "segments": segment_rows(detections),
        }
        return (json.dumps(row, ensure_ascii=False) + "\n").encode()

    def finish(self) -> bytes:
        return b""
