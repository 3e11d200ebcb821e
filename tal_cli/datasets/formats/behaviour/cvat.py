"""CVAT's XML 1.1, for video (tracks) and for images (tags).

An instance of a track runs from a frame where it is not `outside` to the next where it is, or to the task's last frame.
Frame numbers are those of the video. Tracks inside a skeleton's track are its points. With a label attribute, the value
of that attribute is the label, and holds until the next box. Other attributes are modifiers: one set each, with all
values that the instance had.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from xml.etree.ElementTree import Element

from tal_cli import console
from tal_cli.datasets.annotations import Annotations, GroundTruth, LabelDefinition, ModifierSet
from tal_cli.datasets.formats.values import (
    BEHAVIOUR_VERSION,
    Facts,
    How,
    finite,
    framed,
    is_video,
    named_after,
    runs,
    stem,
    video_of,
    warn_of_no_rate,
)
from tal_cli.datasets.formats.xml_files import parse_xml
from tal_cli.extractors.errors import AnnotationError
from tal_cli.safe_text import counted

NAME = "CVAT"
BACKGROUND = ("none", "background", "")
KINDS = {"number": "number"}
TASKS = ("meta/task", "meta/job", "meta/project/tasks/task")
SUBJECTS = ("subject", "animal", "individual")


def recognises(head: str) -> bool:
    """Whether the file begins like CVAT's."""
    return head.startswith("<") and "<annotations" in head


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file; times are nan where the frame rate is not known.

    Raises:
        AnnotationError: invalid content. XML with a document type declaration is rejected.
    """
    root = parse_xml(path, text)
    tasks = [task for place in TASKS for task in root.iterfind(place)]
    if len(tasks) > 1:
        raise AnnotationError(
            path, f"it holds {len(tasks)} tasks, whose frames are numbered alike", "export each alone"
        )
    meta = tasks[0] if tasks else root
    file = _source(root, meta)
    name = stem(file or named_after(path))
    facts = how.facts_of(file or name)
    if facts.fps is None:
        warn_of_no_rate(path)
    labels = root.findall("meta//labels/label")
    sets = {item.findtext("name") or "": _sets(item, how.label_attribute) for item in labels}
    try:
        last = int(meta.findtext("stop_frame") or max((int(shape.get("frame", 0)) for shape in root.iter()), default=0))
        segments = [
            *_tracks(path, root, last, facts, how.label_attribute, sets),
            *_tags(root, _step(meta), facts, sets),
        ]
    except ValueError as error:
        raise AnnotationError(path, f"a frame number is not a number: {error}") from error
    shapes = sum(shape.tag != "tag" for image in root.findall("image") for shape in image)
    if shapes:
        console.warn(f"{path}: {counted(shapes, 'shape')} in single images left out: only tracks and tags have times")
    if not segments:
        console.warn(f"{path}: no tracks and no tags, so no instances")
    whole = not (meta.findtext("frame_filter") or "").strip() and (meta.findtext("start_frame") or "0") == "0"
    frames = facts.frames or (int(finite(meta.findtext("size")) or 0) if whole else None) or None
    video = video_of(name, segments, replace(facts, frames=frames), path=file)
    listed = [item.findtext("name") or "" for item in labels if item.find("parent") is None]
    found = dict.fromkeys(item.label for item in segments)
    ordered = [*(label for label in listed if label in found), *(label for label in found if label not in listed)]
    definitions = (
        ()
        if how.label_attribute
        else tuple(LabelDefinition(label, modifiers=sets.get(label, ())) for label in listed if label)
    )
    subjects = dict.fromkeys(item.subject for item in segments if item.subject)
    return Annotations(
        BEHAVIOUR_VERSION, {name: video}, tuple(ordered), definitions=definitions, subjects=tuple(subjects)
    )


def _source(root: Element, meta: Element) -> str:
    """The video file, also where only the task is named after it; empty if nothing tells."""
    titled = meta.findtext("name") or ""
    told = next((found.text or "" for found in root.iterfind("meta//source") if found.text), "")
    return told or (titled if is_video(titled) else "")


def _step(meta: Element) -> int:
    """Every which frame of the video the task has."""
    match = re.search(r"step\s*=\s*(\d+)", meta.findtext("frame_filter") or "")
    return max(1, int(match[1])) if match else 1


def _sets(label: Element, attribute: str | None) -> tuple[ModifierSet, ...]:
    """The attributes of a label that are modifiers."""
    return tuple(
        ModifierSet(
            item.findtext("name") or "",
            KINDS.get(item.findtext("input_type") or "", "one"),
            tuple(filter(None, (item.findtext("values") or "").split("\n"))),
        )
        for item in label.iterfind("attributes/attribute")
        if item.findtext("name") not in (*SUBJECTS, attribute)
    )


def _modifiers(sets: tuple[ModifierSet, ...], told: Sequence[dict[str, str]]) -> tuple[tuple[str, ...], ...]:
    """The values that shapes have of each set, in order of first occurrence."""
    found = tuple(tuple(dict.fromkeys(v for each in told if (v := each.get(item.name)))) for item in sets)
    return found if any(found) else ()


def _told(shape: Element) -> dict[str, str]:
    return {item.get("name", ""): (item.text or "").strip() for item in shape.findall("attribute")}


def _subject(told: dict[str, str]) -> str | None:
    return next((told[key] for key in SUBJECTS if told.get(key)), None)


def _undeclared(
    sets: tuple[ModifierSet, ...], told: Iterable[dict[str, str]], skipped: str | None
) -> tuple[ModifierSet, ...]:
    """The sets, and one for each further attribute."""
    names = dict.fromkeys(name for each in told for name in each if name not in (*SUBJECTS, skipped))
    return (*sets, *(ModifierSet(name) for name in names if name not in {item.name for item in sets}))


def _tracks(
    path: Path,
    root: Element,
    last: int,
    facts: Facts,
    attribute: str | None,
    declared: dict[str, tuple[ModifierSet, ...]],
) -> Iterator[GroundTruth]:
    for track in root.findall("track"):
        framed_shapes = ((int(shape.get("frame", "")), shape) for shape in track if shape.get("frame") is not None)
        shapes = sorted(framed_shapes, key=lambda item: item[0])
        told = [_told(shape) for _, shape in shapes]
        if attribute is not None and not any(attribute in values for values in told):
            where = f"{path}: track {track.get('id', '')} ({track.get('label', '')})"
            console.warn(f"{where} has no attribute {attribute}, so it is left out")
        sets = _undeclared(declared.get(track.get("label", ""), ()), told, attribute)
        states: list[tuple[str, str | None] | None] = []
        for (_, shape), values in zip(shapes, told, strict=True):
            label = track.get("label", "") if attribute is None else values.get(attribute, "")
            is_out = shape.get("outside") == "1" or (attribute is not None and label in BACKGROUND)
            states.append(None if is_out else (label, _subject(values)))
        for first, end, state in runs(states):
            if isinstance(state, tuple):
                until = shapes[end + 1][0] - 1 if end + 1 < len(shapes) else max(last, shapes[end][0])
                item = framed(state[0], shapes[first][0], until, facts, state[1])
                yield replace(item, modifiers=_modifiers(sets, told[first : end + 1]))


def _tags(
    root: Element, step: int, facts: Facts, declared: dict[str, tuple[ModifierSet, ...]]
) -> Iterator[GroundTruth]:
    found: dict[tuple[str, str | None], dict[int, dict[str, str]]] = {}
    for image in root.findall("image"):
        for tag in image.findall("tag"):
            told = _told(tag)
            found.setdefault((tag.get("label", ""), _subject(told)), {})[int(image.get("id", ""))] = told
    for (label, subject), frames in found.items():
        sets = _undeclared(declared.get(label, ()), frames.values(), None)
        numbers = sorted(frames)
        firsts = [n for n, number in enumerate(numbers) if n == 0 or number > numbers[n - 1] + step]
        for first, after in zip(firsts, [*firsts[1:], len(numbers)], strict=True):
            item = framed(label, numbers[first], numbers[after - 1] + step - 1, facts, subject)
            yield replace(item, modifiers=_modifiers(sets, [frames[number] for number in numbers[first:after]]))
