"""The annotation file in memory: labels, subjects, and per video annotations, suggestions and reviewed ranges.

The file is ActivityNet-style JSON with more keys. Keys that are not known here are kept as they are.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from tal_cli.datasets.annotations import Ranges
from tal_cli.extractors.errors import AnnotationError
from tal_cli.labelling.project.ranges import read_ranges

STATE, POINT = "state", "point"
PENDING, REJECTED, ACCEPTED, CORRECTED = "pending", "rejected", "accepted", "corrected"
VERSION = "tal 1"
# Okabe and Ito's; further labels take them again, hatched.
COLOURS = ("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7", "#000000")
KEYS = "abcdefghijklmnopqrstuvwxyz0123456789"

Json = dict[str, Any]


@dataclass(frozen=True)
class Annotation:
    """One annotation or suggestion. start, end: seconds after frame 0; status: of a former or undecided suggestion."""

    id: str
    label: str
    start: float
    end: float
    kind: str = STATE
    subject: str | None = None
    modifiers: tuple[Any, ...] = ()
    comment: str = ""
    source: str = ""
    score: float | None = None
    status: str = ""
    by: str = ""
    at: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> Json:
        """The entry of the file; what is empty and was not in the file is left out."""
        entry: Json = {"id": self.id, "label": self.label, "kind": self.kind, "segment": [self.start, self.end]}
        entry |= {"subject": self.subject, "modifiers": list(self.modifiers), "comment": self.comment}
        optional = {"source": self.source, "score": self.score, "status": self.status, "by": self.by, "at": self.at}
        return entry | {key: value for key, value in optional.items() if value not in ("", None)} | dict(self.extra)

    @cached_property
    def text(self) -> str:
        """The entry as JSON in one line."""
        return json.dumps(self.to_json(), ensure_ascii=False)


KNOWN = frozenset(item.name for item in fields(Annotation)) - {"start", "end", "extra"} | {"segment"}


def annotation_from(entry: Any, identity: str) -> Annotation:
    """An annotation from its JSON; `identity` is its id if it has none. Raises ValueError."""
    if not isinstance(entry, dict):
        raise ValueError("expected an object")
    segment = entry.get("segment")
    if not isinstance(segment, list) or len(segment) != 2 or not all(map(_is_number, segment)):
        raise ValueError("segment is not [start, end] in seconds")
    label = entry.get("label")
    if not isinstance(label, str) or not label:
        raise ValueError("no label")
    kind = entry.get("kind", STATE)
    if kind not in (STATE, POINT):
        raise ValueError(f"kind is neither {STATE} nor {POINT}")
    subject, modifiers, score = entry.get("subject"), entry.get("modifiers") or [], entry.get("score")
    if subject is not None and not isinstance(subject, str):
        raise ValueError("subject is no text")
    if not isinstance(modifiers, list):
        raise ValueError("modifiers are not a list")
    if score is not None and not _is_number(score):
        raise ValueError("score is not a number")
    texts = {key: str(entry.get(key) or "") for key in ("comment", "source", "status", "by", "at")}
    return Annotation(
        id=str(entry.get("id") or identity),
        label=label,
        start=float(segment[0]),
        end=float(segment[1]),
        kind=kind,
        subject=subject or None,
        modifiers=tuple(modifiers),
        score=score,
        extra={key: value for key, value in entry.items() if key not in KNOWN},
        **texts,
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e12


@dataclass(frozen=True)
class Label:
    """The definition of a label. key: a character; group: labels of one group end one another; color: `#RRGGBB`."""

    name: str
    kind: str = STATE
    key: str = ""
    group: str = ""
    color: str = ""
    pattern: str = ""
    modifiers: tuple[Any, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> Json:
        """The entry of the file."""
        entry: Json = {"name": self.name, "kind": self.kind, "key": self.key, "group": self.group, "color": self.color}
        if self.pattern:
            entry["pattern"] = self.pattern
        if self.modifiers:
            entry["modifiers"] = list(self.modifiers)
        return entry | dict(self.extra)


LABEL_KEYS = frozenset(item.name for item in fields(Label)) - {"extra"}


def label_from(entry: Any) -> Label:
    """A definition from its JSON: an object, or the name alone. Raises ValueError."""
    entry = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str) or not entry["name"].strip():
        raise ValueError("a label without a name")
    if entry.get("kind", STATE) not in (STATE, POINT):
        raise ValueError(f"label {entry['name']}: kind is neither {STATE} nor {POINT}")
    if not isinstance(entry.get("modifiers", []), list):
        raise ValueError(f"label {entry['name']}: modifiers are not a list")
    texts = {key: str(entry.get(key) or "") for key in ("key", "group", "color", "pattern")}
    extra = {key: value for key, value in entry.items() if key not in LABEL_KEYS}
    modifiers = tuple(entry.get("modifiers", ()))
    return Label(entry["name"], entry.get("kind", STATE), modifiers=modifiers, extra=extra, **texts)


@dataclass
class VideoEntry:
    """One video of the file. facts: its other keys, known or not; reviewed: in seconds, None means all of it."""

    facts: Json
    annotations: dict[str, Annotation] = field(default_factory=dict)
    suggestions: dict[str, Annotation] = field(default_factory=dict)
    reviewed: Ranges | None = None

    def to_text(self) -> str:
        """The entry of the file as JSON, an annotation a line, in temporal order."""
        parts = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in self.facts.items()]
        if self.reviewed is not None:
            parts.append(f'"reviewed": {json.dumps([list(part) for part in self.reviewed])}')
        parts.append(f'"annotations": {_lines(self.annotations.values())}')
        if self.suggestions:
            parts.append(f'"suggestions": {_lines(self.suggestions.values())}')
        return "{" + ",\n   ".join(parts) + "}"

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been done here yet."""
        return not self.annotations and not self.suggestions and self.reviewed == ()


def _lines(items: Iterable[Annotation]) -> str:
    texts = [item.text for item in in_order(items)]
    return "[\n    " + ",\n    ".join(texts) + "]" if texts else "[]"


def in_order(items: Iterable[Annotation]) -> list[Annotation]:
    """Annotations in temporal order."""
    return sorted(items, key=lambda item: (item.start, item.end, item.label, item.id))


@dataclass
class Document:
    """The whole file. revision: number of changes so far."""

    labels: tuple[Label, ...] = ()
    subjects: tuple[str, ...] = ()
    videos: dict[str, VideoEntry] = field(default_factory=dict)
    extra: Json = field(default_factory=dict)
    revision: int = 0

    def to_bytes(self) -> bytes:
        """The file's content."""
        content: Json = {"version": VERSION, "labels": [label.to_json() for label in self.labels]}
        content |= {"subjects": list(self.subjects), "revision": self.revision}
        content |= {key: value for key, value in self.extra.items() if key not in content}
        parts = [f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in content.items()]
        videos = [f"{json.dumps(name, ensure_ascii=False)}: {video.to_text()}" for name, video in self.videos.items()]
        parts.append('"database": {\n  ' + ",\n  ".join(videos) + "}")
        # Half a pair of surrogates has no UTF-8, and an escape in JSON.
        return ("{" + ",\n ".join(parts) + "}\n").encode("utf-8", "backslashreplace")

    def label(self, name: str) -> Label | None:
        """The definition of a label."""
        return next((label for label in self.labels if label.name == name), None)


def document_from(path: Path, content: Any) -> Document:
    """The document of a file's JSON; labels that are used and not listed are added.

    Raises:
        AnnotationError: not such a file; the reason names the video.
    """
    if not isinstance(content, dict) or not isinstance(content.get("database"), dict):
        raise AnnotationError(path, 'not an annotation file: expected {"database": {VIDEO: ...}} at the top')
    videos = {}
    for name, entry in content["database"].items():
        try:
            videos[name] = _video_from(name, entry)
        except ValueError as error:
            raise AnnotationError(path, f"video {name}: {error}") from None
    try:
        labels = tuple(map(label_from, _list(content, "labels")))
    except (ValueError, TypeError) as error:
        raise AnnotationError(path, str(error)) from None
    used = (item for video in videos.values() for item in (*video.annotations.values(), *video.suggestions.values()))
    listed = content.get("subjects")
    subjects = tuple(map(str, listed)) if isinstance(listed, list) else ()
    used_items = list(used)
    subjects += tuple(dict.fromkeys(i.subject for i in used_items if i.subject and i.subject not in subjects))
    known = {label.name for label in labels}
    added = dict.fromkeys((item.label, item.kind) for item in used_items if item.label not in known)
    labels += tuple({name: Label(name, kind) for name, kind in added}.values())
    own = {"version", "labels", "subjects", "database", "revision"}
    extra = {key: value for key, value in content.items() if key not in own}
    revision = content.get("revision", 0)
    return Document(completed(labels), subjects, videos, extra, revision if isinstance(revision, int) else 0)


def _list(entry: Json, key: str) -> list[Any]:
    value = entry.get(key) or []
    if not isinstance(value, list):
        raise ValueError(f"{key} is not a list")
    return value


def _video_from(name: str, entry: Any) -> VideoEntry:
    if not isinstance(entry, dict):
        raise ValueError("expected an object")
    parts = {}
    for key in ("annotations", "suggestions"):
        items: dict[str, Annotation] = {}
        for number, item in enumerate(_list(entry, key)):
            try:
                # The same id each time that the file is read: a journal may refer to it.
                found = annotation_from(item, identity_of(name, key, number, item))
            except ValueError as error:
                raise ValueError(f"{key}, entry {number + 1}: {error}") from None
            if found.id in items:
                found = replace(found, id=identity_of(name, key, number, item))
            if key == "suggestions" and not found.status:
                found = replace(found, status=PENDING)
            items[found.id] = found
        parts[key] = items
    reviewed = None if entry.get("reviewed") is None else read_ranges(entry["reviewed"])
    facts = {key: value for key, value in entry.items() if key not in ("annotations", "suggestions", "reviewed")}
    return VideoEntry(facts, parts["annotations"], parts["suggestions"], reviewed)


def identity_of(*parts: Any) -> str:
    """A short identifier that follows from its parts."""
    return hashlib.sha256(repr(parts).encode("utf-8", "surrogatepass")).hexdigest()[:10]


def completed(labels: tuple[Label, ...]) -> tuple[Label, ...]:
    """Labels with a key and a colour each; a key that another label has is replaced."""
    taken = {label.key for label in labels if label.key}
    done: list[Label] = []
    seen: set[str] = set()
    for place, label in enumerate(labels):
        key = label.key if label.key not in seen else ""
        if not key:
            wanted = [letter for letter in label.name.lower() if letter in KEYS] + list(KEYS)
            key = next((letter for letter in wanted if letter not in taken), "")
            taken.add(key)
        seen.add(key)
        colour = label.color or COLOURS[place % len(COLOURS)]
        pattern = label.pattern or ("" if label.color or place < len(COLOURS) else "hatched")
        done.append(replace(label, key=key, color=colour, pattern=pattern))
    return tuple(done)


def parse_labels(text: str) -> tuple[Label, ...]:
    """The labels of `name:key,name,name!`; `!` marks a point. Raises ValueError."""
    found: list[Label] = []
    for part in filter(None, map(str.strip, text.split(","))):
        name, _, key = part.removesuffix("!").partition(":")
        is_point = part.endswith("!") or name.endswith("!")
        name, key = name.removesuffix("!").strip(), key.strip()
        if not name or len(key) > 1:
            raise ValueError(f"{part}: expected NAME, NAME:KEY with one character, or NAME! for a point")
        if name in (label.name for label in found) or (key and key in (label.key for label in found)):
            raise ValueError(f"{part}: the name or the key is given twice")
        found.append(Label(name, POINT if is_point else STATE, key))
    return tuple(found)
