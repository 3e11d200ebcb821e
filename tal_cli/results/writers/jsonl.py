"""`jsonl`: one JSON object per video, as soon as that video is done."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import BinaryIO

from tal_cli.datasets.annotations import DECIMALS
from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo
from tal_cli.results.writers.json import segment_rows
from tal_cli.safe_text import printable


def write(detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None:
    """Write one line per video."""
    for found in detections:
        row = {
            "video": found.video,
            "path": printable(found.path),
            "duration": round(found.duration, DECIMALS),
            "segments": segment_rows(found),
        }
        file.write((json.dumps(row, ensure_ascii=False) + "\n").encode())
