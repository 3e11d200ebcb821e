"""Changes of a document: what a thing was and what it became. They can be undone, written down, and replayed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any

from tal_cli.datasets.annotations import Ranges, joined
from tal_cli.labelling.project.document import (
    Annotation,
    Document,
    Json,
    Label,
    VideoEntry,
    annotation_from,
    label_from,
)
from tal_cli.labelling.project.ranges import read_ranges, without

ANNOTATION, SUGGESTION, REVIEWED, LABELS, SUBJECTS = "annotation", "suggestion", "reviewed", "labels", "subjects"
Value = Any  # Annotation | Ranges | tuple[Label, ...] | tuple[str, ...] | None, by what changes


@dataclass(frozen=True)
class Edit:
    """One change. what: one of the above; video: its name, empty for labels and subjects; id: of an annotation."""

    what: str
    video: str
    id: str
    before: Value
    after: Value

    @property
    def inverse(self) -> Edit:
        """The edit that takes it back."""
        return replace(self, before=self.after, after=self.before)

    @property
    def key(self) -> tuple[str, str, str]:
        """What it changes."""
        return self.what, self.video, self.id

    def to_json(self, *, both: bool = False) -> Json:
        """What it changes, and to what; with `both`, also what it was."""
        entry = {"what": self.what, "video": self.video, "id": self.id, "after": _dumped(self.after)}
        return entry | ({"before": _dumped(self.before)} if both else {})


def edit_from(document: Document, entry: Json) -> Edit:
    """An edit from its JSON; without `before`, what it was is taken from the document. Raises ValueError, KeyError."""
    what, video, identity = str(entry["what"]), str(entry["video"]), str(entry["id"])
    if what not in (ANNOTATION, SUGGESTION, REVIEWED, LABELS, SUBJECTS):
        raise ValueError(f"{what} is nothing that changes")
    edit = Edit(what, video, identity, None, _loaded(what, identity, entry["after"]))
    if "before" in entry:
        return replace(edit, before=_loaded(what, identity, entry["before"]))
    return replace(edit, before=value_of(document, edit))


def _dumped(value: Value) -> Any:
    if isinstance(value, Annotation):
        return value.to_json()
    return [item.to_json() if isinstance(item, Label) else item for item in value] if value is not None else None


def _loaded(what: str, identity: str, value: Any) -> Value:
    if value is None and what not in (LABELS, SUBJECTS):
        return None
    if what in (ANNOTATION, SUGGESTION):
        return annotation_from(value, identity)
    if what == REVIEWED:
        return read_ranges([list(part) for part in value])
    return tuple(map(label_from, value)) if what == LABELS else tuple(map(str, value))


def value_of(document: Document, edit: Edit) -> Value:
    """What the thing that an edit changes is now."""
    if edit.what == LABELS:
        return document.labels
    if edit.what == SUBJECTS:
        return document.subjects
    video = document.videos.get(edit.video)
    if video is None:
        return None
    if edit.what == REVIEWED:
        return video.reviewed
    return _things(video, edit.what).get(edit.id)


def put(document: Document, edit: Edit) -> None:
    """Make the thing what it is after the edit."""
    if edit.what == LABELS:
        document.labels = edit.after
        return
    if edit.what == SUBJECTS:
        document.subjects = edit.after
        return
    video = document.videos.setdefault(edit.video, VideoEntry({}, reviewed=()))
    if edit.what == REVIEWED:
        video.reviewed = edit.after
    elif edit.after is None:
        _things(video, edit.what).pop(edit.id, None)
    else:
        _things(video, edit.what)[edit.id] = edit.after


def _things(video: VideoEntry, what: str) -> dict[str, Annotation]:
    return video.annotations if what == ANNOTATION else video.suggestions


def undone(document: Document, edits: Iterable[Edit]) -> list[Edit]:
    """The edits that take others back, and leave alone what somebody has changed since."""
    return list(filter(None, (_back(document, edit) for edit in reversed(list(edits)))))


def _back(document: Document, edit: Edit) -> Edit | None:
    now = value_of(document, edit)
    wanted = edit.before
    if now != edit.after:
        if isinstance(now, Annotation) and isinstance(edit.before, Annotation) and isinstance(edit.after, Annotation):
            wanted = _fields_back(now, edit.before, edit.after)
        elif edit.what == REVIEWED:
            wanted = _ranges_back(now, edit.before, edit.after)
        elif edit.what in (ANNOTATION, SUGGESTION):
            return None  # deleted meanwhile, or made again
    return None if now == wanted else Edit(edit.what, edit.video, edit.id, now, wanted)


def _fields_back(now: Annotation, before: Annotation, after: Annotation) -> Annotation:
    names = [item.name for item in fields(Annotation)]
    ours = [name for name in names if getattr(before, name) != getattr(after, name)]
    back = {name: getattr(before, name) for name in ours if getattr(now, name) == getattr(after, name)}
    return replace(now, **back)


def _ranges_back(now: Ranges | None, before: Ranges | None, after: Ranges | None) -> Ranges | None:
    if now is None or before is None or after is None:
        return before
    return joined((*without(now, without(after, before)), *without(before, after)))
