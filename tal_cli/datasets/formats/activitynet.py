"""ActivityNet-style JSON, used by THUMOS14, MultiTHUMOS, ActivityNet, HACS and custom data.

`{"version", "database": {VIDEO: {"subset", "duration", "fps"?, "annotations": [{"label", "segment": [start, end]}]}}}`,
in seconds; a video without subset is a training video. HACS writes durations as strings; test sets have no list of
annotations. Files with DETAD's characteristics have no durations; they follow from the length and coverage of each
annotation. An unknown duration is the end of the last segment or reviewed range. A top-level list `labels` gives the
order of the labels.

Files of `tal label` and `tal datasets convert` say more, by the names of the attributes in
`tal_cli.datasets.annotations`: `labels` is then a list of objects, `subjects` one of names; a video may have `path`,
`frames`, `observation`, `interval`, `reviewed` (absent: all of it), `reviewed_labels` and `suggestions`; an annotation
`kind`, `subject`, `modifiers` and so on. A key that is absent has the attribute's default. Annotations that are
`pending` or `rejected` are read as suggestions.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from tal_cli.datasets.annotations import (
    POINT,
    STATE,
    UNDECIDED,
    Annotations,
    GroundTruth,
    LabelDefinition,
    ModifierSet,
    Ranges,
    VideoAnnotation,
    ranges_of,
)
from tal_cli.datasets.formats.values import DEFAULT_SUBSET, How, finite, last_end
from tal_cli.extractors.errors import AnnotationError
from tal_cli.extractors.files.json_files import parse_json

NAME = "ActivityNet-style JSON"


def recognises(head: str) -> bool:
    """Whether the file begins like a JSON object."""
    return head.startswith("{")


def read(path: Path, text: str, how: How) -> Annotations:
    """Read such a file.

    Raises:
        AnnotationError: invalid content; the message names the video.
    """
    content = parse_json(path, text)
    database = content.get("database")
    if database is None and "results" in content:
        remedy = "`tal datasets convert RESULTS OUT.json` takes their segments as annotations"
        raise AnnotationError(path, "not an annotation file: it holds results", remedy)
    if not isinstance(database, dict):
        raise AnnotationError(path, 'not an annotation file: expected {"database": {VIDEO: ...}} at the top')
    reader = _Reader(path, how.label_key)
    videos = {name: reader.video(name, entry) for name, entry in database.items()}
    definitions = reader.definitions(content.get("labels"))
    labels, unlisted = reader.labels(content.get("labels"), definitions)
    subjects = reader.texts("the file", "subjects", content.get("subjects"))
    return Annotations(str(content.get("version", "")), videos, labels, unlisted, definitions, subjects)


class _Reader:
    """Validates the entries of one file and collects its labels."""

    def __init__(self, path: str | Path, label_key: str) -> None:
        self._path = path
        self._label_key = label_key
        self._ids: dict[str, set[int | None]] = {}
        self._plain: dict[str, None] = {}  # labels from the entry `label`: a list of labels contains those

    def labels(self, listed: Any, definitions: tuple[LabelDefinition, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Labels in the order of the file's list if it is complete, else by id, else alphabetically; and the labels
        missing from the list. Of labels that are defined, those that occur."""
        defined = [item.name for item in definitions]
        if defined:
            found = [name for name in defined if name in self._ids]
            return (*found, *sorted(self._ids.keys() - set(found))), ()
        if not isinstance(listed, list) or not listed or not all(isinstance(label, str) for label in listed):
            return self._ordered(), ()
        named = dict.fromkeys(listed)
        whole = self._ids.keys() <= named.keys()
        return tuple(named) if whole else self._ordered(), tuple(label for label in self._plain if label not in named)

    def _ordered(self) -> tuple[str, ...]:
        ids = {label: next(iter(found)) for label, found in self._ids.items() if len(found) == 1}
        numbered = {label: index for label, index in ids.items() if index is not None}
        if len(numbered) == len(self._ids) == len(set(numbered.values())):
            return tuple(sorted(numbered, key=numbered.__getitem__))
        return tuple(sorted(self._ids))

    def video(self, name: str, entry: Any) -> VideoAnnotation:
        if not isinstance(entry, dict):
            raise self._error(name, "expected an object")
        subset = entry.get("subset", DEFAULT_SUBSET)
        if not isinstance(subset, str) or not subset:
            raise self._error(name, "no subset")
        told = _duration(entry)
        duration = None if told is None else self._number(name, "duration", told)
        fps = self._number(name, "fps", entry["fps"]) if entry.get("fps") is not None else None
        if duration is not None and duration < 0:
            raise self._error(name, "a negative duration")
        if fps is not None and fps <= 0:
            raise self._error(name, "fps is not above zero")
        told = [self._segment(name, index, item) for index, item in enumerate(self._list(name, entry, "annotations"))]
        segments = tuple(item for item in told if item.status not in UNDECIDED)
        offered = [
            self._segment(name, index, item) for index, item in enumerate(self._list(name, entry, "suggestions"))
        ]
        frames = finite(entry.get("frames"))
        reviewed = self._ranges(name, entry.get("reviewed"))
        by_label = entry.get("reviewed_labels", {})
        if not isinstance(by_label, dict):
            raise self._error(name, "reviewed_labels are not an object")
        return VideoAnnotation(
            name,
            subset.lower(),
            last_end(segments, reviewed) if duration is None else duration,
            fps,
            segments,
            reviewed,
            tuple((label, self._ranges(name, ranges)) for label, ranges in by_label.items()),
            None if frames is None else int(frames),
            self._text(name, "path", entry.get("path")),
            self._text(name, "observation", entry.get("observation")),
            (*(item for item in told if item.status in UNDECIDED), *offered),
            self._interval(name, entry.get("interval")),
        )

    def _list(self, video: str, entry: dict[str, Any], key: str) -> list[Any]:
        items = entry.get(key) or []
        if not isinstance(items, list):
            raise self._error(video, f"{key} are not a list")
        return items

    def _segment(self, video: str, index: int, item: Any) -> GroundTruth:
        where = f"annotation {index + 1}"
        if not isinstance(item, dict):
            raise self._error(video, f"{where}: expected an object")
        key = self._label_key if self._label_key in item else "label"
        label = item.get(key)
        if isinstance(label, int) and not isinstance(label, bool):
            label = str(label)
        if not isinstance(label, str) or not label:
            raise self._error(video, f"{where}: no {self._label_key}")
        kind = item.get("kind", STATE)
        if kind not in (STATE, POINT):
            raise self._error(video, f"{where}: kind is {STATE} or {POINT}, not {kind!r}"[:200])
        bounds = item.get("segment")
        if not isinstance(bounds, list) or len(bounds) != 2:
            raise self._error(video, f"{where}: segment is not [start, end]")
        if bounds == [None, None] and "frames" in item:
            start = end = math.nan
        else:
            start, end = (self._number(video, f"{where}: segment", bound) for bound in bounds)
        identity = item.get(f"{key}_id")
        if item.get("status") not in UNDECIDED:
            if key == "label":
                self._plain[label] = None
            self._ids.setdefault(label, set()).add(identity if isinstance(identity, int) else None)

        def text(name: str) -> str:
            return self._text(video, f"{where}: {name}", item.get(name))

        frames, part = (self._pair(video, f"{where}: {name}", item.get(name)) for name in ("frames", "part"))
        return GroundTruth(
            label,
            start,
            end,
            kind,
            text("subject") or None,
            self._modifiers(video, where, item.get("modifiers", [])),
            text("comment"),
            text("comment_end"),
            text("source"),
            None if item.get("score") is None else self._number(video, f"{where}: score", item["score"]),
            text("status"),
            text("id"),
            text("by"),
            text("at"),
            frames,
            (part[0], part[1]) if part and part[0] is not None and part[1] is not None else None,
        )

    def _pair(self, video: str, where: str, pair: Any) -> tuple[int | None, int | None] | None:
        """Two numbers, either of which may be unknown."""
        if pair is None:
            return None
        if not isinstance(pair, list) or len(pair) != 2:
            raise self._error(video, f"{where} is not [first, last]")
        first, last = (None if number is None else int(self._number(video, where, number)) for number in pair)
        return first, last

    def _interval(self, video: str, pair: Any) -> tuple[float, float] | None:
        if pair is None:
            return None
        if not isinstance(pair, list) or len(pair) != 2:
            raise self._error(video, "interval is not [start, end]")
        start, end = (self._number(video, "interval", bound) for bound in pair)
        return start, end

    def _modifiers(self, video: str, where: str, sets: Any) -> tuple[tuple[str, ...], ...]:
        if not isinstance(sets, list):
            raise self._error(video, f"{where}: modifiers are not a list")
        return tuple(
            self.texts(video, f"{where}: modifiers", [each] if isinstance(each, str) else each) for each in sets
        )

    def _ranges(self, video: str, ranges: Any) -> Ranges | None:
        """Ranges in rising order, joined where they overlap or touch."""
        if ranges is None:
            return None
        if not isinstance(ranges, list) or not all(isinstance(each, list) and len(each) == 2 for each in ranges):
            raise self._error(video, "reviewed is not a list of [start, end]")
        numbers = [[self._number(video, "reviewed", bound) for bound in each] for each in ranges]
        try:
            return ranges_of((start, end) for start, end in numbers)
        except ValueError as error:
            raise self._error(video, str(error)) from error

    def definitions(self, listed: Any) -> tuple[LabelDefinition, ...]:
        """What the file says of its labels; empty if it has names only."""
        if not isinstance(listed, list) or not listed or not all(isinstance(item, dict) for item in listed):
            return ()
        return tuple(self._definition(item) for item in listed)

    def _definition(self, item: dict[str, Any]) -> LabelDefinition:
        name = self._text("labels", "name", item.get("name"))
        if not name:
            raise self._error("labels", "a label without name")
        sets = item.get("modifiers", [])
        if not isinstance(sets, list) or not all(isinstance(each, dict) for each in sets):
            raise self._error("labels", f"{name}: modifiers are not a list of objects")
        modifiers = tuple(
            ModifierSet(
                str(each.get("name", "")), str(each.get("kind", "one")), self.texts(name, "values", each.get("values"))
            )
            for each in sets
        )
        kind, key, group, color, category = (
            self._text(name, what, item.get(what)) for what in ("kind", "key", "group", "color", "category")
        )
        excludes = self.texts(name, "excludes", item.get("excludes"))
        return LabelDefinition(name, kind or STATE, key, group, color, modifiers, category, excludes)

    def texts(self, where: str, what: str, items: Any) -> tuple[str, ...]:
        """A list of texts; None is an empty one."""
        if items is not None and not isinstance(items, list):
            raise self._error(where, f"{what}: not a list")
        return tuple(self._text(where, what, item) for item in items or ())

    def _text(self, where: str, what: str, value: Any) -> str:
        if value is not None and not isinstance(value, str | int | float):
            raise self._error(where, f"{what}: not a text")
        return "" if value is None else str(value)

    def _number(self, video: str, what: str, value: Any) -> float:
        number = finite(value)
        if value is None:
            raise self._error(video, f"no {what}")
        if number is None:
            raise self._error(video, f"{what} is not a number: {value!r}"[:200])
        return number

    def _error(self, video: str, reason: str) -> AnnotationError:
        return AnnotationError(self._path, f"video {video}: {reason}")


def _duration(entry: dict[str, Any]) -> Any:
    """The duration of a video, or length / coverage of one of its annotations."""
    items = entry.get("annotations")
    if entry.get("duration") is not None or not isinstance(items, list):
        return entry.get("duration")
    for item in items:
        length, coverage = (finite(item.get(key)) if isinstance(item, dict) else None for key in ("length", "coverage"))
        if length and coverage:
            return length / coverage
    return None
