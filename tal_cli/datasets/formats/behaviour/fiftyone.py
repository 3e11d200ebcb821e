"""FiftyOne's temporal detections: `labels` of each video, in frames (`support`, from 1) or times.

Its times of the first and the last frame are (frame - 1) / (frames - 1) * duration, so they are mapped back to frames,
for which frame count and duration have to be known.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tal_cli import console
from tal_cli.datasets.annotations import POINT, STATE, Annotations, GroundTruth
from tal_cli.datasets.formats.values import BEHAVIOUR_VERSION, Facts, How, finite, framed, sorted_labels, video_of
from tal_cli.extractors.errors import AnnotationError
from tal_cli.extractors.files.json_files import parse_json

NAME = "FiftyOne"


def recognises(head: str) -> bool:
    """Whether the file has classes, labels, and supports or timestamps."""
    is_one = head.startswith("{") and '"labels"' in head and '"classes"' in head
    return is_one and '"database"' not in head and '"class_names"' not in head


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file; times of frames are nan where the frame rate is not known.

    Raises:
        AnnotationError: invalid content; the message names the video.
    """
    content = parse_json(path, text)
    labels = content.get("labels")
    if not isinstance(labels, dict):
        raise AnnotationError(path, "not an export of FiftyOne: labels are not an object")
    videos = {}
    for name, items in labels.items():
        facts = how.facts_of(name)
        try:
            segments = [_segment(path, name, item, facts) for item in items or ()]
        except (LookupError, TypeError, ValueError) as error:
            raise AnnotationError(path, f"video {name}: expected a label with support or timestamps") from error
        if facts.fps is None and segments:
            console.warn(f"{path}: {name}: its frames are not known exactly; give --videos DIR")
        videos[name] = video_of(name, segments, facts)
    return Annotations(BEHAVIOUR_VERSION, videos, sorted_labels(videos))


def _segment(path: Path, video: str, item: dict[str, Any], facts: Facts) -> GroundTruth:
    label, attributes = str(item["label"]), item.get("attributes") or {}
    subject, score = attributes.get("subject"), finite(item.get("confidence"))
    frames, duration = facts.frames, facts.duration
    if not duration and frames and facts.fps:
        duration = frames / facts.fps
    if "support" in item:
        first, last = (int(frame) - 1 for frame in item["support"])
        found = framed(label, first, last, facts.fps)
    else:
        start, end = (float(time) for time in item["timestamps"])
        if frames and frames > 1 and duration:
            first, last = (round(time / duration * (frames - 1)) for time in (start, end))
            found = framed(label, first, last, facts.fps or frames / duration)
        else:
            found = GroundTruth(label, start, end)
    is_point = attributes.get("kind") == POINT
    end = found.start if is_point else found.end
    return GroundTruth(
        label, found.start, end, POINT if is_point else STATE, str(subject) if subject else None, score=score,
        frames=found.frames,
    )  # fmt: skip
