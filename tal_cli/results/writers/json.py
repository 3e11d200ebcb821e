"""`json`: what the ActivityNet evaluators read."""

from __future__ import annotations

import json
from typing import Any

from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo
from tal_cli.safe_text import printable

# Times are kept exact until here and rounded once; a microsecond is far below a frame.
DECIMALS = 6


def segment_rows(detections: Detections) -> list[dict[str, Any]]:
    """The segments as JSON objects, best first, times in seconds."""
    return [
        {
            "label": segment.label,
            "score": round(segment.score, DECIMALS),
            "segment": [round(segment.start, DECIMALS), round(segment.end, DECIMALS)],
        }
        for segment in detections.segments
    ]


class JsonWriter:
    """One object for all videos, a line per segment; nothing is written before the last video, so never half of it."""

    def __init__(self, run: RunInfo) -> None:
        self._run = run
        self._results: list[str] = []
        self._videos: list[str] = []

    def start(self) -> bytes:
        return b""

    def add(self, detections: Detections) -> bytes:
        facts = {
            "path": printable(detections.path),
            "duration": round(detections.duration, DECIMALS),
            "fps": round(detections.fps, DECIMALS),
            "frames": detections.frames,
        }
        rows = [_dump(row) for row in segment_rows(detections)]
        self._results.append(f"{_dump(detections.video)}: [{_lines(rows, 3)}]")
        self._videos.append(f"{_dump(detections.video)}: {_dump(facts)}")
        return b""

    def finish(self) -> bytes:
        data = [
            '"tool": "tal"',
            f'"version": {_dump(self._run.version)}',
            f'"model": {_dump(self._run.model)}',
            f'"weights_sha256": {_dump(self._run.weights_sha256)}',
            f'"labels": {_dump(list(self._run.labels))}',
            f'"videos": {{{_lines(self._videos, 3)}}}',
        ]
        document = [
            f'"version": {_dump(self._run.version)}',
            f'"results": {{{_lines(self._results, 2)}}}',
            f'"external_data": {{{_lines(data, 2)}}}',
        ]
        return f"{{{_lines(document, 1)}}}\n".encode()


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _lines(items: list[str], depth: int) -> str:
    """Items one a line, as they stand between brackets; nothing at all where there are none."""
    if not items:
        return ""
    indent = "\n" + " " * depth
    return indent + f",{indent}".join(items) + indent[:-1]
