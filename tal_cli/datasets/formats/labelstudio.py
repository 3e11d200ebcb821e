"""Label Studio's JSON and JSON-MIN exports: a list of tasks with their annotations.

Regions of `TimelineLabels` have frame numbers from 1, end inclusive, at the frame rate of the labelling configuration,
which is not exported: it is given to the reader, or is `fps` or `frame_rate` of the task's data. Regions of `Labels` on
audio or video and of `TimeSeriesLabels` are in seconds. Of several annotations of a task, the one marked as ground
truth is used, else the first; cancelled ones are ignored. Tasks without an annotation, or with skipped annotations
only, are ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tal_cli import console
from tal_cli.datasets.annotations import Annotations
from tal_cli.datasets.formats.values import Entry, How, finite, gather, is_video, sorted_labels
from tal_cli.extractors.errors import AnnotationError
from tal_cli.extractors.files.json_files import parse_json
from tal_cli.safe_text import counted

NAME = "Label Studio JSON"
UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # prefix that Label Studio adds to names of uploaded files
LABELS = ("timelinelabels", "labels", "timeserieslabels")


def recognises(head: str) -> bool:
    """Whether the file begins like a JSON list."""
    return head.startswith("[")


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file.

    Raises:
        AnnotationError: invalid content, or frame numbers without a known frame rate.
    """
    tasks = parse_json(path, text)
    if not isinstance(tasks, list):
        raise AnnotationError(path, "not an export of Label Studio: expected a list of tasks")
    numbered = list(_once(tasks))
    done = [(number, task) for number, task in numbered if not _is_unlabelled(task)]
    videos = gather(entry for number, task in done for entry in _task(path, number, task, how))
    left_out = len(numbered) - len(done)
    if left_out and not done:
        raise AnnotationError(path, f"none of its {counted(left_out, 'task')} has an annotation")
    if left_out:
        console.note(f"{path}: skipped {counted(left_out, 'task')} without an annotation")
    return Annotations("", videos, sorted_labels(videos))


def _is_unlabelled(task: Any) -> bool:
    """Whether a task has no finished annotation."""
    return isinstance(task, dict) and isinstance(task.get("data"), dict) and not _finished(task)


def _once(tasks: list[Any]) -> Iterator[tuple[int, Any]]:
    """Tasks and their numbers; JSON-MIN repeats a task per annotation, of which the first is used."""
    known: set[str] = set()
    for number, task in enumerate(tasks, start=1):
        identity = str(task.get("id")) if isinstance(task, dict) and "data" not in task and "id" in task else ""
        if not identity or identity not in known:
            known.add(identity)
            yield number, task


def _task(path: Path, number: int, task: Any, how: How) -> Iterator[Entry]:
    data = _data(task)
    if data is None:
        raise AnnotationError(path, f"task {number}: not a Label Studio task: no data")
    video = _video(data)
    if not video:
        raise AnnotationError(path, f"task {number}: no video in its data")
    fps, duration = how.fps or finite(data.get("fps", data.get("frame_rate"))), finite(data.get("duration"))
    subset = data.get("subset") if isinstance(data.get("subset"), str) else None
    yield Entry(video, None, 0.0, 0.0, subset, duration, fps)
    for region in _regions(task):
        yield from (Entry(video, label, start, end) for label, start, end in _spans(path, video, region, fps))


def _data(task: Any) -> dict[str, Any] | None:
    """The data of a task; JSON-MIN has data and regions in one object."""
    is_minimal = isinstance(task, dict) and "data" not in task and ("annotation_id" in task or "annotator" in task)
    data = task if is_minimal else task.get("data") if isinstance(task, dict) else None
    return data if isinstance(data, dict) else None


def _regions(task: dict[str, Any]) -> list[dict[str, Any]]:
    """The values of the regions of the selected annotation."""
    if "data" not in task:
        return [value for values in task.values() for value in _dicts(values)]
    done = _finished(task)
    chosen = next((item for item in done if item.get("ground_truth")), done[0] if done else {})
    return [region["value"] for region in _dicts(chosen.get("result")) if isinstance(region.get("value"), dict)]


def _finished(task: dict[str, Any]) -> list[dict[str, Any]]:
    return [item for item in _dicts(task.get("annotations")) if not item.get("was_cancelled")]


def _dicts(values: Any) -> list[dict[str, Any]]:
    return [item for item in values if isinstance(item, dict)] if isinstance(values, list) else []


def _spans(path: Path, video: str, value: dict[str, Any], fps: float | None) -> Iterator[tuple[str, float, float]]:
    """(label, start, end) of one region, in seconds; none for regions of other kinds."""
    named = [value[key] for key in LABELS if isinstance(value.get(key), list)]
    labels = [label for names in named for label in names if isinstance(label, str) and label]
    counts_frames = isinstance(value.get("ranges"), list)
    spans = value["ranges"] if counts_frames else [value] if "start" in value or "end" in value else []
    for span in spans if labels else ():
        start, end = (finite(span.get(key)) if isinstance(span, dict) else None for key in ("start", "end"))
        if start is None or end is None:
            raise AnnotationError(path, f"video {video}: a region whose start and end are not numbers")
        if counts_frames:
            if not fps or fps <= 0:
                reason = f"video {video}: its regions are frame numbers, and the frame rate is unknown"
                raise AnnotationError(
                    path,
                    reason,
                    "give the frameRate of the labelling configuration: `tal datasets convert FILE OUT.json --fps X`",
                )
            start, end = max(start - 1, 0) / fps, end / fps
        yield from ((label, start, end) for label in labels)


def _video(data: dict[str, Any]) -> str:
    """The stem of the task's video file."""
    paths = [value for value in data.values() if isinstance(value, str)]
    for value in (data.get("video"), data.get("video_url"), *paths):
        name = unquote(value).split("?d=")[-1].split("?")[0].rsplit("/", 1)[-1] if isinstance(value, str) else ""
        if is_video(name):
            return UPLOADED.sub("", name.rsplit(".", 1)[0])
    return ""
