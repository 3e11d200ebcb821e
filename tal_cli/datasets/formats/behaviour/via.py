"""VGG Image Annotator 3: projects, `via3.csv` and `temporal_segments.csv`.

Two times are a segment, one is a point. Values of radio buttons and selections are option numbers; a checkbox may hold
several, each a label. A text attribute is a comment unless there is no other. What has no time or label is left out.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tal_cli import console
from tal_cli.datasets.annotations import POINT, STATE, Annotations, GroundTruth
from tal_cli.datasets.formats.values import BEHAVIOUR_VERSION, How, names_of, sorted_labels, video_of
from tal_cli.extractors.errors import AnnotationError
from tal_cli.extractors.files.json_files import parse_json
from tal_cli.spreadsheets import lines

NAME = "VIA 3"
TEXT = 1
UNCHOSEN = "_DEFAULT"
HEADER, ATTRIBUTES = "# CSV_HEADER = ", ("# ATTRIBUTE = ", "# ATTRIBUTES = ")


@dataclass(frozen=True)
class Mark:
    """One entry: identifier, its video's file, times, and values by attribute."""

    identity: str
    file: str
    times: tuple[float, ...]
    values: dict[str, str]


def recognises(head: str) -> bool:
    """Whether the file begins like a project, or like one of the two tables."""
    if head.startswith("{"):
        return '"project"' in head and '"attribute"' in head and '"file"' in head
    return head.startswith("#") and HEADER in head and "metadata_id" in head


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file.

    Raises:
        AnnotationError: invalid content.
    """
    try:
        if text.lstrip().startswith("{"):
            content = parse_json(path, text)
            attributes, marks, files = content["attribute"], list(_of_project(content)), _files(content)
        else:
            attributes, marks = _of_table(path, text)
            files = list(dict.fromkeys(mark.file for mark in marks))
        return _annotations(path, attributes, marks, files)
    except (LookupError, TypeError, AttributeError, ValueError, csv.Error) as error:
        raise AnnotationError(path, f"not a file of VIA 3: {error!r}"[:200]) from error


def _annotations(path: Path, attributes: dict[str, Any], marks: Iterable[Mark], files: list[str]) -> Annotations:
    is_text = {key: entry.get("type") == TEXT for key, entry in attributes.items()}
    only_text = all(is_text.values()) and bool(is_text)
    names = dict(zip(files, names_of(files), strict=True))
    by_file: dict[str, list[GroundTruth]] = {file: [] for file in files}
    for mark in marks:
        comment = "; ".join(v for key, v in mark.values.items() if is_text.get(key, key == "note") and not only_text)
        labels = [
            label
            for key, value in mark.values.items()
            if only_text or not is_text.get(key, key == "note")
            for label in _labels(attributes.get(key, {}), value)
        ]
        reason = _why_not(mark, labels)
        if reason:
            console.warn(f"{path}: {mark.identity} left out: {reason}")
            continue
        kind = POINT if len(mark.times) == 1 else STATE
        by_file[mark.file] += [
            GroundTruth(label, mark.times[0], mark.times[-1], kind, comment=comment) for label in labels
        ]
    videos = {names[file]: video_of(names[file], items, path=file) for file, items in by_file.items()}
    return Annotations(BEHAVIOUR_VERSION, videos, sorted_labels(videos))


def _why_not(mark: Mark, labels: list[str]) -> str:
    if not mark.file:
        return "no video"
    if not mark.times:
        return "no time"
    if not labels:
        return "no label chosen"
    return "ends before it starts" if mark.times[-1] < mark.times[0] else ""


def _labels(attribute: dict[str, Any], value: str) -> list[str]:
    """The labels of a value: texts of its options, or the value where it has none."""
    if attribute.get("type") == TEXT:
        return [value] if value else []
    options = attribute.get("options") or {}
    chosen = (part for part in value.split(",") if part not in ("", UNCHOSEN))
    return [str(options.get(part, part)) for part in chosen]


def _files(content: dict[str, Any]) -> list[str]:
    return list(_views(content).values())


def _views(content: dict[str, Any]) -> dict[str, str]:
    """The first file of each view, by the view's identifier."""
    return {
        str(identity): _file(content["file"][str(fid)])
        for identity, view in content["view"].items()
        for fid in view["fid_list"][:1]
    }


def _file(entry: dict[str, Any]) -> str:
    return str(entry.get("fname") or _at(str(entry.get("src", ""))))


def _at(address: str) -> str:
    """The name of the file at an address."""
    return unquote(urlsplit(address).path).rsplit("/", 1)[-1]


def _of_project(content: dict[str, Any]) -> Iterator[Mark]:
    views = _views(content)
    for identity, entry in content["metadata"].items():
        file = views.get(str(entry["vid"]), "")
        yield Mark(identity, file, tuple(map(float, entry["z"])), {k: str(v) for k, v in entry["av"].items()})


def _of_table(path: Path, text: str) -> tuple[dict[str, Any], list[Mark]]:
    """Attributes and entries of a table; `temporal_segments.csv` tells names of attributes, and no options."""
    attributes: dict[str, Any] = {}
    header: list[str] = []
    marks = []
    numbered = False
    for line in lines(text):
        told = line.strip()
        if told.startswith(HEADER):
            header = told.removeprefix(HEADER).split(",")
        elif told.startswith(ATTRIBUTES):
            attributes = json.loads(told.partition("=")[2])
        elif told and not told.startswith("#"):
            cells = dict(zip(header, next(csv.reader([line])), strict=False))
            place = str(json.loads(cells["file_list"])[0])
            file = _at(place) if "://" in place else place.rsplit("/", 1)[-1]
            if "temporal_coordinates" in cells:
                times = tuple(map(float, json.loads(cells["temporal_coordinates"])))
            else:
                numbered = True
                times = (float(cells["temporal_segment_start"]), float(cells["temporal_segment_end"]))
            values = {key: str(value) for key, value in json.loads(cells["metadata"]).items()}
            marks.append(Mark(cells["metadata_id"], file, times, values))
    if numbered and not attributes:
        console.warn(
            f"{path}: it has numbers of options, not their texts, so labels are numbers; read the project instead"
        )
    return attributes, marks
