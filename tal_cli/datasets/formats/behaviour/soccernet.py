"""SoccerNet and OSL: points in games. Labels of a game (two halves, two videos), of clips; results of spotting."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tal_cli.datasets.annotations import POINT, Annotations, GroundTruth
from tal_cli.datasets.formats.values import (
    BEHAVIOUR_VERSION,
    How,
    facts_in,
    finite,
    names_of,
    seconds,
    sorted_labels,
    video_of,
)
from tal_cli.extractors.errors import AnnotationError
from tal_cli.extractors.files.json_files import parse_json

NAME = "SoccerNet"
NO_TEAM = ("", "not applicable")
HALF, SIZES = "{}_{}.mkv", ("224p", "720p", "HQ")


def recognises(head: str) -> bool:
    """Whether the file has game times, or OSL's videos with annotations."""
    return head.startswith("{") and (
        '"gameTime"' in head
        or '"UrlLocal"' in head
        or ('"videos"' in head and '"annotations"' in head and '"path"' in head)
    )


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file; all instances are points.

    Raises:
        AnnotationError: invalid content; the message names the annotation.
    """
    content = parse_json(path, text)
    if isinstance(content.get("videos"), list):
        return _osl(path, content, how)
    items = content.get("annotations", content.get("predictions"))
    if not isinstance(items, list):
        raise AnnotationError(path, "not of SoccerNet: no list of annotations or predictions")
    halves: dict[str, list[GroundTruth]] = {"1": [], "2": []} if "annotations" in content else {}
    for number, item in enumerate(items, start=1):
        half = str(item.get("half") or str(item.get("gameTime", "1")).partition(" - ")[0]).strip()
        halves.setdefault(half, []).append(_point(path, f"annotation {number}", item))
    folder = f"{str(content.get('UrlLocal') or '').rstrip('/')}/"
    videos = {}
    for half, points in halves.items():
        files = [HALF.format(half, size) for size in SIZES]
        known = {file: facts for file in files if (facts := facts_in(how.facts, folder + file))}
        file = next(iter(known), files[0])
        name = file.removesuffix(".mkv")
        videos[name] = video_of(name, points, known.get(file), path=file)
    return Annotations(BEHAVIOUR_VERSION, videos, sorted_labels(videos))


def _osl(path: Path, content: dict[str, Any], how: How) -> Annotations:
    entries = [entry for entry in content["videos"] if isinstance(entry, dict) and entry.get("path")]
    videos = {}
    for name, entry in zip(names_of([str(entry["path"]) for entry in entries]), entries, strict=True):
        points = [
            _point(path, f"video {name}, annotation {number}", item)
            for number, item in enumerate(entry.get("annotations") or (), start=1)
        ]
        videos[name] = video_of(name, points, facts_in(how.facts, str(entry["path"])), path=str(entry["path"]))
    listed = content.get("labels")
    found = sorted_labels(videos)
    labels = tuple(map(str, listed)) if isinstance(listed, list) and set(found) <= set(map(str, listed)) else found
    return Annotations(BEHAVIOUR_VERSION, videos, labels)


def _point(path: Path, where: str, item: Any) -> GroundTruth:
    """A point; its position counts milliseconds, its game time whole seconds."""
    label = item.get("label") if isinstance(item, dict) else None
    if not isinstance(label, str) or not label:
        raise AnnotationError(path, f"{where}: no label")
    position = finite(item.get("position"))
    time = seconds(str(item.get("gameTime", "")).rpartition(" - ")[2]) if position is None else position / 1000
    if time is None:
        raise AnnotationError(path, f"{where}: no position and no game time")
    team = str(item.get("team") or "")
    visibility = str(item.get("visibility") or "")
    return GroundTruth(
        label, time, time, POINT, None if team in NO_TEAM else team, comment=visibility,
        score=finite(item.get("confidence")),
    )  # fmt: skip
