"""V-TRACE: a CSV beside each video, `STEM.pred.csv` with suggestions, and the JSON of earlier versions.

Rows of a model that are pending or rejected are suggestions.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tal_cli import console
from tal_cli.datasets.annotations import (
    DECIMALS,
    PENDING,
    POINT,
    STATE,
    UNDECIDED,
    Annotations,
    GroundTruth,
    LabelDefinition,
    VideoAnnotation,
)
from tal_cli.datasets.formats import activitynet
from tal_cli.datasets.formats.sheets import Sheet, header_in, read_sheet
from tal_cli.datasets.formats.values import BEHAVIOUR_VERSION, Facts, How, finite, named_after, sorted_labels, video_of
from tal_cli.extractors.errors import AnnotationError
from tal_cli.extractors.files.json_files import parse_json
from tal_cli.spreadsheets import records

NAME = "V-TRACE"
NEEDED = ("labelid", "timestamp", "endtimestamp")
META = re.compile(r"trace-meta:\s*(.*)")


def recognises(head: str) -> bool:
    """Whether the file has V-TRACE's columns, or the keys of its JSON."""
    if head.startswith("{"):
        return '"database"' in head and ('"frame_segment"' in head or '"time_segment"' in head)
    return header_in(head, NEEDED) is not None


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file.

    Raises:
        AnnotationError: an invalid row; the message names the line or the video.
    """
    if text.lstrip().startswith("{"):
        return _from_json(path, text, how)
    sheet = read_sheet(path, "".join(_without_comments(text)), NEEDED)
    name = named_after(path, ".pred")
    told, keys = _meta(sheet.comments)
    facts = how.facts_of(name)
    fps, duration, frame, frames = (finite(told.get(key)) for key in ("fps", "duration", "frame", "frames"))
    frames = frames or frame
    known = Facts(fps or facts.fps, int(frames) if frames else facts.frames, duration or facts.duration)
    is_suggested = "predictionid" in {column.lower() for column in sheet.header}
    items = []
    for line, cells in sheet.cells():
        _fill(cells, known)
        needed = NEEDED[:2] if _kind(cells) == POINT else NEEDED
        if missing := next((name for name in needed if not cells[name].strip()), None):
            console.warn(f"{path}: line {line}: no {missing}, so it is left out")
            continue
        items.append(_item(sheet, line, cells, is_suggested=is_suggested))
    video = _split(name, items, known, str(told.get("subset") or ""))
    videos = {name: video}
    definitions = tuple(LabelDefinition(label, key=key) for label, key in keys.items())
    return Annotations(BEHAVIOUR_VERSION, videos, sorted_labels(videos), definitions=definitions)


def _without_comments(text: str) -> Iterator[str]:
    """Lines of a text, of which comments but the program's own are empty, also below the header."""
    for record in records(text):
        is_comment = record.lstrip().startswith("#") and META.search(record) is None
        yield "\n" if is_comment else record


def _split(name: str, items: Iterable[GroundTruth], facts: Facts, subset: str) -> VideoAnnotation:
    items = list(items)
    settled = [item for item in items if item.status not in UNDECIDED]
    offered = [item for item in items if item.status in UNDECIDED]
    return video_of(name, settled, facts, subset=subset.lower(), suggestions=offered)


def _meta(comments: Iterable[str]) -> tuple[dict[str, Any], dict[str, str]]:
    """What the comment `trace-meta` says of the video, and the keys of labels."""
    for comment in comments:
        if match := META.match(comment):
            if match[1].startswith("{"):
                try:
                    told = json.loads(match[1])
                except (ValueError, RecursionError):
                    return {}, {}
                return (told if isinstance(told, dict) else {}), {}
            pairs = (pair.partition(":") for pair in match[1].partition("behaviors=")[2].split(",") if pair)
            return {}, {unquote(name): unquote(key) for name, _, key in pairs}
    return {}, {}


def _fill(cells: dict[str, str], facts: Facts) -> None:
    """Put in times that only the frames tell."""
    for name, frame, more in (("timestamp", "startframe", 0), ("endtimestamp", "endframe", 1)):
        number = finite(cells.get(frame))
        if not cells[name].strip() and number is not None and facts.fps:
            cells[name] = str(round((number + more) / facts.fps, DECIMALS))


def _kind(cells: Mapping[str, str]) -> str:
    return POINT if cells.get("type", "").strip().lower() == POINT else STATE


def _item(sheet: Sheet, line: int, cells: Mapping[str, str], *, is_suggested: bool) -> GroundTruth:
    label = cells["labelid"].strip()
    kind = _kind(cells)
    start, end = (sheet.number(cells[name]) for name in ("timestamp", "endtimestamp"))
    end = start if kind == POINT else end
    if not label or start is None or end is None:
        raise AnnotationError(sheet.path, f"line {line}: expected a label, a start and an end in seconds")
    numbers = [sheet.number(cells.get(name, "")) for name in ("startframe", "endframe")]
    first, last = (None if number is None else int(number) for number in numbers)
    status = cells.get("review", "").strip().lower() or (PENDING if is_suggested else "")
    return GroundTruth(
        label, start, end, kind,
        cells.get("subject", cells.get("animal", "")).strip() or None,
        source=cells.get("source", "").strip(), score=sheet.number(cells.get("score", "")), status=status,
        frames=None if first is None or last is None else (first, last),
    )  # fmt: skip


def _from_json(path: Path, text: str, how: How) -> Annotations:
    """The JSON before: ActivityNet's with other names, frames with the last one inside."""
    content = parse_json(path, text)
    database = content.get("database")
    if not isinstance(database, dict):
        raise AnnotationError(path, 'not an annotation file: expected {"database": {VIDEO: ...}} at the top')
    for name, video in database.items():
        items = video.get("annotations") if isinstance(video, dict) else None
        fps = how.facts_of(name).fps or (finite(video.get("fps")) if isinstance(video, dict) else None)
        for item in items if isinstance(items, list) else ():
            if isinstance(item, dict):
                _rename(path, name, item, fps)
        if isinstance(video, dict) and "frame" in video:
            video["frames"] = video.pop("frame")
            if fps and "duration" not in video and finite(video["frames"]) is not None:
                video["duration"] = video["frames"] / fps
    found = activitynet.read(path, json.dumps(content), how)
    return replace(found, version=BEHAVIOUR_VERSION)


def _rename(path: Path, video: str, item: dict[str, Any], fps: float | None) -> None:
    frames = item.pop("frame_segment", None)
    if "segment" in item:  # another program's frames, whose last one may be outside
        return
    if isinstance(frames, list) and len(frames) == 2 and all(finite(frame) is not None for frame in frames):
        if "time_segment" not in item and fps is None:
            raise AnnotationError(path, f"video {video}: frame numbers without a known frame rate", "give --fps X")
        item.setdefault("time_segment", [frames[0] / (fps or 1), (frames[1] + 1) / (fps or 1)])
        item["frames"] = frames
    item["segment"] = item.pop("time_segment", None)
    for old, new in (("review", "status"), ("confidence", "score"), ("type", "kind"), ("animal", "subject")):
        if old in item:
            item[new] = item.pop(old)
