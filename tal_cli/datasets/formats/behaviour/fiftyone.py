"""FiftyOne's temporal detections: `labels` of each video, in frames (`support`, from 1) or times.

Its times of the first and the last frame are (frame - 1) / (frames - 1) * duration, so they are mapped back to frames,
for which frame count and duration have to be known. Attributes other than `subject`, `kind` and `comment`
are modifiers. A label may be the number of a class.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tal_cli import console
from tal_cli.datasets.annotations import POINT, STATE, Annotations, GroundTruth, LabelDefinition, ModifierSet
from tal_cli.datasets.formats.values import BEHAVIOUR_VERSION, Facts, How, finite, framed, sorted_labels, video_of
from tal_cli.extractors.errors import AnnotationError
from tal_cli.extractors.files.json_files import parse_json

NAME = "FiftyOne"
OWN = ("subject", "kind", "comment")  # attributes; others are modifiers


def recognises(head: str) -> bool:
    """Whether the file has labels, and classes, supports or timestamps."""
    is_one = head.startswith("{") and '"labels"' in head
    is_one &= any(f'"{key}"' in head for key in ("classes", "support", "timestamps"))
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
    classes = content.get("classes")
    for item in (item for items in labels.values() for item in items or () if isinstance(item, dict)):
        if isinstance(classes, list) and isinstance(item.get("label"), int) and 0 <= item["label"] < len(classes):
            item["label"] = classes[item["label"]]
    videos = {}
    sets: dict[str, dict[str, None]] = {}
    for name, items in labels.items():
        facts = how.facts_of(name)
        try:
            for item in items or ():
                told = (key for key in item.get("attributes") or {} if key not in OWN)
                sets.setdefault(str(item["label"]), {}).update(dict.fromkeys(told))
            segments = [_segment(item, facts, tuple(sets[str(item["label"])])) for item in items or ()]
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise AnnotationError(path, f"video {name}: expected a label with support or timestamps") from error
        if any(math.isnan(item.start) or item.frames is None for item in segments):
            console.warn(f"{path}: {name}: its frames are not known exactly; give --videos DIR")
        videos[name] = video_of(name, segments, facts)
    points = {item.label for video in videos.values() for item in video.segments if item.kind == POINT}
    definitions = tuple(
        LabelDefinition(label, POINT if label in points else STATE, modifiers=tuple(map(ModifierSet, sets[label])))
        for label in sorted_labels(videos)
        if sets[label]
    )
    return Annotations(BEHAVIOUR_VERSION, videos, sorted_labels(videos), definitions=definitions)


def _segment(item: dict[str, Any], facts: Facts, sets: Sequence[str]) -> GroundTruth:
    label, attributes = str(item["label"]), item.get("attributes") or {}
    subject, score = attributes.get("subject"), finite(item.get("confidence"))
    frames, duration = facts.frames, facts.duration
    if not duration and frames and facts.fps:
        duration = frames / facts.fps
    if "support" in item:
        first, last = (int(frame) - 1 for frame in item["support"])
        found = framed(label, first, last, facts)
    else:
        start, end = (float(time) for time in item["timestamps"])
        if frames and frames > 1 and duration:
            first, last = (round(time / duration * (frames - 1)) for time in (start, end))
            found = framed(label, first, last, replace(facts, fps=facts.fps or frames / duration))
        else:
            found = GroundTruth(label, start, end)
    is_point = attributes.get("kind") == POINT
    end = found.start if is_point else found.end
    chosen = tuple(_values(attributes.get(name)) for name in sets)
    return GroundTruth(
        label, found.start, end, POINT if is_point else STATE, str(subject) if subject else None,
        chosen if any(chosen) else (), str(attributes.get("comment") or ""), score=score, frames=found.frames,
    )  # fmt: skip


def _values(value: Any) -> tuple[str, ...]:
    """The values of an attribute: a modifier's, of which there may be several."""
    if value is None or value == "":
        return ()
    return tuple(map(str, value)) if isinstance(value, list) else (str(value),)
