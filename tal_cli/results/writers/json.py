"""`json`: the format of the ActivityNet evaluators."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from typing import Any, BinaryIO

from tal_cli.datasets.annotations import DECIMALS, POINT
from tal_cli.extractors.files.atomic import naming
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import RunInfo
from tal_cli.safe_text import printable

IN_MEMORY = 1 << 20  # bytes


def segment_rows(detections: Detections) -> list[dict[str, Any]]:
    """The segments as JSON objects, best first, times in seconds."""
    return [
        {
            "label": segment.label,
            "score": round(segment.score, DECIMALS),
            "segment": [round(segment.start, DECIMALS), round(segment.end, DECIMALS)],
            **kind_json(segment),
            **({"subject": segment.subject} if segment.subject else {}),
        }
        for segment in detections.segments
    ]


def kind_json(segment: Segment) -> dict[str, str]:
    """The entry that says that a segment is a point; states have none."""
    return {"kind": segment.kind} if segment.kind == POINT else {}


def write(detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None:
    """Write one object for all videos, a line per segment.

    `external_data.videos` comes last in the document, so its lines are buffered in a temporary file.
    """
    begun = False
    with tempfile.SpooledTemporaryFile(max_size=IN_MEMORY) as facts:
        file.write(f'{{\n "version": {_dump(run.version)},\n "results": {{'.encode())
        for found in detections:
            comma, begun = "," if begun else "", True
            name = _dump(found.video)
            file.write(f"{comma}\n  {name}: {_rows(found)}".encode())
            with naming(tempfile.gettempdir()):
                facts.write(f"{comma}\n   {name}: {_dump(_facts(found))}".encode())
        about = {
            "tool": "tal",
            "version": run.version,
            "model": run.model,
            "weights_sha256": run.weights_sha256,
            "labels": run.labels,
            **({"min_score": scores_json(run.min_score)} if run.min_score else {}),
            **({"display_score": scores_json(run.display_score)} if run.display_score else {}),
            **(run.run_videos.as_json() if run.run_videos else {}),
        }
        lines = "".join(f"\n  {_dump(key)}: {_dump(value)}," for key, value in about.items())
        end = "\n " if begun else ""
        file.write(f'{end}}},\n "external_data": {{{lines}\n  "videos": {{'.encode())
        facts.seek(0)
        shutil.copyfileobj(facts, file)
        end = "\n  " if begun else ""
        file.write(f"{end}}}\n }}\n}}\n".encode())


def scores_json(scores: Mapping[str, float]) -> float | dict[str, float]:
    """One score where it is the same for all labels, else one per label."""
    different = set(scores.values())
    return different.pop() if len(different) == 1 else dict(scores)


def _rows(detections: Detections) -> str:
    rows = ",".join(f"\n   {_dump(row)}" for row in segment_rows(detections))
    return f"[{rows}\n  ]" if rows else "[]"


def _facts(detections: Detections) -> dict[str, Any]:
    return {
        "path": printable(detections.path),
        "duration": round(detections.duration, DECIMALS),
        "fps": round(detections.fps, DECIMALS),
        "frames": detections.frames,
    }


def _dump(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
