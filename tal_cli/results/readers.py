"""Reading results: what `tal detect` wrote, and what other tools wrote in the same formats.

Formats are told apart by their content; text may be gzipped:

- JSON as ActivityNet's evaluators read it, which includes EPIC-KITCHENS submissions (`json`);
- JSON lines with `video` and `segments` (`jsonl`);
- CSV and Parquet with the columns video, label, start, end, score (`csv`, `parquet`);
- OpenTimelineIO timelines whose markers carry label and score (`otio`);
- Label Studio's tasks with predictions, whose times are whole frames (`labelstudio`).

The other formats are for display and other programs: they round scores to two decimals, or have none.
"""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from tal_cli.extractors.errors import InputError
from tal_cli.extractors.files.json_files import parse_json, read_text
from tal_cli.results.run_videos import RunVideos
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import FORMATS
from tal_cli.spreadsheets import header, lines, separator, with_point

PARQUET_MAGIC = b"PAR1"
FILLED_LINE = re.compile(r"\S[^\r\n]*")
MODEL_VERSION = re.compile(r"(.*) \(tal (.*)\)")
EXPECTED = "not a results file: expected JSON or JSON lines of `tal detect`, or a table with the columns {}"

Row = tuple[str, float, float, float]  # label, start, end, score


@dataclass(frozen=True)
class VideoSegments:
    """Segments of one video in a file; a table with interleaved videos yields several per video.

    Attributes:
        video: the video's name.
        rows: label, start, end (seconds) and score, in file order; finite, and unchecked otherwise.
        path, duration, fps, frames: properties of the video; "" and 0 if the file lacks them.
    """

    video: str
    rows: tuple[Row, ...]
    path: str = ""
    duration: float = 0.0
    fps: float = 0.0
    frames: int = 0


@dataclass(frozen=True)
class Results:
    """Contents of a results file.

    Attributes:
        videos: in file order; read as they are iterated over, which can be done once and raises InputError.
        model, version: of the run that made it; empty where unknown.
        labels: labels of the model; may be empty.
        run_videos: what the model was trained on; None where unknown.
    """

    videos: Iterator[VideoSegments]
    model: str = ""
    version: str = ""
    labels: tuple[str, ...] = ()
    run_videos: RunVideos | None = None

    def detections(self) -> tuple[Detections, ...]:
        """All videos, each once, without empty segments; starts are clipped to 0.

        Raises:
            InputError: invalid content; the message names the video or the line.
        """
        first: dict[str, VideoSegments] = {}
        kept: dict[str, list[Segment]] = {}
        for part in self.videos:
            first.setdefault(part.video, part)
            segments = (Segment(label, max(0.0, start), end, score) for label, start, end, score in part.rows)
            kept.setdefault(part.video, []).extend(s for s in segments if s.end > s.start)
        return tuple(
            Detections(name, part.path, part.duration, part.fps, part.frames, tuple(kept[name]))
            for name, part in first.items()
        )


def read_results(path: str | Path, label_key: str = "label") -> Results:
    """Read a results file in any of the formats above.

    Args:
        path: the file.
        label_key: entry of a row that is its label; EPIC-KITCHENS submissions have `verb`, `noun` and `action`.

    Raises:
        InputError: the file cannot be read or is not a results file; the message names the video or the line.
        MissingError: a Parquet file, and pyarrow is not installed.
    """
    if _begins_with(path, PARQUET_MAGIC):
        return _from_parquet(path, label_key)
    text = read_text(path)
    first = FILLED_LINE.search(text)
    if first is None or not text.startswith(("{", "["), first.start()):
        return Results(_by_video(path, _csv_rows(path, text, label_key)))
    is_one_line = FILLED_LINE.search(text, first.end()) is None
    try:
        content = parse_json(path, text if is_one_line else first[0])
    except InputError:
        if is_one_line:
            raise
        content = None
    if isinstance(content, dict) and "segments" in content and "results" not in content:
        return Results(_from_lines(path, text, label_key))
    if not is_one_line:
        content = parse_json(path, text)
    if isinstance(content, list):
        return _from_label_studio(path, content)
    if isinstance(content, dict) and "OTIO_SCHEMA" in content:
        return _from_timelines(path, content)
    return _from_activitynet(path, content, label_key)


def _from_activitynet(path: str | Path, content: Any, label_key: str) -> Results:
    results = _dict(content).get("results")
    if not isinstance(results, dict):
        raise InputError(path, EXPECTED.format(",".join(_columns("label"))))
    about = _dict(content.get("external_data"))
    facts = _dict(about.get("videos"))
    videos = (_video(path, name, rows, _dict(facts.get(name)), label_key) for name, rows in results.items())
    labels = about.get("labels")
    return Results(
        videos,
        str(about.get("model", "")),
        str(about.get("version", "")) if about.get("tool") == "tal" else "",
        tuple(map(str, labels)) if isinstance(labels, list) else (),
        RunVideos.from_json(about),
    )


def _from_lines(path: str | Path, text: str, label_key: str) -> Iterator[VideoSegments]:
    for number, line in enumerate(lines(text), start=1):
        if not line.strip():
            continue
        try:
            entry = parse_json(path, line)
            name, rows = str(entry["video"]), entry["segments"]
        except (InputError, LookupError, TypeError) as error:
            raise InputError(path, f"line {number}: expected {{video, segments}}") from error
        yield _video(path, name, rows, entry, label_key)


def _video(path: str | Path, name: str, items: Any, facts: dict[str, Any], label_key: str) -> VideoSegments:
    if not isinstance(items, list):
        raise InputError(path, f"video {name}: expected a list of rows")

    def parse(row: Any) -> Row:
        start, end = row["segment"]
        return _row(row[label_key], start, end, row["score"])

    rows = _rows(path, name, items, parse, f"{label_key}, score and segment [start, end]")
    duration, fps, frames = (_number(facts.get(key)) for key in ("duration", "fps", "frames"))
    where = facts.get("path")
    return VideoSegments(name, rows, where if isinstance(where, str) else "", duration, fps, int(frames))


def _csv_rows(path: str | Path, text: str, label_key: str) -> Iterator[Sequence[Any]]:
    between = separator(header(text))
    table = csv.reader(lines(text), delimiter=between, strict=True)
    columns = _columns(label_key)
    try:
        names = next((row for row in table if row), [])
        if not set(columns) <= set(names):
            raise InputError(path, EXPECTED.format(",".join(columns)))
        places = [names.index(column) for column in columns]
        for row in table:
            if row:
                video, label, *numbers = (row[place] if place < len(row) else None for place in places)
                yield video, label, *(number and with_point(number, between) for number in numbers)
    except csv.Error as error:
        raise InputError(path, f"line {table.line_num}: {error}") from error


def _from_parquet(path: str | Path, label_key: str) -> Results:
    FORMATS["parquet"].check_installed()
    from pyarrow import ArrowException, parquet

    columns = _columns(label_key)
    try:
        table = parquet.ParquetFile(path)
        facts = {key.decode(): value.decode() for key, value in (table.schema_arrow.metadata or {}).items()}
    except (ArrowException, OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"not a Parquet file that can be read: {error}") from error
    if not set(columns) <= set(table.schema_arrow.names):
        raise InputError(path, EXPECTED.format(",".join(columns)))

    def rows() -> Iterator[Sequence[Any]]:
        try:
            for batch in table.iter_batches(columns=list(columns)):
                yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
        except (ArrowException, OSError) as error:
            raise InputError(path, f"damaged: {error}") from error

    run_videos = None
    if "tal.run_videos" in facts:
        run_videos = RunVideos.from_json(_dict(parse_json(path, facts["tal.run_videos"])))
    return Results(
        _by_video(path, rows()), facts.get("tal.model", ""), facts.get("tal.version", ""), run_videos=run_videos
    )


def _by_video(path: str | Path, rows: Iterable[Sequence[Any]]) -> Iterator[VideoSegments]:
    for name, part in groupby(rows, itemgetter(0)):
        parsed = _rows(path, name, part, lambda row: _row(*row[1:]), "label, start, end and score")
        yield VideoSegments(str(name), parsed)


def _from_timelines(path: str | Path, content: dict[str, Any]) -> Results:
    timelines = [content] if "tracks" in content else content.get("children")
    if not isinstance(timelines, list):
        raise InputError(path, "expected a timeline of OpenTimelineIO, or a collection of timelines")
    about = _dict(_dict(_dict(next(iter(timelines), None)).get("metadata")).get("tal"))
    videos = (_timeline(path, number, timeline) for number, timeline in enumerate(timelines, start=1))
    return Results(videos, str(about.get("model", "")), str(about.get("version", "")))


def _timeline(path: str | Path, number: int, timeline: Any) -> VideoSegments:
    try:
        name = str(timeline["name"])
        (clip,) = (clip for track in timeline["tracks"]["children"] for clip in track["children"])
        markers = clip["markers"]
        source = str(clip["media_references"]["DEFAULT_MEDIA"]["target_url"])
        origin, duration = (_seconds(clip["source_range"][key]) for key in ("start_time", "duration"))
        fps = _number(timeline["metadata"]["tal"]["fps"])
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(path, f"timeline {number}: not as `tal detect` writes it, a clip with markers") from error

    def parse(marker: Any) -> Row:
        about, span = marker["metadata"]["tal"], marker["marked_range"]
        start = _seconds(span["start_time"]) - origin
        return _row(about["label"], start, start + _seconds(span["duration"]), about["score"])

    rows = _rows(path, name, markers, parse, "a marker with a range, and label and score under metadata.tal")
    where = _unquoted(source.removeprefix("file://"))
    return VideoSegments(name, rows, where, duration, fps, round(duration * fps))


def _seconds(time: Any) -> float:
    return float(time["value"]) / float(time["rate"])


def _from_label_studio(path: str | Path, tasks: list[Any]) -> Results:
    try:
        version = tasks[0]["predictions"][0]["model_version"]
    except (LookupError, TypeError):
        version = ""
    known = MODEL_VERSION.fullmatch(str(version))
    videos = (_task(path, number, task) for number, task in enumerate(tasks, start=1))
    return Results(videos, known[1], known[2]) if known else Results(videos)


def _task(path: str | Path, number: int, task: Any) -> VideoSegments:
    try:
        name, fps, source = str(task["data"]["name"]), float(task["data"]["fps"]), str(task["data"]["video"])
        regions = task["predictions"][0]["result"]
    except (LookupError, TypeError, ValueError) as error:
        raise InputError(path, f"task {number}: not as `tal detect` writes it, with name, fps, predictions") from error

    def parse(region: Any) -> Row:
        ((span,), (label,)) = region["value"]["ranges"], region["value"]["timelinelabels"]
        return _row(label, (span["start"] - 1) / fps, span["end"] / fps, region["score"])

    rows = _rows(path, name, regions, parse, "a region with a range of frames, a label and a score")
    return VideoSegments(name, rows, _unquoted(source.replace("/data/local-files/?d=", "/", 1)), fps=fps)


def _rows(
    path: str | Path, video: str, rows: Iterable[Any], parse: Callable[[Any], Row], expected: str
) -> tuple[Row, ...]:
    segments = []
    number = 0
    try:
        for number, row in enumerate(rows, start=1):  # noqa: B007 - the message has it
            segments.append(parse(row))
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(path, f"video {video}, row {number}: expected {expected}") from error
    return tuple(segments)


def _row(label: object, start: Any, end: Any, score: Any) -> Row:
    numbers = float(start), float(end), float(score)
    if not all(map(math.isfinite, numbers)):
        raise ValueError("not a finite number")
    return str(label), *numbers


def _number(value: Any) -> float:
    """An optional number: 0 for anything that is not finite."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return number if math.isfinite(number) else 0.0


def _unquoted(address: str) -> str:
    return os.fsdecode(unquote_to_bytes(address))


def _columns(label_key: str) -> tuple[str, ...]:
    return ("video", label_key, "start", "end", "score")


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _begins_with(path: str | Path, magic: bytes) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False
