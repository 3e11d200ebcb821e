"""The document that a server keeps: changes, undo, and saving so that no acknowledged change is ever lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import datetime, timezone
from typing import Any

from tal_cli import console
from tal_cli.error_report import reason_of
from tal_cli.extractors.errors import TalError
from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.labelling.frames import FrameTimes
from tal_cli.labelling.project.document import Document, Json, document_from
from tal_cli.labelling.project.edits import (
    LABELS,
    REVIEWED,
    SUBJECTS,
    Edit,
    edit_from,
    put,
    undone,
)
from tal_cli.labelling.project.files import AnnotationFile, Journal, parsed
from tal_cli.labelling.project.ops import Conflict, OpError, Work
from tal_cli.labelling.project.steps import (
    Step,
    Steps,
    described,
    differences,
    load_steps,
    steps_path,
    steps_to_json,
    taken_over,
)
from tal_cli.safe_text import counted

QUIET, LATEST, RETRY = 0.5, 5.0, 5.0  # seconds: after the last change, after the first, after a failure
STEPS = 1000  # undo steps of a video

Told = Callable[[Json], None]


class NotSaved(Exception):
    """A change could not be put on disk, and was not made; the reason is one line."""


class Store:
    """One annotation file and all changes of it. Threads may share it.

    Args:
        file: the file, already read.
        journal: its journal.
        document: what the file holds.
        tell: called with every event: changes, and whether they are saved.
    """

    def __init__(self, file: AnnotationFile, journal: Journal, document: Document, person: str, tell: Told) -> None:
        self.file, self.journal, self.document = file, journal, document
        self.person = person
        self._tell = tell
        self._lock = threading.RLock()
        self._saving = threading.RLock()  # taken before the other one
        self._steps = load_steps(file.path, document)
        self._changed: dict[tuple[str, str, str], tuple[int, str]] = {}  # key -> revision, client
        self._revisions: dict[str, int] = {}
        self._answers: dict[tuple[str, str], Json] = {}
        self._unsaved = False
        self._timer: threading.Timer | None = None
        self._first_change = 0.0
        self.foreign: bytes | None = None  # the file as another program left it, until somebody decides
        self.problem = ""
        self.saved_at = ""

    def replay(self) -> int:
        """Make the changes of the journal that the file lacks; returns how many there were. A journal with lines that
        cannot be read stays among the backups. Raises InputError: it cannot be put there."""
        base, count = self.document.revision, 0
        entries, lost = self.journal.read()
        for entry in entries:
            revision = entry.get("revision")
            if isinstance(revision, int) and revision <= base:
                continue
            try:
                if not isinstance(revision, int):
                    raise ValueError("no revision")
                edits = tuple(edit_from(self.document, item) for item in entry["edits"])
            except (ValueError, KeyError, TypeError):
                lost += 1
                continue
            for edit in edits:
                put(self.document, edit)
            self._note(str(entry.get("video", "")), edits, str(entry.get("step", "")))
            self.document.revision = revision
            count += 1
        if lost:
            kept = self.file.back_up(self.journal.path.read_bytes(), "-journal")
            console.warn(f"{counted(lost, 'line')} of {self.journal.path} cannot be read; it is kept as {kept}")
        self._unsaved = self._unsaved or count > 0
        return count

    # ---- changes

    def change(
        self,
        video: str,
        ops: list[Any],
        client: str,
        revision: int | None,
        request: str,
        quiet: bool,
        times: Callable[[], FrameTimes],
    ) -> Json:
        """Carry out ops as one step; `quiet` ones cannot be undone. Returns the answer for the client.

        Raises:
            OpError: an op that cannot be done; none is done then.
            Conflict: another client changed the same thing since `revision`.
            NotSaved: it could not be put on disk.
        """
        if video and any(isinstance(op, dict) and op.get("op") not in (LABELS, SUBJECTS) for op in ops):
            times()  # may take a while: not under the lock
        with self._lock:
            repeated = self._answers.get((client, request)) if request else None
            if repeated is not None:
                return repeated
            work = Work(self.document, video, times, self.person, now())
            try:
                for op in ops:
                    work.do(op)
                self._check(work.edits, client, revision)
                answer = self._commit(video, tuple(work.edits), client, "quiet" if quiet else "do")
            except BaseException:
                work.take_back()
                raise
            answer["ids"] = [str(op["id"]) for op in ops if isinstance(op, dict) and "id" in op]
            if work.snapped:
                answer["snapped"] = work.snapped
            if request:
                self._answers[client, request] = answer
                while len(self._answers) > STEPS:
                    self._answers.pop(next(iter(self._answers)))
            return answer

    def _check(self, edits: Iterable[Edit], client: str, revision: int | None) -> None:
        """Raise Conflict if a thing was changed by another client after `revision`."""
        if revision is None:
            return
        newer = []
        for edit in edits:
            changed, by = self._changed.get(edit.key, (0, ""))
            if changed > revision and by != client and edit.what not in (REVIEWED,):
                newer.append(edit.inverse.to_json() | {"revision": changed})
        if newer:
            raise Conflict(newer)

    def _commit(self, video: str, edits: tuple[Edit, ...], client: str, step: str) -> Json:
        """Journal edits that are made already, and tell everybody. Raises NotSaved."""
        if edits:
            revision = self.document.revision + 1
            written = [edit.to_json() for edit in edits]
            try:
                self.journal.append({"revision": revision, "video": video, "step": step, "edits": written})
            except OSError as error:
                self._failed(reason_of(error))
                raise NotSaved(f"{self.journal.path}: not written: {reason_of(error)}; make room there") from None
            self.document.revision = revision
            for edit in edits:
                self._changed[edit.key] = (revision, client)
                self._revisions[edit.video] = revision
            self._note(video, edits, step)
            self._tell({"event": "change", "revision": revision, "client": client, "edits": written})
            self._save_soon()
        return {"revision": self.document.revision, "edits": [edit.to_json() for edit in edits]}

    def _note(self, video: str, edits: tuple[Edit, ...], step: str) -> None:
        steps = self._steps.setdefault(video, Steps([], []))
        if step == "do":
            steps.done.append(Step(edits))
            del steps.done[:-STEPS]
            steps.undone.clear()
        elif step == "undo":
            if steps.done:
                steps.undone.append(steps.done.pop())
        elif step == "redo" and steps.undone:
            steps.done.append(steps.undone.pop())

    def undo(self, video: str, client: str, *, redo: bool = False) -> Json:
        """Undo or redo a video's last step; the answer's `step` says which, empty if there is none. Raises NotSaved."""
        with self._lock:
            steps = self._steps.setdefault(video, Steps([], []))
            stack = steps.undone if redo else steps.done
            if not stack:
                return {"revision": self.document.revision, "edits": [], "step": ""}
            step = stack[-1].edits
            forth = [edit.inverse for edit in reversed(step)] if redo else list(step)
            edits = tuple(undone(self.document, forth))
            for edit in edits:
                put(self.document, edit)
            try:
                answer = self._commit(video, edits, client, "redo" if redo else "undo")
            except NotSaved:
                for edit in reversed(edits):
                    put(self.document, edit.inverse)
                raise
            if not edits:  # others have changed all of it since
                self._note(video, (), "redo" if redo else "undo")
            return answer | {"step": described(step)}

    def put_suggestions(self, make: Callable[[Document], list[Edit]]) -> None:
        """Make edits that undo leaves alone: a model's new suggestions. Raises NotSaved."""
        with self._lock:
            made = tuple(make(self.document))
            self._make(made)

    def _make(self, edits: tuple[Edit, ...]) -> None:
        """Make edits that undo leaves alone, or none of them. Raises NotSaved."""
        for edit in edits:
            put(self.document, edit)
        try:
            self._commit("", edits, "", "quiet")
        except NotSaved:
            for edit in reversed(edits):
                put(self.document, edit.inverse)
            raise

    def touch(self) -> None:
        """Save soon, though nothing that can be undone has changed."""
        with self._lock:
            self._save_soon()

    def watch(self) -> None:
        """Look whether another program has changed the file."""
        with suppress(OSError):  # what cannot be read is told when it is to be written
            if self.foreign is None and self.file.is_foreign():
                self.save()

    def look(self, read: Callable[[Document], Any]) -> Any:
        """What a function reads from the document, while nothing changes."""
        with self._lock:
            return read(self.document)

    def revision_of(self, video: str) -> int:
        """The revision at which a video last changed."""
        return self._revisions.get(video, 0)

    # ---- saving

    def _save_soon(self) -> None:
        clock = datetime.now().timestamp()
        if not self._unsaved:
            self._first_change = clock
        self._unsaved = True
        self._schedule(min(QUIET, max(0.0, self._first_change + LATEST - clock)))

    def _schedule(self, wait: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(wait, self.save)
        self._timer.daemon = True
        self._timer.start()

    def save(self) -> bool:
        """Write the file now; whether it holds all changes."""
        with self._saving:
            try:
                return self._save() or (not self.problem and self._save())  # again: a change came meanwhile
            except (TalError, OSError) as error:
                self._failed(reason_of(error))
                self._schedule(RETRY)
                return False

    def _save(self) -> bool:
        with self._lock:
            if not self._unsaved and self.file.path.exists() and not self.file.is_foreign():
                return True
            if self.foreign is None and self.file.is_foreign():
                self.foreign = self.file.path.read_bytes()
                kept = self.file.back_up(self.document.to_bytes(), "-mine")
                self._tell({"event": "foreign", "kept": str(kept), "difference": self.difference()})
            if self.foreign is not None:
                self._failed("another program changed the file; choose which version to keep")
                return False
            revision, content, steps = (
                self.document.revision,
                self.document.to_bytes(),
                steps_to_json(self._steps, self.document.revision),
            )
        # Changes go on meanwhile.
        with suppress(TalError):  # undo steps are a comfort; the file is what counts
            write_atomically(steps_path(self.file.path), steps)
        self.file.write(content)
        with self._lock:
            if revision == self.document.revision:
                self.journal.clear()
                self._unsaved = False
            else:
                self._schedule(QUIET)
            self.problem, self.saved_at = "", now()
            self._tell({"event": "saved", "at": self.saved_at})
            return not self._unsaved

    def _failed(self, problem: str) -> None:
        self.problem = problem
        self._tell({"event": "unsaved", "problem": problem})

    def difference(self) -> Json:
        """What another program's file has otherwise: numbers of annotations by video, and whether it can be read."""
        other = self._foreign_document()
        return {"readable": other is not None, "videos": differences(self.document, other) if other else {}}

    def _foreign_document(self) -> Document | None:
        try:
            return document_from(self.file.path, parsed(self.foreign or b""))
        except TalError:
            return None

    def settle(self, keep: str) -> Json:
        """Decide between this document and another program's file: `mine`, `theirs` or `both`; the other stays among
        the backups. Raises OpError, NotSaved."""
        with self._saving, self._lock:
            if self.foreign is None:
                return {"revision": self.document.revision}
            other = self._foreign_document()
            if keep not in ("mine", "theirs", "both") or (other is None and keep != "mine"):
                raise OpError("keep: expected mine, theirs or both; a file that cannot be read can only be replaced")
            if self.foreign:
                self.file.back_up(self.foreign, "-theirs")
            if other is not None and keep != "mine":
                self._make(tuple(taken_over(self.document, other, whole=keep == "theirs")))
            self.foreign, self._unsaved = None, True
            self.file.read()
            self.save()
            return {"revision": self.document.revision}

    def close(self) -> bool:
        """Save for the last time; whether all is in the file."""
        with self._saving, self._lock:
            if self._timer is not None:
                self._timer.cancel()
            done = self.save()
            self.journal.remove()
            return done


def now() -> str:
    """This moment in ISO form."""
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
