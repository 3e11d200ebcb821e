"""Results in files of other programs: OpenTimelineIO's timelines, Label Studio's tasks and ELAN's documents."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote_to_bytes

from tal_cli.datasets.annotations import POINT
from tal_cli.datasets.formats import elan
from tal_cli.extractors.errors import InputError
from tal_cli.results.parsed import Results, Row, VideoSegments, dict_of, number_of, parse_rows, row_of

MODEL_VERSION = re.compile(r"(.*) \(tal (.*)\)")
AUTHOR = re.compile(r"tal (\S+), model (.*)")


def from_timelines(path: str | Path, content: dict[str, Any]) -> Results:
    """Results from the markers of a timeline, or of a collection of timelines. Raises InputError."""
    timelines = [content] if "tracks" in content else content.get("children")
    if not isinstance(timelines, list):
        raise InputError(path, "expected a timeline of OpenTimelineIO, or a collection of timelines")
    about = dict_of(dict_of(dict_of(next(iter(timelines), None)).get("metadata")).get("tal"))
    videos = (_timeline(path, number, timeline) for number, timeline in enumerate(timelines, start=1))
    return Results(videos, str(about.get("model", "")), str(about.get("version", "")))


def _timeline(path: str | Path, number: int, timeline: Any) -> VideoSegments:
    try:
        name = str(timeline["name"])
        (clip,) = (clip for track in timeline["tracks"]["children"] for clip in track["children"])
        markers = clip["markers"]
        source = str(clip["media_references"]["DEFAULT_MEDIA"]["target_url"])
        origin, duration = (_seconds(clip["source_range"][key]) for key in ("start_time", "duration"))
        fps = number_of(timeline["metadata"]["tal"]["fps"])
    except (LookupError, TypeError, ValueError, ArithmeticError) as error:
        raise InputError(path, f"timeline {number}: not as `tal detect` writes it, a clip with markers") from error

    def parse(marker: Any) -> Row:
        about, span = marker["metadata"]["tal"], marker["marked_range"]
        start = _seconds(span["start_time"]) - origin
        return row_of(about["label"], start, start + _seconds(span["duration"]), about["score"], about.get("kind"))

    rows = parse_rows(path, name, markers, parse, "a marker with a range, and label and score under metadata.tal")
    where = _unquoted(source.removeprefix("file://"))
    return VideoSegments(name, rows, where, duration, fps, round(duration * fps))


def _seconds(time: Any) -> float:
    return float(time["value"]) / float(time["rate"])


def from_label_studio(path: str | Path, tasks: list[Any]) -> Results:
    """Results from the predictions of tasks; times are whole frames. Raises InputError."""
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
        is_point = POINT in dict_of(region.get("meta")).get("text", ())
        start, end = (span["start"] - 1) / fps, span["end"] / fps
        return row_of(label, start, start if is_point else end, region["score"], POINT if is_point else None)

    rows = parse_rows(path, name, regions, parse, "a region with a range of frames, a label and a score")
    return VideoSegments(name, rows, _unquoted(source.replace("/data/local-files/?d=", "/", 1)), fps=fps)


def from_elan(path: str | Path, text: str) -> Results:
    """Results from a document whose annotations are scores, of the labels that their tiers are named after.

    Raises:
        InputError: not such a document; AnnotationError if it cannot be parsed.
    """
    document = elan.parse(Path(path), text)

    def parse(item: elan.Item) -> Row:
        score, _, kind = item.value.partition(" ")
        start, end = item.span
        return row_of(document.labels[item.tier], start, start if kind == POINT else end, score, kind)

    expected = "a score; where values are labels, this is an annotation file, which goes to --annotations"
    rows = parse_rows(path, document.video, document.items, parse, expected)
    made = AUTHOR.fullmatch(document.author)
    video = VideoSegments(document.video, rows, document.media)
    return Results(iter([video]), made[2], made[1]) if made else Results(iter([video]))


def _unquoted(address: str) -> str:
    return os.fsdecode(unquote_to_bytes(address))
