"""What is there before labelling begins: annotation files of any form, labels by name, a model's results."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from tal_cli import console
from tal_cli.datasets.annotations import Annotations, LabelDefinition, annotations_json
from tal_cli.datasets.formats import read_annotations
from tal_cli.datasets.formats.behaviour import vtrace
from tal_cli.datasets.formats.values import Facts, How
from tal_cli.extractors.errors import AnnotationError, InputError
from tal_cli.extractors.files.json_files import read_text
from tal_cli.labelling.project.document import (
    PENDING,
    POINT,
    REJECTED,
    STATE,
    Annotation,
    Document,
    Label,
    VideoEntry,
    completed,
    document_from,
    identity_of,
)
from tal_cli.labelling.project.edits import SUGGESTION, Edit
from tal_cli.labelling.project.files import AnnotationFile, parsed
from tal_cli.labelling.project.ops import ORIGINAL
from tal_cli.results.readers import read_results

NOTHING_KNOWN: Mapping[str, Facts] = {}
SAME_PLACE = 0.5  # temporal IoU from which on two segments count as one place


def open_document(file: AnnotationFile, facts: Mapping[str, Facts] = NOTHING_KNOWN) -> Document:
    """The document of an annotation file; a new one if there is none. A JSON file of another form is imported, and
    stays among the backups. facts: of the videos, for frames whose rate the file does not tell.

    Raises:
        AnnotationError: the file cannot be parsed.
        InputError: it cannot be read.
    """
    try:
        content = file.read()
    except OSError as error:
        raise InputError(file.path, error.strerror or str(error)) from None
    if content is None:
        return Document()
    found = parsed(content)
    if isinstance(found, dict) and isinstance(found.get("database"), dict):
        return document_from(file.path, found)
    if not content.strip():
        raise AnnotationError(file.path, "the file is empty", f"look into {file.backups}, or delete it to begin again")
    document = imported(file.path, facts)
    file.back_up(note="-before-import")
    return document


def imported(path: Path, facts: Mapping[str, Facts] = NOTHING_KNOWN) -> Document:
    """The document of an annotation file of any form. Raises AnnotationError, InputError."""
    found = read_annotations(path, How(facts=facts))
    videos = {}
    for name, video in found.videos.items():
        timed = tuple(item for item in video.segments if not math.isnan(item.start + item.end))
        if len(timed) < len(video.segments):
            console.warn(f"{name}: {len(video.segments) - len(timed)} annotations without times are left out")
        videos[name] = replace(video, segments=timed)
    # By way of the JSON that tal writes, so that all is there that a file of its own would say.
    written = annotations_json(replace(found, videos=videos, labels=(), definitions=()))
    document = document_from(path, json.loads(json.dumps(written)))
    document.labels = _labels(found)
    return document


def _labels(found: Annotations) -> tuple[Label, ...]:
    segments = (item for video in found.videos.values() for item in (*video.segments, *video.suggestions))
    points = {item.label for item in segments if item.kind == POINT}
    defined = {item.name: item for item in found.definitions}
    labels = []
    for name in dict.fromkeys((*defined, *found.labels)):
        told = defined.get(name) or LabelDefinition(name, POINT if name in points else STATE)
        sets = tuple({"name": each.name, "kind": each.kind, "values": list(each.values)} for each in told.modifiers)
        key = told.key if len(told.key) == 1 else ""
        more = {"category": told.category, "excludes": list(told.excludes)}
        extra = {key: value for key, value in more.items() if value}
        labels.append(Label(name, told.kind, key, told.group, told.color, modifiers=sets, extra=extra))
    return completed(tuple(labels))


def with_labels(document: Document, labels: Iterable[Label], subjects: Iterable[str]) -> None:
    """Add labels and subjects that the document lacks; a key given for one that is there replaces its own."""
    known = {label.name: label for label in document.labels}
    for label in labels:
        there = known.get(label.name)
        known[label.name] = label if there is None else replace(there, key=label.key or there.key)
    taken = {label.key: label.name for label in labels if label.key}
    freed = [
        label if taken.get(label.key, label.name) == label.name else replace(label, key="") for label in known.values()
    ]
    document.labels = completed(tuple(freed))
    document.subjects = tuple(dict.fromkeys((*document.subjects, *subjects)))


@dataclass(frozen=True)
class Offered:
    """A model's results. segments: by video; shown_from: the score from which it shows a label, where that is known."""

    segments: dict[str, list[Annotation]]
    shown_from: Mapping[str, float]


def read_suggestions(path: Path, stems: Mapping[str, str]) -> Offered:
    """A model's segments, from results of `tal detect` or V-TRACE's predictions.

    stems: names of videos by their stem, for files that are about one video and named after it.

    Raises:
        InputError: the file cannot be read or is neither.
    """
    found: dict[str, list[Annotation]] = {}
    if (predicted := _of_vtrace(path)) is not None:
        for told in predicted.videos.values():
            video = stems.get(told.name, told.name)
            found[video] = [
                suggestion(video, item.label, item.start, item.end, item.score or 0.0, item.kind)
                for item in (*told.segments, *told.suggestions)
                if item.status != REJECTED
            ]
        return Offered(found, {})
    results = read_results(path)
    for detections in results.detections():
        video = stems.get(detections.video, detections.video)
        found[video] = [
            suggestion(video, item.label, item.start, item.end, item.score, item.kind) for item in detections.segments
        ]
    score = results.display_score
    labels = {item.label for segments in found.values() for item in segments}
    return Offered(found, dict.fromkeys(labels, score) if isinstance(score, float) else score or {})


def _of_vtrace(path: Path) -> Annotations | None:
    """V-TRACE's predictions; None if the file holds something else. Raises AnnotationError for an invalid row."""
    try:
        text = read_text(path)
    except InputError:  # no text, as Parquet
        return None
    return vtrace.read(path, text, How()) if vtrace.recognises(text) else None


def suggestion(video: str, label: str, start: float, end: float, score: float, kind: str = STATE) -> Annotation:
    """A suggestion, whose id follows from what it is."""
    identity = identity_of("suggestion", video, label, round(start, 3), round(end, 3))
    return Annotation(identity, label, start, end, kind, source="model", score=score, status=PENDING)


def suggested(document: Document, video: str, found: Iterable[Annotation]) -> list[Edit]:
    """Edits that replace a video's undecided suggestions: not by what was rejected, is annotated, or lies within what
    has been reviewed."""
    entry = document.videos.setdefault(video, VideoEntry({}, reviewed=()))
    settled = [item for item in entry.suggestions.values() if item.status == REJECTED]
    settled += entry.annotations.values()
    ranges = ((float("-inf"), float("inf")),) if entry.reviewed is None else entry.reviewed
    settled += [item for item in entry.suggestions.values() if ORIGINAL in item.extra]  # somebody is at it
    undecided = {
        key: item for key, item in entry.suggestions.items() if item.status == PENDING and ORIGINAL not in item.extra
    }
    wanted = {}
    for item in found:
        label = document.label(item.label)
        item = replace(item, kind=label.kind if label else item.kind)
        inside = any(start <= item.start and item.end <= end for start, end in ranges)
        again = any(other.label == item.label and same_place(other, item) for other in settled)
        if not inside and not again and item.id not in entry.annotations:
            wanted[item.id] = item
    edits = [Edit(SUGGESTION, video, key, item, None) for key, item in undecided.items() if key not in wanted]
    edits += [Edit(SUGGESTION, video, key, entry.suggestions.get(key), item) for key, item in wanted.items()]
    return [edit for edit in edits if edit.before != edit.after]


def same_place(one: Annotation, other: Annotation) -> bool:
    """Whether two segments overlap so much that they are about the same."""
    shared = min(one.end, other.end) - max(one.start, other.start)
    span = max(one.end, other.end) - min(one.start, other.start)
    return span <= 0 or shared / span >= SAME_PLACE


def unknown_labels(document: Document, found: Iterable[Annotation]) -> tuple[Label, ...]:
    """Definitions for labels of suggestions that the document lacks."""
    known = {label.name for label in document.labels}
    return tuple(
        Label(name, kind) for name, kind in {item.label: item.kind for item in found}.items() if name not in known
    )
