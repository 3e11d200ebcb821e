"""Per-frame tables, CSV, V-TRACE's CSV, FiftyOne's JSON and ELAN's documents."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal_cli import __version__, console
from tal_cli.behaviour.frames import frame_labels, frame_span, frame_times
from tal_cli.datasets.annotations import POINT, UNDECIDED, Annotations, GroundTruth, VideoAnnotation
from tal_cli.datasets.formats.values import last_end
from tal_cli.extractors.errors import UsageError
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import RunInfo
from tal_cli.results.writers.elan import document_of
from tal_cli.spreadsheets import csv_bytes

UNSEEN = -1  # as in DeepEthogram
FRAME_COLUMNS = ("video", "frame")
MOST_FRAMES = 100_000_000


def write_csv(annotations: Annotations) -> bytes:
    """A row per instance, times in seconds; a video without instances has a row of its own."""
    header = ("video", "label", "start", "end", "kind", "subject", "comment", "score", "subset", "duration", "fps")
    rows: list[Sequence[Any]] = [header]
    for video in annotations.videos.values():
        about = (video.subset, video.duration or "", video.fps or "")
        rows += [
            (video.name, i.label, i.start, i.end, i.kind, i.subject, i.comment, i.score, *about) for i in _timed(video)
        ]
        if not video.segments:
            rows.append((video.name, *[""] * 7, *about))
    return csv_bytes(rows)


def write_frames(annotations: Annotations) -> bytes:
    """A row per frame and a column of 0 and 1 per label; -1 was not reviewed.

    Raises:
        UsageError: a video's frame rate is not known.
    """
    rows: list[Sequence[Any]] = [(*FRAME_COLUMNS, *annotations.labels)]
    for video in annotations.videos.values():
        times = times_of(video)
        states = _states(video, annotations.labels, times)
        for place, label in enumerate(annotations.labels):
            ranges = video.reviewed_of(label)
            if ranges is not None:
                seen = np.any([(times >= start - 1e-6) & (times < end - 1e-6) for start, end in ranges], axis=0)
                states[~np.broadcast_to(seen, len(times)), place] = UNSEEN
        rows += frame_rows(video.name, states)
    return csv_bytes(rows)


def _states(video: VideoAnnotation, labels: Sequence[str], times: NDArray[np.float64]) -> NDArray[np.int64]:
    """0 and 1 of each frame, [frames, labels]; says which instances become one."""
    items = _timed(video)
    states = frame_labels(((item.label, item.start, item.end) for item in items), labels, times).astype(np.int64)
    left = int((np.diff(states, axis=0, prepend=0) == 1).sum())
    if left < len(items):
        console.warn(
            f"{video.name}: {len(items)} instances become {left}: frames do not tell apart those of a "
            "label that overlap, touch, or lie in one frame"
        )
    return states


def frame_rows(video: str, states: NDArray[Any]) -> list[tuple[Any, ...]]:
    """Rows of a per-frame table, from states [frames, labels]."""
    return [(video, frame, *row) for frame, row in enumerate(states.tolist())]


def times_of(video: VideoAnnotation) -> NDArray[np.float64]:
    """Presentation times of a video's frames, seconds: from the file, where it is at hand, else by its frame rate.

    Raises:
        UsageError: neither is known.
    """
    edges = video.edges() if video.edges is not None else ()
    if edges:
        return np.array(edges[:-1])
    if not video.fps:
        raise UsageError(f"video {video.name}: its frame rate is not known", "give --videos DIR, or --fps X")
    # As many as hold all instances: a point is within a frame.
    points = (math.floor(item.start * video.fps + 1e-6) + 1 for item in _timed(video) if item.start == item.end)
    duration = video.duration or last_end(video.segments)
    frames = video.frames or max((1, round(duration * video.fps), *points))
    if frames > MOST_FRAMES:
        raise UsageError(f"video {video.name}: {frames} frames are too many for a table", "check its length and times")
    return frame_times(frames, video.fps)


def write_vtrace(annotations: Annotations) -> bytes:
    """V-TRACE 1.2's CSV of one video; frames have the last one inside."""
    (video,) = annotations.videos.values()
    meta = {"annotation_version": 3, "duration": video.duration, "subset": video.subset}
    if video.fps:
        meta |= {"fps": video.fps, "frame": len(times_of(video))}
    header = ("labelId", "timestamp", "endTimestamp", "subject", "type", "startFrame", "endFrame", "score", "source",
              "review")  # fmt: skip
    rows: list[Sequence[Any]] = [header]
    for item in sorted((*_timed(video), *video.suggestions), key=lambda item: item.start):
        first, last = _frames(item, video) if video.fps else ("", "")
        source = "model" if item.status in UNDECIDED or item.source == "model" else ""
        rows.append(
            (item.label, item.start, item.end, item.subject, item.kind, first, last, item.score, source, item.status)
        )
    # V-TRACE takes lines that begin with # for comments.
    is_like_one = any(str(row[0]).startswith("#") for row in rows)
    return f"# trace-meta: {json.dumps(meta)}\n".encode() + csv_bytes(rows, quoted=is_like_one)


def write_fiftyone(annotations: Annotations) -> bytes:
    """FiftyOne's temporal detections in frames, counted from 1, the last one inside.

    Raises:
        UsageError: a video's frame rate is not known.
    """
    sets = {item.name: item.modifiers for item in annotations.definitions}
    labels: dict[str, list[dict[str, Any]]] = {}
    for video in annotations.videos.values():
        labels[video.name] = []
        for item in _timed(video):
            first, last = _frames(item, video)
            told: dict[str, Any] = {"label": item.label, "support": [first + 1, last + 1]}
            told |= {} if item.score is None else {"confidence": item.score}
            attributes: dict[str, Any] = {"subject": item.subject} if item.subject else {}
            attributes |= {"kind": POINT} if item.kind == POINT else {}
            attributes |= {"comment": item.comment} if item.comment else {}
            names = [each.name for each in sets.get(item.label, ())]
            for place, values in enumerate(item.modifiers):
                name = names[place] if place < len(names) else f"modifier {place + 1}"
                attributes |= {name: values[0] if len(values) == 1 else list(values)} if values else {}
            labels[video.name].append({**told, "attributes": attributes})
    classes = list(annotations.labels)
    return (json.dumps({"classes": classes, "labels": labels}, ensure_ascii=False, indent=1) + "\n").encode()


def write_feral(annotations: Annotations) -> bytes:
    """FERAL's labels: a list of 0 and 1 for each frame, so that labels may overlap.

    Raises:
        UsageError: a video's frame rate is not known.
    """
    labels: dict[str, list[list[int]]] = {}
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    paths = Counter(video.path for video in annotations.videos.values())  # one video may have several observations
    for video in annotations.videos.values():
        file = video.path.replace("\\", "/") if video.path and paths[video.path] == 1 else video.name
        labels[file] = _states(video, annotations.labels, times_of(video)).tolist()
        splits.setdefault({"training": "train", "validation": "val"}.get(video.subset, video.subset), []).append(file)
    document = {
        "class_names": {str(number): name for number, name in enumerate(annotations.labels)},
        "is_multilabel": True,
        "labels": labels,
        "splits": splits,
    }
    return (json.dumps(document, ensure_ascii=False) + "\n").encode()


def _timed(video: VideoAnnotation) -> list[GroundTruth]:
    return [item for item in video.segments if not math.isnan(item.start)]


def _frames(item: GroundTruth, video: VideoAnnotation) -> tuple[int, int]:
    """First and last frame of an instance."""
    first, after = frame_span(item.start, item.end, times_of(video))
    return first, after - 1


def write_elan(annotations: Annotations) -> bytes:
    """A document of ELAN with a tier per label."""
    (video,) = annotations.videos.values()
    segments = tuple(
        Segment(item.label, item.start, item.end, 1.0 if item.score is None else item.score, item.kind)
        for item in _timed(video)
    )
    found = Detections(
        video.name, video.path or video.name, video.duration, video.fps or 0.0, video.frames or 0, segments
    )
    return document_of(found, RunInfo(__version__, "", ""))
