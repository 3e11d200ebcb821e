"""ELAN documents (.eaf): one video each.

An annotation's label is its value; where that is empty or a number, as in the files that `tal detect` writes, it is the
tier's name without the number of a further tier. Times are milliseconds; ELAN leaves out those of points inside a
subdivided span, which lie evenly between their neighbours.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from urllib.parse import unquote
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from tal_cli.datasets.annotations import AnnotationError, Annotations
from tal_cli.datasets.formats.table import is_video
from tal_cli.datasets.formats.values import Entry, How, finite, gather, sorted_labels

NAME = "ELAN"
ROOT = "<ANNOTATION_DOCUMENT"
FURTHER_TIER = re.compile(r" \(\d+\)$")


def recognises(head: str) -> bool:
    """Whether a file begins as an ELAN document."""
    return head.startswith("<") and (ROOT in head or "<!DOCTYPE" in head)


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file.

    Raises:
        AnnotationError: it is not such a file. XML that declares a document type is refused: ELAN writes none, and
            only there can entities be declared that grow without bound or read other files.
    """
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise AnnotationError(path, "XML with a document type declaration is not read")
    try:
        # Encoded anew: an encoding that the declaration names is not that of the text.
        root = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text).encode())
    except (ElementTree.ParseError, RecursionError, ValueError) as error:
        raise AnnotationError(path, f"not XML: {error}") from error
    if root.tag != "ANNOTATION_DOCUMENT":
        raise AnnotationError(path, f"not an ELAN document: its root is {root.tag}"[:200])
    video = _video(root) or path.name.removesuffix(".gz").removesuffix(".eaf")
    times = _times(root)
    entries = [entry for tier in root.iter("TIER") for entry in _entries(path, video, tier, times)]
    videos = gather(entries or [Entry(video, None, 0.0, 0.0)])
    return Annotations("", videos, sorted_labels(videos))


def _entries(path: Path, video: str, tier: Element, times: dict[str, float]) -> list[Entry]:
    name = FURTHER_TIER.sub("", tier.get("TIER_ID", ""))
    entries = []
    for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
        slots = [times.get(annotation.get(f"TIME_SLOT_REF{number}", "")) for number in (1, 2)]
        value = (annotation.findtext("ANNOTATION_VALUE") or "").strip()
        label = name if not value or finite(value) is not None else value
        if slots[0] is None or slots[1] is None or not label:
            which = annotation.get("ANNOTATION_ID", "")
            raise AnnotationError(path, f"video {video}: annotation {which} has no times or no label"[:200])
        entries.append(Entry(video, label, slots[0], slots[1]))
    return entries


def _times(root: Element) -> dict[str, float]:
    """Seconds of every time slot; one without a value lies evenly between those around it that have one."""
    slots = [(slot.get("TIME_SLOT_ID", ""), finite(slot.get("TIME_VALUE"))) for slot in root.iter("TIME_SLOT")]
    known = [index for index, (_, value) in enumerate(slots) if value is not None]
    times = {slots[index][0]: (slots[index][1] or 0.0) / 1000 for index in known}
    for left, right in pairwise(known):
        low, high = times[slots[left][0]], times[slots[right][0]]
        for index in range(left + 1, right):
            times[slots[index][0]] = low + (high - low) * (index - left) / (right - left)
    return times


def _video(root: Element) -> str:
    """The stem of the video that the document links."""
    for media in root.iter("MEDIA_DESCRIPTOR"):
        name = unquote(media.get("MEDIA_URL", "")).replace("\\", "/").rsplit("/", 1)[-1]
        if is_video(name):
            return name.rsplit(".", 1)[0]
    return ""
