"""`elan`: an ELAN document (.eaf, EAF 3.0) with a tier per label and the video linked; one video per file.

Annotations on one ELAN tier must not overlap, so where segments of one label do, the later ones go to further tiers
`label (2)`, `label (3)`. The value of an annotation is its score, of a point
`SCORE point`. Times are milliseconds on the file's clock, which
ELAN's player follows. The video is linked as ELAN itself writes links, letter by letter: it does not understand quoted
ones. Properties in the header say what names of tiers and media do not, for reading the document back.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import BinaryIO
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from tal_cli.datasets.annotations import POINT
from tal_cli.datasets.formats.elan import LABEL, OFFSET, VIDEO, label_of
from tal_cli.results.media_links import media_type, relative_path
from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo
from tal_cli.results.writers.subtitles import cues
from tal_cli.safe_text import one_line, printable

SCHEMA = "http://www.mpi.nl/tools/elan/EAFv3.0.xsd"
SCHEMA_INSTANCE = "http://www.w3.org/2001/XMLSchema-instance"

# ELAN asks for a name of every tier.
NAMELESS = "(no label)"

Cue = tuple[int, int, str]


def write(detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None:
    """Write one document per video."""
    for found in detections:
        file.write(document_of(found, run))


def document_of(detections: Detections, run: RunInfo) -> bytes:
    """The document of one video."""
    document = _document(run)
    header = _header(document, detections, run)
    order = SubElement(document, "TIME_ORDER")
    identifiers = count(1)
    slots = count(1)
    for name, label, line in tiers(detections):
        if label_of(name) != label:
            _property(header, f"{LABEL}{name}", json.dumps(label))
        tier = SubElement(document, "TIER", TIER_ID=name, LINGUISTIC_TYPE_REF="segments", ANNOTATOR="tal")
        for start, end, score in line:
            first, last = (_slot(order, f"ts{next(slots)}", time) for time in (start, end))
            holder = SubElement(tier, "ANNOTATION")
            annotation = SubElement(
                holder,
                "ALIGNABLE_ANNOTATION",
                ANNOTATION_ID=f"a{next(identifiers)}",
                TIME_SLOT_REF1=first,
                TIME_SLOT_REF2=last,
            )
            SubElement(annotation, "ANNOTATION_VALUE").text = score
    order[:] = sorted(order, key=lambda slot: int(slot.get("TIME_VALUE", "0")))
    SubElement(
        document,
        "LINGUISTIC_TYPE",
        LINGUISTIC_TYPE_ID="segments",
        TIME_ALIGNABLE="true",
        GRAPHIC_REFERENCES="false",
    )
    ElementTree.indent(document)
    return ElementTree.tostring(document, encoding="utf-8", xml_declaration=True) + b"\n"


def tiers(detections: Detections) -> list[tuple[str, str, list[Cue]]]:
    """Name, label and (start, end, score) in milliseconds of each tier; none of a tier overlap. In order of labels."""
    by_label: dict[str, list[Cue]] = defaultdict(list)
    for start, end, segment in cues(detections):
        value = f"{segment.score:.2f} {POINT}" if segment.kind == POINT else f"{segment.score:.2f}"
        by_label[segment.label].append((start, end, value))
    named: dict[str, tuple[str, str, list[Cue]]] = {}
    for label in sorted(by_label):
        for number, line in enumerate(without_overlap(by_label[label]), start=1):
            title = one_line(label) or NAMELESS
            name = title if number == 1 else f"{title} ({number})"
            while name in named:  # a label with the name of another label's second tier
                name += "'"
            named[name] = (name, label, line)
    return list(named.values())


def without_overlap(items: Iterable[Cue]) -> list[list[Cue]]:
    """Items in temporal order, assigned to as few rows as possible: each to the first free row."""
    lines: list[list[Cue]] = []
    for item in items:
        free = next((line for line in lines if line[-1][1] <= item[0]), None)
        if free is None:
            lines.append([item])
        else:
            free.append(item)
    return lines


def _document(run: RunInfo) -> Element:
    ElementTree.register_namespace("xsi", SCHEMA_INSTANCE)
    now = datetime.now(timezone.utc).isoformat(timespec="seconds")
    facts = {
        "AUTHOR": f"tal {run.version}, model {one_line(run.model)}",
        "DATE": now,
        "FORMAT": "3.0",
        "VERSION": "3.0",
    }
    return Element("ANNOTATION_DOCUMENT", {**facts, f"{{{SCHEMA_INSTANCE}}}noNamespaceSchemaLocation": SCHEMA})


def _header(document: Element, detections: Detections, run: RunInfo) -> Element:
    header = SubElement(document, "HEADER", MEDIA_FILE="", TIME_UNITS="milliseconds")
    path = Path(os.path.abspath(detections.path)).as_posix()
    facts = {"MEDIA_URL": f"file:///{printable(path).lstrip('/')}", "MIME_TYPE": media_type(path)}
    way = relative_path(path, run.file.parent) if run.file is not None else None
    if way is not None:
        facts["RELATIVE_MEDIA_URL"] = printable(way)
    SubElement(header, "MEDIA_DESCRIPTOR", facts)
    _property(header, VIDEO, json.dumps(detections.video))
    if detections.file_clock.offset:
        _property(header, OFFSET, str(round(1000 * detections.file_clock.offset)))
    return header


def _property(header: Element, name: str, value: str) -> None:
    SubElement(header, "PROPERTY", NAME=name).text = value


def _slot(order: Element, name: str, time: int) -> str:
    SubElement(order, "TIME_SLOT", TIME_SLOT_ID=name, TIME_VALUE=str(time))
    return name
