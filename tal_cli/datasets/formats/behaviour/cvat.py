"""CVAT's XML 1.1, for video (tracks) and for images (tags).

An instance of a track runs from a frame where it is not `outside` to the next where it is, or to the task's last frame.
Frame numbers are those of the video. Tracks inside a skeleton's track are its points. With a label attribute, the value
of that attribute is the label, and holds until the next box.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from tal_cli import console
from tal_cli.datasets.annotations import Annotations, GroundTruth, LabelDefinition
from tal_cli.datasets.formats.values import BEHAVIOUR_VERSION, Facts, How, finite, framed, runs, stem, video_of
from tal_cli.extractors.errors import AnnotationError

NAME = "CVAT"
BACKGROUND = ("none", "background", "")
SUBJECTS = ("subject", "animal", "individual")


def recognises(head: str) -> bool:
    """Whether the file begins like CVAT's."""
    return head.startswith("<") and "<annotations" in head


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file; times are nan where the frame rate is not known.

    Raises:
        AnnotationError: invalid content. XML with a document type declaration is rejected.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise AnnotationError(path, "XML with a document type declaration is not read")
    try:
        root = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text).encode())
    except (ElementTree.ParseError, RecursionError, ValueError) as error:
        raise AnnotationError(path, f"not XML: {error}") from error
    task = root.find("meta/task")
    if task is None:
        task = root.find("meta/job")
    meta = task if task is not None else root
    file = next((found.text or "" for found in root.iterfind(".//source") if found.text), path.name)
    name = stem(file)
    facts = how.facts_of(file)
    if facts.fps is None:
        console.warn(f"{path}: frames without a frame rate have no times; give --fps X, or --videos DIR")
    try:
        last = int(meta.findtext("stop_frame") or max((int(shape.get("frame", 0)) for shape in root.iter()), default=0))
        segments = [*_tracks(root, last, facts.fps, how.label_attribute), *_tags(root, facts.fps)]
    except ValueError as error:
        raise AnnotationError(path, f"a frame number is not a number: {error}") from error
    if not segments:
        console.warn(f"{path}: no tracks and no tags, so no instances")
    whole = not (meta.findtext("frame_filter") or "").strip() and (meta.findtext("start_frame") or "0") == "0"
    frames = facts.frames or (int(finite(meta.findtext("size")) or 0) if whole else None) or None
    video = video_of(name, segments, Facts(facts.fps, frames, facts.duration), path=file)
    parents = [item for item in meta.iterfind("labels/label") if item.find("parent") is None]
    listed = [item.findtext("name") or "" for item in parents]
    found = dict.fromkeys(item.label for item in segments)
    ordered = [*(label for label in listed if label in found), *(label for label in found if label not in listed)]
    definitions = () if how.label_attribute else tuple(LabelDefinition(label) for label in listed if label)
    return Annotations(BEHAVIOUR_VERSION, {name: video}, tuple(ordered), definitions=definitions)


def _tracks(root: Element, last: int, fps: float | None, attribute: str | None) -> Iterator[GroundTruth]:
    for track in root.findall("track"):
        framed_shapes = ((int(shape.get("frame", "")), shape) for shape in track if shape.get("frame") is not None)
        shapes = sorted(framed_shapes, key=lambda item: item[0])
        states: list[tuple[int, tuple[str, str | None] | None]] = []
        for frame, shape in shapes:
            told = {item.get("name", ""): (item.text or "").strip() for item in shape.findall("attribute")}
            label = track.get("label", "") if attribute is None else told.get(attribute, "")
            is_out = shape.get("outside") == "1" or (attribute is not None and label in BACKGROUND)
            subject = next((told[key] for key in SUBJECTS if told.get(key)), None)
            states.append((frame, None if is_out else (label, subject)))
        for first, end, state in runs([state for _, state in states]):
            if isinstance(state, tuple):
                until = states[end + 1][0] - 1 if end + 1 < len(states) else max(last, states[end][0])
                yield framed(state[0], states[first][0], until, fps, state[1])


def _tags(root: Element, fps: float | None) -> Iterator[GroundTruth]:
    frames: dict[str, list[int]] = {}
    for image in root.findall("image"):
        for tag in image.findall("tag"):
            frames.setdefault(tag.get("label", ""), []).append(int(image.get("id", "")))
    for label, numbers in frames.items():
        numbers.sort()
        firsts = [n for n, number in enumerate(numbers) if n == 0 or number > numbers[n - 1] + 1]
        for first, after in zip(firsts, [*firsts[1:], len(numbers)], strict=True):
            yield framed(label, numbers[first], numbers[after - 1], fps)
