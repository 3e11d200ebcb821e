"""Reading results: what `tal detect` wrote, and what other tools wrote in the same formats.

Formats are told apart by their content; text may be gzipped:

- JSON as ActivityNet's evaluators read it, which includes EPIC-KITCHENS submissions (`json`);
- JSON lines with `video` and `segments` (`jsonl`);
- CSV and Parquet with the columns video, label, start, end, score (`csv`, `parquet`);
- OpenTimelineIO timelines whose markers carry label and score (`otio`);
- Label Studio's tasks with predictions, whose times are whole frames (`labelstudio`);
- ELAN's documents whose annotations are scores, of two decimals (`elan`).

The other formats are for display.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

from tal_cli.datasets.formats import elan
from tal_cli.extractors.errors import InputError
from tal_cli.extractors.files.json_files import parse_json, read_text
from tal_cli.results.editor_files import from_elan, from_label_studio, from_timelines
from tal_cli.results.parsed import Results, Row, VideoSegments, dict_of, number_of, parse_rows, row_of
from tal_cli.results.run_videos import RunVideos
from tal_cli.results.writers import FORMATS
from tal_cli.spreadsheets import header, lines, separator, with_point

PARQUET_MAGIC = b"PAR1"
FILLED_LINE = re.compile(r"\S[^\r\n]*")
EXPECTED = "not a results file: expected JSON or JSON lines of `tal detect`, or a table with the columns {}"


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
    if elan.recognises(text.lstrip()):
        return from_elan(path, text)
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
        return from_label_studio(path, content)
    if isinstance(content, dict) and "OTIO_SCHEMA" in content:
        return from_timelines(path, content)
    return _from_activitynet(path, content, label_key)


def _from_activitynet(path: str | Path, content: Any, label_key: str) -> Results:
    results = dict_of(content).get("results")
    if not isinstance(results, dict):
        raise InputError(path, EXPECTED.format(",".join(_columns("label"))))
    about = dict_of(content.get("external_data"))
    facts = dict_of(about.get("videos"))
    videos = (_video(path, name, rows, dict_of(facts.get(name)), label_key) for name, rows in results.items())
    labels = about.get("labels")
    return Results(
        videos,
        str(about.get("model", "")),
        str(about.get("version", "")) if about.get("tool") == "tal" else "",
        tuple(map(str, labels)) if isinstance(labels, list) else (),
        RunVideos.from_json(about),
        _scores(about.get("display_score")),
    )


def _scores(told: Any) -> float | dict[str, float] | None:
    """One score, or one per label; None for anything else."""
    if isinstance(told, dict):
        return {str(label): number_of(score) for label, score in told.items()}
    return None if told is None else number_of(told)


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
        return row_of(row[label_key], start, end, row["score"], row.get("kind"), row.get("subject"))

    rows = parse_rows(path, name, items, parse, f"{label_key}, score and segment [start, end]")
    duration, fps, frames = (number_of(facts.get(key)) for key in ("duration", "fps", "frames"))
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
        kind = names.index("kind") if "kind" in names else len(names)
        for row in table:
            if row:
                video, label, *numbers = (row[place] if place < len(row) else None for place in places)
                told = row[kind] if kind < len(row) else None
                yield video, label, *(number and with_point(number, between) for number in numbers), told
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
    if "kind" in table.schema_arrow.names:
        columns = (*columns, "kind")

    def rows() -> Iterator[Sequence[Any]]:
        try:
            for batch in table.iter_batches(columns=list(columns)):
                yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)
        except (ArrowException, OSError) as error:
            raise InputError(path, f"damaged: {error}") from error

    run_videos = None
    if "tal.run_videos" in facts:
        run_videos = RunVideos.from_json(dict_of(parse_json(path, facts["tal.run_videos"])))
    return Results(
        _by_video(path, rows()), facts.get("tal.model", ""), facts.get("tal.version", ""), run_videos=run_videos
    )


def _by_video(path: str | Path, rows: Iterable[Sequence[Any]]) -> Iterator[VideoSegments]:
    for name, part in groupby(rows, itemgetter(0)):
        parsed = parse_rows(path, name, part, lambda row: row_of(*row[1:]), "label, start, end and score")
        yield VideoSegments(str(name), parsed)


def _columns(label_key: str) -> tuple[str, ...]:
    return ("video", label_key, "start", "end", "score")


def _begins_with(path: str | Path, magic: bytes) -> bool:
    try:
        with Path(path).open("rb") as file:
            return file.read(len(magic)) == magic
    except OSError:
        return False
