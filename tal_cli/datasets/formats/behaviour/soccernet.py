"""SoccerNet and OSL: points in games. Labels of a game (two halves, two videos), of clips; results of spotting.

OSL has two forms: `videos` with `path` and `annotations`, and, since version 2, `data` with `inputs` and `events`. Of
several inputs, which are views of one scene, the first video has the labels.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from tal_cli import console
from tal_cli.datasets.annotations import POINT, Annotations, GroundTruth
from tal_cli.datasets.formats.values import (
    BEHAVIOUR_VERSION,
    Facts,
    How,
    facts_in,
    finite,
    is_video,
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
        or ('"data"' in head and '"events"' in head and '"inputs"' in head)
    )


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file; all instances are points.

    Raises:
        AnnotationError: invalid content; the message names the annotation.
    """
    content = parse_json(path, text)
    if isinstance(content.get("videos"), list) or isinstance(content.get("data"), list):
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
    entries = list(_clips(path, content))
    videos = {}
    for name, (file, fps, items) in zip(names_of([file for file, _, _ in entries]), entries, strict=True):
        points = [_point(path, f"video {name}, annotation {n}", item) for n, item in enumerate(items, start=1)]
        videos[name] = video_of(name, points, facts_in(how.facts, file) or Facts(how.fps or fps), path=file)
    listed = _listed(content.get("labels"))
    found = sorted_labels(videos)
    return Annotations(BEHAVIOUR_VERSION, videos, listed if set(found) <= set(listed) else found)


def _clips(path: Path, content: dict[str, Any]) -> Iterator[tuple[str, float | None, list[Any]]]:
    """File, frame rate and points of each clip."""
    for entry in content.get("videos") or ():
        if isinstance(entry, dict) and entry.get("path"):
            yield str(entry["path"]), None, entry.get("annotations") or []
    for number, entry in enumerate(content.get("data") or (), start=1):
        inputs = entry.get("inputs") if isinstance(entry, dict) else None
        files = [item for item in inputs or () if isinstance(item, dict) and item.get("path")]
        views = [item for item in files if is_video(str(item["path"]))]
        if not files:
            raise AnnotationError(path, f"item {number} of data: no input with a path")
        for view in views[1:]:
            console.note(f"{path}: {view['path']} is a further view of {views[0]['path']}, so it gets no labels")
        source = (views or files)[0]
        file = PurePosixPath(str(source["path"]))
        yield str(file if views else file.with_suffix("")), finite(source.get("fps")), entry.get("events") or []


def _listed(labels: Any) -> tuple[str, ...]:
    """The file's own list of labels: one, or one for each head."""
    if isinstance(labels, dict):
        heads = [head.get("labels") for head in labels.values() if isinstance(head, dict)]
        return tuple(dict.fromkeys(str(label) for head in heads if isinstance(head, list) for label in head))
    return tuple(map(str, labels)) if isinstance(labels, list) else ()


def _point(path: Path, where: str, item: Any) -> GroundTruth:
    """A point; its position counts milliseconds, its game time whole seconds."""
    label = item.get("label") if isinstance(item, dict) else None
    if not isinstance(label, str) or not label:
        raise AnnotationError(path, f"{where}: no label")
    position = finite(item.get("position_ms", item.get("position")))
    time = seconds(str(item.get("gameTime", "")).rpartition(" - ")[2]) if position is None else position / 1000
    if time is None:
        raise AnnotationError(path, f"{where}: no position and no game time")
    team = str(item.get("team") or "")
    visibility = str(item.get("visibility") or "")
    return GroundTruth(
        label, time, time, POINT, None if team in NO_TEAM else team, comment=visibility,
        score=finite(item.get("confidence", item.get("confidence_score"))),
    )  # fmt: skip
