"""Reading back what `tal detect` wrote, or what other tools predicted, as detections."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tal_cli.extractors.errors import InputError
from tal_cli.extractors.files.json_files import parse_json, read_text
from tal_cli.results.segments import Detections, Segment

CSV_COLUMNS = ("video", "label", "start", "end", "score")


@dataclass(frozen=True)
class Results:
    """What a results file says.

    videos: detections in file order; path "" and duration, fps, frames 0 where the file does not tell.
    model, version: of the run that made it; empty where unknown. labels: what the model could find; may be empty.
    """

    videos: tuple[Detections, ...]
    model: str = ""
    version: str = ""
    labels: tuple[str, ...] = field(default=())


def load_results(path: str | Path) -> Results:
    """Read `json`, `jsonl` or `csv` as `tal detect` writes them, gzipped or not; told apart by their content.

    Raises:
        InputError: the file cannot be read or is not such a file; the message names the video or the line.
    """
    text = read_text(path)
    first = text.lstrip()[:1]
    if first != "{":
        return Results(tuple(_from_csv(path, text)))
    head, _, rest = text.lstrip().partition("\n")
    if head.rstrip().endswith("}") and '"segments"' in head and (not rest.strip() or rest.lstrip()[:1] == "{"):
        return Results(tuple(_from_lines(path, text)))
    return _from_activitynet(path, parse_json(path, text))


def _from_activitynet(path: str | Path, content: Any) -> Results:
    results = content.get("results") if isinstance(content, dict) else None
    if not isinstance(results, dict):
        raise InputError(path, 'not a results file: expected {"results": {VIDEO: [...]}}, JSON lines or CSV')
    about = content.get("external_data")
    about = about if isinstance(about, dict) else {}
    facts = about.get("videos")
    facts = facts if isinstance(facts, dict) else {}
    videos = tuple(_video(path, name, rows, facts.get(name)) for name, rows in results.items())
    labels = about.get("labels")
    names = tuple(map(str, labels)) if isinstance(labels, list) else ()
    version = str(about.get("version", "")) if about.get("tool") == "tal" else ""
    return Results(videos, str(about.get("model", "")), version, names)


def _from_lines(path: str | Path, text: str) -> Iterator[Detections]:
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            entry = parse_json(path, line)
            name, rows = str(entry["video"]), entry["segments"]
        except (InputError, KeyError, TypeError) as error:
            raise InputError(path, f"line {number}: expected {{video, segments}}") from error
        yield _video(path, name, rows, entry)


def _from_csv(path: str | Path, text: str) -> Iterator[Detections]:
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    rows: dict[str, list[dict[str, Any]]] = {}
    try:
        if not set(CSV_COLUMNS) <= set(reader.fieldnames or ()):
            raise InputError(
                path, f"not a results file: expected JSON, or CSV with the columns {','.join(CSV_COLUMNS)}"
            )
        for row in reader:
            item = {"label": row["label"], "score": row["score"], "segment": [row["start"], row["end"]]}
            rows.setdefault(row["video"], []).append(item)
    except csv.Error as error:
        raise InputError(path, f"line {reader.line_num}: {error}") from error
    for name, items in rows.items():
        yield _video(path, name, items, None)


def _video(path: str | Path, name: str, rows: Any, facts: Any) -> Detections:
    known: Mapping[str, Any] = facts if isinstance(facts, dict) else {}
    if not isinstance(rows, list):
        raise InputError(path, f"video {name}: expected a list of rows")
    found = (_segment(path, name, number, row) for number, row in enumerate(rows, start=1))
    segments = tuple(segment for segment in found if segment.end > segment.start)
    try:
        duration, fps, frames = (_finite(known.get(key, 0)) for key in ("duration", "fps", "frames"))
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(path, f"video {name}: duration, fps and frames are numbers") from error
    where = known.get("path", "")
    return Detections(name, where if isinstance(where, str) else "", duration, fps, int(frames), segments)


def _segment(path: str | Path, video: str, number: int, row: Any) -> Segment:
    try:
        start, end = row["segment"]
        return Segment(str(row["label"]), max(0.0, _finite(start)), _finite(end), _finite(row["score"]))
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        expected = "expected label, score and segment [start, end]"
        raise InputError(path, f"video {video}, row {number}: {expected}") from error


def _finite(value: Any) -> float:
    number = float(value)
    if not math.isfinite(number):
        raise ValueError("not a finite number")
    return number
