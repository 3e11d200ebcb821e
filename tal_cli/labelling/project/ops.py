"""The changes that the page asks for, checked and carried out: a list of them is done whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from tal_cli.labelling.frames import FrameTimes
from tal_cli.labelling.project.document import (
    ACCEPTED,
    CORRECTED,
    PENDING,
    POINT,
    REJECTED,
    STATE,
    Annotation,
    Document,
    Json,
    VideoEntry,
    annotation_from,
    completed,
    label_from,
)
from tal_cli.labelling.project.edits import ANNOTATION, LABELS, REVIEWED, SUBJECTS, SUGGESTION, Edit, put
from tal_cli.labelling.project.ranges import with_range, without

CHANGEABLE = ("label", "segment", "kind", "subject", "modifiers", "comment")
COUNTED = "frames"  # key of what another program counted, which no longer holds when times change
ORIGINAL = "original"  # key of a suggestion that was changed and not decided yet
SLACK = 1e-3  # seconds beyond the video that rounding may cause


class OpError(Exception):
    """An op that cannot be done: what, where, what to do."""


class Conflict(Exception):
    """The ops concern what another client has changed since; `newer` has the things as they are now."""

    def __init__(self, newer: list[Json]) -> None:
        super().__init__("another window changed the same thing since")
        self.newer = newer


@dataclass
class Work:
    """Carries out ops on one video of a document.

    Attributes:
        edits: what was changed so far.
        snapped: ids of annotations whose times were moved to edges of frames.
    """

    document: Document
    video: str
    times: Callable[[], FrameTimes]
    person: str
    now: str
    edits: list[Edit] = field(default_factory=list)
    snapped: list[str] = field(default_factory=list)

    @property
    def entry(self) -> VideoEntry:
        """The video's entry in the document."""
        return self.document.videos[self.video]

    def do(self, op: Any) -> None:
        """Carry out one op. Raises OpError; the document may be changed then, see `take_back`."""
        name = op.get("op") if isinstance(op, dict) else None
        if not isinstance(name, str) or name not in OPS:
            raise OpError(f"ops: expected objects whose `op` is one of {', '.join(OPS)}")
        if not self.video and name not in (LABELS, SUBJECTS):
            raise OpError(f"{name}: no video; name one of GET /api/project")
        inner = op.get("annotation")
        try:
            OPS[name](self, {**op, **inner} if isinstance(inner, dict) else op)
        except (ValueError, TypeError, KeyError) as error:
            raise OpError(f"{name}: {error}") from None

    def take_back(self) -> None:
        """Undo all that was done."""
        for edit in reversed(self.edits):
            put(self.document, edit.inverse)
        self.edits.clear()

    def change(self, what: str, identity: str, before: Any, after: Any, video: str | None = None) -> None:
        """Note a change and make it."""
        if before != after:
            edit = Edit(what, self.video if video is None else video, identity, before, after)
            put(self.document, edit)
            self.edits.append(edit)

    def checked(self, item: Annotation) -> Annotation:
        """The annotation with the definition's kind, its times on edges of frames. Raises OpError."""
        label = self.document.label(item.label)
        if label is None:
            raise OpError(f"{item.id}: unknown label {item.label!r}; add it to the labels first")
        if item.subject is not None and item.subject not in self.document.subjects:
            raise OpError(f"{item.id}: unknown subject {item.subject!r}; add it to the subjects first")
        times = self.times()
        end = item.start if label.kind == POINT else item.end
        if not -SLACK <= item.start <= end <= times.duration + SLACK:
            where = f"0 to {times.duration:g} s"
            raise OpError(f"{item.id}: [{item.start:g}, {end:g}] is not within the video ({where}); mind the order")
        if label.kind == STATE and item.start == end:
            raise OpError(f"{item.id}: a state starts before it ends; {item.label!r} starts and ends at {end:g} s")
        first, last = times.snapped(item.start, end, label.kind == POINT)
        if max(abs(first - item.start), abs(last - end)) > 10**-6:
            self.snapped.append(item.id)
        return replace(item, kind=label.kind, start=first, end=last)

    def join(self, item: Annotation) -> Annotation:
        """The bout, grown by those of its label and subject that it overlaps, which are gone then."""
        if item.kind == POINT:
            return item
        others = [
            other
            for other in self.entry.annotations.values()
            if other.start < item.end
            and item.start < other.end
            and other.id != item.id
            and (other.label, other.subject, other.modifiers, other.kind)
            == (item.label, item.subject, item.modifiers, item.kind)
        ]
        if not others:
            return item
        for other in others:
            self.change(ANNOTATION, other.id, other, None)
        first, last = min(other.start for other in others), max(other.end for other in others)
        comment = "; ".join(dict.fromkeys(filter(None, (one.comment for one in (item, *others)))))
        return self.join(
            replace(_uncounted(item), start=min(first, item.start), end=max(last, item.end), comment=comment)
        )


def _uncounted(item: Annotation) -> Annotation:
    return replace(item, extra={key: value for key, value in item.extra.items() if key != COUNTED})


def add(work: Work, op: Json) -> None:
    """`add`: `id`, `label`, `segment`, and what else an annotation has. One that is there already is left as it is:
    the answer to an earlier request may have been lost. Raises Conflict: the id is of something else."""
    identity = op.get("id")
    if not isinstance(identity, str) or not identity or len(identity) > 64:
        raise OpError("add: no id of 1 to 64 characters; the client chooses one")
    plain = {key: value for key, value in op.items() if key not in ("op", "annotation", "by", "at", "status")}
    item = annotation_from(plain, identity)
    item = replace(item, source=item.source or "person", by=work.person, at=work.now)
    item = work.checked(item)
    there = work.entry.annotations.get(identity) or work.entry.suggestions.get(identity)
    if there is None:
        work.change(ANNOTATION, identity, None, work.join(item))
    elif (there.label, there.subject) != (item.label, item.subject) or not (
        there.start <= item.start and item.end <= there.end  # it may have been joined to another
    ):
        raise Conflict([Edit(ANNOTATION, work.video, identity, item, there).to_json()])


def update(work: Work, op: Json) -> None:
    """`update`: `id` and the changed keys only."""
    identity = str(op["id"])
    what = SUGGESTION if identity in work.entry.suggestions else ANNOTATION
    before = work.entry.annotations.get(identity) or work.entry.suggestions.get(identity)
    if before is None:
        raise OpError(f"update: no annotation {identity} in this video; it may have been deleted")
    changed = {key: op[key] for key in CHANGEABLE if key in op}
    others = op.keys() - {*CHANGEABLE, "op", "id", "annotation"}
    if others:
        raise OpError(f"update: {identity}: {min(others)} cannot be changed, only {', '.join(CHANGEABLE)}")
    after = work.checked(annotation_from({**before.to_json(), **changed}, identity))
    if after == before:
        return
    if (after.start, after.end) != (before.start, before.end):
        after = _uncounted(after)
    moved = (after.start, after.end, after.label) != (before.start, before.end, before.label)
    if what == ANNOTATION:
        status = CORRECTED if moved and before.status == ACCEPTED else before.status
        after = work.join(replace(after, status=status, by=work.person, at=work.now))
    else:
        # What it was is remembered until somebody decides: then it counts as corrected.
        after = replace(after, extra={ORIGINAL: [before.start, before.end, before.label], **after.extra})
    work.change(what, identity, before, after)


def delete(work: Work, op: Json) -> None:
    """`delete`: `id`. One that is gone already is no error: an answer may have been lost."""
    identity = str(op["id"])
    work.change(ANNOTATION, identity, work.entry.annotations.get(identity), None)


def reviewed(work: Work, op: Json) -> None:
    """`reviewed`: `add` or `remove`, a range [start, end] in seconds, or a list of them."""
    before = work.entry.reviewed
    times = work.times()
    after = ((0.0, times.duration),) if before is None else before
    for key, combine in (("add", with_range), ("remove", lambda all, *part: without(all, [part]))):
        given = op.get(key) or []
        if not isinstance(given, list):
            raise OpError(f"reviewed: {key}: expected [start, end]")
        for part in [given] if given and not isinstance(given[0], list) else given:
            start, end = (min(max(float(bound), 0.0), times.duration) for bound in part)
            if start > end:
                raise OpError(f"reviewed: [{start:g}, {end:g}] ends before it starts")
            if start < end:
                after = combine(after, *times.snapped(start, end, False))
    if not {"add", "remove"} & op.keys():
        raise OpError("reviewed: neither `add` nor `remove`, which are ranges [start, end]")
    work.change(REVIEWED, "", before, after)


def decide(work: Work, op: Json) -> None:
    """`decide`: `id` of a suggestion and its `status`: accepted, corrected (with `segment`, `label` or other changed
    keys) or rejected. What is accepted becomes an annotation with the same id."""
    identity, status = str(op["id"]), op.get("status")
    before = work.entry.suggestions.get(identity)
    if status not in (ACCEPTED, CORRECTED, REJECTED, PENDING):
        raise OpError(f"decide: {identity}: status is none of {ACCEPTED}, {CORRECTED}, {REJECTED}, {PENDING}")
    if before is None:
        if identity in work.entry.annotations:
            return  # decided already
        raise OpError(f"decide: no suggestion {identity} in this video; a newer run may have replaced it")
    if status in (REJECTED, PENDING):
        work.change(SUGGESTION, identity, before, replace(before, status=status, by=work.person, at=work.now))
        return
    changed = {key: op[key] for key in CHANGEABLE if key in op}
    item = work.checked(annotation_from({**before.to_json(), **changed}, identity))
    moved = (item.start, item.end, item.label, item.subject) != (*_on_frames(work, before), before.subject)
    extra = {key: value for key, value in item.extra.items() if key != ORIGINAL}
    status = CORRECTED if moved or ORIGINAL in item.extra else status
    if (item.start, item.end) != (before.start, before.end):
        extra.pop(COUNTED, None)
    item = replace(item, source=item.source or "model", status=status, by=work.person, at=work.now, extra=extra)
    work.change(SUGGESTION, identity, before, None)
    work.change(ANNOTATION, identity, work.entry.annotations.get(identity), work.join(item))


def _on_frames(work: Work, item: Annotation) -> tuple[float, float, str]:
    return (*work.times().snapped(item.start, item.end, item.kind == POINT), item.label)


def labels(work: Work, op: Json) -> None:
    """`labels`: the whole list of definitions as `labels`, and `rename`, old names -> new ones: two that become one
    are merged. Annotations are rewritten."""
    wanted = tuple(map(label_from, _list(op, "labels")))
    odd = next((label for label in wanted if label.key and not (len(label.key) == 1 and label.key.isalnum())), None)
    if odd is not None:
        raise OpError(f"labels: {odd.name}: the key {odd.key!r} is not one letter or digit; others belong to commands")
    names = [label.name for label in wanted]
    keys = [label.key for label in wanted if label.key]
    for given, what in ((names, "name"), (keys, "key")):
        twice = next((item for item in given if given.count(item) > 1), None)
        if twice is not None:
            both = [label.name for label in wanted if twice in (label.name, label.key)]
            raise OpError(f"labels: the {what} {twice!r} is given twice ({' and '.join(both)}); choose another")
    wanted = completed(wanted)
    kinds = {label.name: label.kind for label in wanted}
    renamed = _renames(op)
    for name, video in work.document.videos.items():
        for what, items in ((ANNOTATION, video.annotations), (SUGGESTION, video.suggestions)):
            for item in list(items.values()):
                label = renamed.get(item.label, item.label)
                if label not in kinds:
                    raise OpError(f"labels: {label!r} is used in {name}; delete those or merge it into another label")
                if kinds[label] != item.kind:
                    raise OpError(f"labels: {label!r} is a {kinds[label]} and has {item.kind}s in {name}; rename one")
                work.change(what, item.id, item, replace(item, label=label), name)
    work.change(LABELS, "", work.document.labels, wanted, "")


def subjects(work: Work, op: Json) -> None:
    """`subjects`: the whole list as `subjects`, and `rename` as for labels."""
    names = _list(op, "subjects")
    if not all(isinstance(name, str) for name in names):
        raise OpError("subjects: expected names")
    wanted = tuple(dict.fromkeys(name for name in names if name.strip()))
    renamed = _renames(op)
    for name, video in work.document.videos.items():
        for what, items in ((ANNOTATION, video.annotations), (SUGGESTION, video.suggestions)):
            for item in list(items.values()):
                subject = None if item.subject is None else renamed.get(item.subject, item.subject)
                if subject is not None and subject not in wanted:
                    raise OpError(f"subjects: {subject!r} is used in {name}; rename it or delete those first")
                work.change(what, item.id, item, replace(item, subject=subject), name)
    work.change(SUBJECTS, "", work.document.subjects, wanted, "")


def _list(op: Json, key: str) -> list[Any]:
    if not isinstance(op[key], list):
        raise OpError(f"{op['op']}: {key}: expected a list")
    return list(op[key])


def _renames(op: Json) -> dict[str, str]:
    given = op.get("rename") or {}
    if not isinstance(given, dict) or not all(isinstance(name, str) and name for name in given.values()):
        raise OpError("rename: expected an object of old names and new ones")
    return given


OPS: dict[str, Callable[[Work, Json], None]] = {
    "add": add,
    "update": update,
    "delete": delete,
    "reviewed": reviewed,
    "decide": decide,
    "labels": labels,
    "subjects": subjects,
}
