"""Label Studio's JSON export: a list of tasks with the annotations that people made.

Regions of `TimelineLabels` count frames from 1, the last one included, at the frame rate of the labelling
configuration, which the export leaves out: it is the one that the reader is told, else `fps` or `frame_rate` of the
task's data. Regions of `Labels` on audio or video have seconds. Of several annotations of one task the first that was
not cancelled counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tal_cli.datasets.annotations import AnnotationError, Annotations
from tal_cli.datasets.formats.table import is_video
from tal_cli.datasets.formats.values import Entry, How, finite, gather, sorted_labels
from tal_cli.datasets.json_files import parse_json

NAME = "Label Studio JSON"
UPLOADED = re.compile(r"^[0-9a-f]{8}-")  # what Label Studio puts before the name of an uploaded file


def recognises(head: str) -> bool:
    """Whether a file begins as a JSON list."""
    return head.startswith("[")


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file.

    Raises:
        AnnotationError: it is not such a file, or nothing tells the frame rate of its frame numbers.
    """
    tasks = parse_json(path, text)
    if not isinstance(tasks, list):
        raise AnnotationError(path, "not an export of Label Studio: expected a list of tasks")
    videos = gather(entry for number, task in enumerate(tasks, start=1) for entry in _task(path, number, task, how))
    return Annotations("", videos, sorted_labels(videos))


def _task(path: Path, number: int, task: Any, how: How) -> Iterator[Entry]:
    data = task.get("data") if isinstance(task, dict) else None
    if not isinstance(data, dict):
        raise AnnotationError(path, f"task {number}: not a task of Label Studio, it has no data")
    video = _video(data)
    if not video:
        raise AnnotationError(path, f"task {number}: its data name no video")
    fps, duration = how.fps or finite(data.get("fps", data.get("frame_rate"))), finite(data.get("duration"))
    subset = data.get("subset") if isinstance(data.get("subset"), str) else None
    yield Entry(video, None, 0.0, 0.0, subset, duration, fps)
    done = [item for item in task.get("annotations") or [] if isinstance(item, dict) and not item.get("was_cancelled")]
    for region in (done[0].get("result") or []) if done else []:
        value = region.get("value") if isinstance(region, dict) else None
        if isinstance(value, dict):
            yield from (Entry(video, label, start, end) for label, start, end in _spans(path, video, value, fps))


def _spans(path: Path, video: str, value: dict[str, Any], fps: float | None) -> Iterator[tuple[str, float, float]]:
    """(label, start, end) of one region, seconds; none for regions of other kinds."""
    ranges = value.get("ranges")
    labels = value.get("timelinelabels") if isinstance(ranges, list) else value.get("labels")
    if not isinstance(labels, list):
        return
    spans = ranges if isinstance(ranges, list) else [value]
    for span in spans:
        start, end = (finite(span.get(key)) if isinstance(span, dict) else None for key in ("start", "end"))
        if start is None or end is None:
            raise AnnotationError(path, f"video {video}: a region without start or end")
        if isinstance(ranges, list):
            if not fps or fps <= 0:
                reason = f"video {video}: its regions are frame numbers and nothing tells the frame rate"
                raise AnnotationError(path, reason, "--fps, the frameRate of the labelling configuration")
            start, end = max(start - 1, 0) / fps, end / fps
        yield from ((label, start, end) for label in labels if isinstance(label, str) and label)


def _video(data: dict[str, Any]) -> str:
    """The stem of the video file that the task shows."""
    paths = [value for value in data.values() if isinstance(value, str)]
    for value in (data.get("video"), data.get("video_url"), *paths):
        name = unquote(value).split("?d=")[-1].split("?")[0].rsplit("/", 1)[-1] if isinstance(value, str) else ""
        if is_video(name):
            return UPLOADED.sub("", name.rsplit(".", 1)[0])
    return ""
