"""ELAN documents (.eaf): one video each.

The label is the value of an annotation; if that is empty or a number, as in files of `tal detect`, it is the name of
the tier without the number of a further tier. Who does it is the tier's participant. Times are in milliseconds;
TIME_ORIGIN is the position of the document's start in the medium. Times of points inside a subdivided span are omitted
by ELAN; they are spaced evenly. An annotation that refers to another has its time; several of a tier that refer to the
same one divide its time evenly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote
from xml.etree.ElementTree import Element

from tal_cli.datasets.annotations import POINT, STATE, Annotations
from tal_cli.datasets.formats.values import Entry, How, finite, gather, is_video, named_after, sorted_labels
from tal_cli.datasets.formats.xml_files import parse_xml
from tal_cli.extractors.errors import AnnotationError

NAME = "ELAN"
ROOT = "<ANNOTATION_DOCUMENT"
FURTHER_TIER = re.compile(r" \(\d+\)$")
ALIGNED, REFERRING = "ALIGNABLE_ANNOTATION", "REF_ANNOTATION"

# Properties in the header of documents written by `tal`, as JSON: what names of tiers and media do not say.
VIDEO, LABEL = "tal.video", "tal.label."  # the latter followed by a tier's name
OFFSET = "tal.offset"  # milliseconds of the first frame on the medium's clock

Span = tuple[float, float]


@dataclass(frozen=True)
class Item:
    """An annotation: its tier's name and participant, its identifier, start and end in seconds, and its value."""

    tier: str
    participant: str
    identity: str
    span: Span
    value: str


@dataclass(frozen=True)
class Document:
    """A parsed document: name and path of its video, author, the label that each tier is named after, annotations."""

    video: str
    media: str
    author: str
    labels: dict[str, str]
    items: tuple[Item, ...]


def recognises(head: str) -> bool:
    """Whether the file begins like an ELAN document."""
    return head.startswith("<") and (ROOT in head or "<!DOCTYPE" in head)


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file.

    Raises:
        AnnotationError: invalid content. XML with a document type declaration is rejected.
    """
    document = parse(path, text)
    entries = []
    for item in document.items:
        score, _, kind = item.value.partition(" ")
        is_label = item.value and (finite(score) is None or kind not in ("", POINT))
        label = item.value if is_label else document.labels[item.tier]
        if not label:
            raise _nameless(path, document.video, item.identity)
        start, end = item.span
        is_point = kind == POINT and not is_label
        entries.append(
            Entry(
                document.video,
                label,
                start,
                start if is_point else end,
                kind=POINT if is_point else STATE,
                subject=item.participant or None,
            )
        )
    videos = gather(entries or [Entry(document.video, None, 0.0, 0.0)])
    return Annotations("", videos, sorted_labels(videos))


def parse(path: Path, text: str) -> Document:
    """Parse such a file. Raises AnnotationError as `read`, but for missing labels."""
    root = parse_xml(path, text)
    if root.tag != "ANNOTATION_DOCUMENT":
        raise AnnotationError(path, f"not an ELAN document: its root is {root.tag}"[:200])
    about = {item.get("NAME", ""): item.text or "" for item in root.iterfind("HEADER/PROPERTY")}
    media, video, origin = _video(root)
    video = _stored(about, VIDEO) or video or named_after(path)
    spans = _spans(root, _times(root, origin - (finite(about.get(OFFSET)) or 0.0) / 1000))
    items = []
    labels = {}
    for tier in root.findall("TIER"):
        name = tier.get("TIER_ID", "")
        labels[name] = _stored(about, LABEL + name) or label_of(name)
        for annotation in _annotations(tier):
            identity = annotation.get("ANNOTATION_ID", "")
            if annotation not in spans:
                raise _nameless(path, video, identity)
            value = (annotation.findtext("ANNOTATION_VALUE") or "").strip()
            items.append(Item(name, tier.get("PARTICIPANT", "").strip(), identity, spans[annotation], value))
    return Document(video, media, root.get("AUTHOR", ""), labels, tuple(items))


def label_of(tier: str) -> str:
    """The label that a tier is named after: its name without the number of a further tier."""
    return FURTHER_TIER.sub("", tier)


def _stored(about: dict[str, str], key: str) -> str:
    try:
        return str(json.loads(about[key]))
    except (KeyError, ValueError, RecursionError):
        return ""


def _nameless(path: Path, video: str, annotation: str) -> AnnotationError:
    return AnnotationError(path, f"video {video}: annotation {annotation} has no times or no label"[:200])


def _annotations(tier: Element) -> list[Element]:
    return [item for item in tier.iterfind("ANNOTATION/*") if item.tag in (ALIGNED, REFERRING)]


def _spans(root: Element, times: dict[str, float]) -> dict[Element, Span]:
    """Start and end of every annotation, its own or those of the annotation it refers to."""
    spans: dict[Element, Span] = {}
    referring: dict[str, list[Sequence[Element]]] = {}
    for tier in root.findall("TIER"):
        groups: dict[str, list[Element]] = {}
        for item in _annotations(tier):
            start, end = (times.get(item.get(f"TIME_SLOT_REF{number}", "")) for number in (1, 2))
            if item.tag == REFERRING:
                groups.setdefault(item.get("ANNOTATION_REF", ""), []).append(item)
            elif start is not None and end is not None:
                spans[item] = (start, end)
        for identity, group in groups.items():
            referring.setdefault(identity, []).append(_in_order(group))
    ready = list(spans)
    while ready:
        item = ready.pop()
        start, end = spans[item]
        for children in referring.pop(item.get("ANNOTATION_ID", ""), []):
            step = (end - start) / len(children)
            spans.update({child: (start + n * step, start + (n + 1) * step) for n, child in enumerate(children)})
            ready.extend(children)
    return spans


def _in_order(group: Sequence[Element]) -> Sequence[Element]:
    """Annotations of one tier that refer to the same one, in the order of their links to the previous one."""
    following = {item.get("PREVIOUS_ANNOTATION"): item for item in group}
    ordered = []
    item = following.pop(None, None)
    while item is not None:
        ordered.append(item)
        item = following.pop(item.get("ANNOTATION_ID"), None)
    return ordered if len(ordered) == len(group) else group


def _times(root: Element, origin: float) -> dict[str, float]:
    """Position of every time slot in the video, in seconds; slots without a value are interpolated evenly.

    origin: start of the document in the video, in seconds.
    """
    slots = [(slot.get("TIME_SLOT_ID", ""), finite(slot.get("TIME_VALUE"))) for slot in root.iter("TIME_SLOT")]
    known = [index for index, (_, value) in enumerate(slots) if value is not None]
    times = {slots[index][0]: origin + (slots[index][1] or 0.0) / 1000 for index in known}
    for left, right in pairwise(known):
        low, high = times[slots[left][0]], times[slots[right][0]]
        for index in range(left + 1, right):
            times[slots[index][0]] = low + (high - low) * (index - left) / (right - left)
    return times


def _video(root: Element) -> tuple[str, str, float]:
    """Path and stem of the linked video, and the start of the document in it, in seconds."""
    for media in root.iter("MEDIA_DESCRIPTOR"):
        path = media.get("MEDIA_URL", "").removeprefix("file://")
        name = unquote(path).replace("\\", "/").rsplit("/", 1)[-1]
        if is_video(name):
            return path, name.rsplit(".", 1)[0], (finite(media.get("TIME_ORIGIN")) or 0.0) / 1000
    return "", "", 0.0
