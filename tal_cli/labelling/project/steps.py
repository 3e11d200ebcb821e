"""Steps: what one list of ops did, which is undone and redone as one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tal_cli.labelling.frames import kept_path
from tal_cli.labelling.project.document import ACCEPTED, CORRECTED, REJECTED, Document, Json, VideoEntry
from tal_cli.labelling.project.edits import ANNOTATION, LABELS, REVIEWED, SUBJECTS, SUGGESTION, Edit, edit_from


@dataclass(frozen=True)
class Step:
    """The edits of one list of ops."""

    edits: tuple[Edit, ...]

    @cached_property
    def text(self) -> str:
        """JSON that `edit_from` reads."""
        return json.dumps([edit.to_json(both=True) for edit in self.edits])


@dataclass
class Steps:
    """What can be undone and redone in one video, the latest last."""

    done: list[Step]
    undone: list[Step]


def taken_over(document: Document, other: Document, *, whole: bool) -> list[Edit]:
    """Edits that bring a document's things to what another has; with `whole`, without what the other lacks."""
    edits = []
    names = {label.name for label in document.labels}
    labels = (*document.labels, *(label for label in other.labels if label.name not in names))
    edits.append(Edit(LABELS, "", "", document.labels, other.labels if whole else labels))
    subjects = tuple(dict.fromkeys((*document.subjects, *other.subjects)))
    edits.append(Edit(SUBJECTS, "", "", document.subjects, other.subjects if whole else subjects))
    for name, theirs in other.videos.items():
        mine = document.videos.get(name, VideoEntry({}, reviewed=()))
        for what, ours, new in (
            (ANNOTATION, mine.annotations, theirs.annotations),
            (SUGGESTION, mine.suggestions, theirs.suggestions),
        ):
            edits += [Edit(what, name, key, ours.get(key), item) for key, item in new.items()]
            if whole:
                edits += [Edit(what, name, key, item, None) for key, item in ours.items() if key not in new]
        if whole:
            edits.append(Edit(REVIEWED, name, "", mine.reviewed, theirs.reviewed))
    return [edit for edit in edits if edit.before != edit.after]


def differences(document: Document, other: Document) -> Json:
    """How many annotations two documents have that the other lacks, or has otherwise, by video."""
    videos: Json = {}
    for name in dict.fromkeys((*document.videos, *other.videos)):
        mine, theirs = (each.videos.get(name, VideoEntry({})).annotations for each in (document, other))
        changed = sum(mine[key] != theirs[key] for key in mine.keys() & theirs.keys())
        counts = {"mine": len(mine.keys() - theirs.keys()), "theirs": len(theirs.keys() - mine.keys())}
        if changed or any(counts.values()):
            videos[name] = counts | {"changed": changed}
    return videos


def described(step: Iterable[Edit]) -> str:
    """What a step did, in a few words."""
    edits = list(step)
    made = [edit for edit in edits if edit.what == ANNOTATION and edit.after is not None]
    main = next((edit for edit in (*made, *edits) if edit.what == ANNOTATION), edits[0] if edits else None)
    if main is None:
        return "nothing"
    if main.what == LABELS or any(edit.what == LABELS for edit in edits):
        return "change of labels"
    if main.what == SUBJECTS:
        return "change of subjects"
    if main.what == REVIEWED:
        return "reviewed range"
    item = main.after or main.before
    others = sum(edit.what == main.what and _verb(edit) == _verb(main) for edit in edits) - 1
    return f"{_verb(main)} {item.label} at {item.start:.3f} s{f', and {others} more' if others else ''}"


def _verb(edit: Edit) -> str:
    """What an edit did with an annotation or a suggestion."""
    if edit.after is None:
        return "delete"
    if edit.what == SUGGESTION:
        return "reject" if edit.after.status == REJECTED else "change"
    if edit.before is None:
        return "accept" if edit.after.status in (ACCEPTED, CORRECTED) else "add"
    return "change"


def steps_path(file: Path) -> Path:
    """Where the steps of an annotation file are kept between runs."""
    return kept_path(file, "undo")


def steps_to_json(all_steps: Mapping[str, Steps], revision: int) -> bytes:
    """The steps of all videos as `load_steps` reads them."""
    stacks = ", ".join(
        f"{json.dumps(video)}: [[{', '.join(step.text for step in steps.done)}], "
        f"[{', '.join(step.text for step in steps.undone)}]]"
        for video, steps in all_steps.items()
    )
    return f'{{"revision": {revision}, "steps": {{{stacks}}}}}'.encode()


def load_steps(file: Path, document: Document) -> dict[str, Steps]:
    """The steps by video that an earlier run left; none if the file is not as that run left it."""
    try:
        content = json.loads(steps_path(file).read_bytes())
        if content["revision"] != document.revision:
            return {}
        loaded = {}
        for video, stacks in content["steps"].items():
            done, undone = (
                [Step(tuple(edit_from(document, item) for item in step)) for step in stack] for stack in stacks
            )
            loaded[video] = Steps(done, undone)
        return loaded
    except (OSError, ValueError, LookupError, TypeError):
        return {}


def _step_from(document: Document, entries: list[Json]) -> Step:
    return Step(tuple(edit_from(document, entry) for entry in entries))
