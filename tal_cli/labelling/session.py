"""One run of `tal label`: the videos, the annotation file, jobs, and those who listen to what happens."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from tal_cli import console
from tal_cli.datasets.video_facts import VideoFacts
from tal_cli.datasets.writers import TARGETS
from tal_cli.labelling.evidence import keep_evidence, load_evidence
from tal_cli.labelling.jobs import Jobs
from tal_cli.labelling.library import Library, Video
from tal_cli.labelling.next_up import Evidence, Item, next_up, unreviewed
from tal_cli.labelling.project.document import Document, Json, VideoEntry, in_order
from tal_cli.labelling.project.exporting import converted
from tal_cli.labelling.project.files import AnnotationFile, Journal
from tal_cli.labelling.project.importing import open_document
from tal_cli.labelling.project.ranges import total
from tal_cli.labelling.project.store import NotSaved, Store
from tal_cli.safe_text import printable

HEARTBEAT = 15.0  # seconds
OLD_EVENTS = 1000
NAMED = 3  # videos of a file that has none of those given


class Events:
    """Tells everybody who listens what happens."""

    def __init__(self) -> None:
        self._listeners: set[queue.Queue[Json]] = set()
        self._lock = threading.Lock()

    def tell(self, event: Json) -> None:
        """Send an event to all listeners; one that does not keep up is told to read everything again."""
        with self._lock:
            for listener in self._listeners:
                try:
                    listener.put_nowait(event)
                except queue.Full:
                    with suppress(queue.Empty):
                        while True:
                            listener.get_nowait()
                    listener.put_nowait({"event": "reload"})

    def listen(self) -> Iterator[Json | None]:
        """Events as they come; None now and then, so that a listener that is gone is noticed."""
        mine: queue.Queue[Json] = queue.Queue(OLD_EVENTS)
        with self._lock:
            self._listeners.add(mine)
        try:
            yield {"event": "hello"}
            while True:
                try:
                    yield mine.get(timeout=HEARTBEAT)
                except queue.Empty:
                    yield None
        finally:
            with self._lock:
                self._listeners.discard(mine)


class Session:
    """Everything behind the page."""

    def __init__(
        self, videos: list[Video], path: Path, person: str, order: str, events: Events, begin: Document | None = None
    ) -> None:
        self.events = events
        self.order = order
        self.file = AnnotationFile(path)
        document = begin or open_document(self.file, VideoFacts([video.path for video in videos]))
        if document.videos and not any(video.name in document.videos for video in videos):
            names = ", ".join(map(printable, list(document.videos)[:NAMED]))
            console.warn(
                f"{path}: it has none of these videos, only others ({names}): rename these alike to see its labels"
            )
        self.store = Store(self.file, Journal(path), document, person, events.tell)
        replayed = self.store.replay()
        if replayed:
            console.note(f"{path}: {replayed} changes of an earlier run were in its journal; they are in the file now")
        self.library = Library(videos)
        self.jobs = Jobs(path.parent, events.tell)
        self.evidence, self.done = load_evidence(path)
        self._ranking = threading.Lock()
        self.finished = threading.Event()
        for video in videos:
            self._enter(video)

    @property
    def folder(self) -> Path:
        """The annotation file's folder, where commands run."""
        return self.file.path.parent

    def _enter(self, video: Video) -> None:
        """Give a video its entry in the document, found by its name or its path."""

        def enter(document: Document) -> None:
            entry = document.videos.setdefault(video.name, VideoEntry({}, reviewed=()))
            there = entry.facts.get("path")
            if not isinstance(there, str) or (self.folder / there).resolve() != video.path:
                with suppress(ValueError):  # another drive
                    entry.facts["path"] = Path(os.path.relpath(video.path, self.folder)).as_posix()
            entry.facts.setdefault("subset", "training")

        self.store.look(enter)

    def learn(self, video: Video) -> None:
        """Note in the document how long a video is."""
        times = video.times()

        def enter(document: Document) -> bool:
            facts = document.videos[video.name].facts
            before = dict(facts)
            for key, value in (("duration", times.duration), ("fps", round(times.fps, 6)), ("frames", times.frames)):
                if not facts.get(key):
                    facts[key] = value
            return facts != before

        if self.store.look(enter):
            self.store.touch()

    def start(self) -> None:
        """Write the file as it is now, and look into the videos in the background."""
        self.store.touch()
        self.store.save()
        self.library.load(self.learn)

    def video(self, identity: str) -> Video | None:
        """A video by its id."""
        return self.library.videos.get(identity)

    def take(self, evidence: Evidence) -> None:
        """Rank the queue by what models say now."""
        with self._ranking:
            self.evidence = evidence
            keep_evidence(self.file.path, evidence, self.done)

    def settle(self, item: str, is_done: bool) -> None:
        """Note whether an item of the queue is settled."""
        with self._ranking:
            (self.done.add if is_done else self.done.discard)(item)
            keep_evidence(self.file.path, self.evidence, self.done)

    # ---- what the page is told

    def project(self) -> Json:
        """`GET /api/project`."""
        self.store.watch()

        def read(document: Document) -> Json:
            return {
                "labels": [label.to_json() for label in document.labels],
                "subjects": list(document.subjects),
                "settings": document.extra.get("settings", {}),
                "forms": list(TARGETS),
                "person": self.store.person,
                "file": self.file.path.name,
                "order": self.order,
                "revision": document.revision,
                "saved": self.store.saved_at,
                "problem": self.store.problem,
                "foreign": self.store.difference() if self.store.foreign is not None else None,
                "videos": [self._summary(document, video) for video in self.ordered(document)],
            }

        found: Json = self.store.look(read)
        return found

    def _summary(self, document: Document, video: Video) -> Json:
        entry = document.videos[video.name]
        duration = self.duration_of(document, video)
        counts: dict[str, int] = {}
        for item in entry.annotations.values():
            counts[item.label] = counts.get(item.label, 0) + 1
        left = total(unreviewed(entry, duration)) if duration else 0.0
        size = video.path.stat().st_size if video.path.exists() else 0
        known = {"duration": duration, "frames": entry.facts.get("frames"), "size": size, "playable": None}
        return {
            "id": video.id,
            "name": video.name,
            **known,
            **video.facts(),
            "counts": counts,
            "suggestions": sum(item.status == "pending" for item in entry.suggestions.values()),
            "reviewed_share": 1 - left / duration if duration and entry.reviewed != () else 0.0,
            "revision": self.store.revision_of(video.name),
        }

    def duration_of(self, document: Document, video: Video) -> float:
        """A video's duration in seconds, 0 while it is not known."""
        if video.known is not None:
            return video.known.duration
        told = document.videos[video.name].facts.get("duration")
        return float(told) if isinstance(told, int | float) else 0.0

    def ordered(self, document: Document) -> list[Video]:
        """The videos as given, or the most uncertain ones first."""
        videos = list(self.library.videos.values())
        if self.order != "uncertain":
            return videos
        doubt: dict[str, float] = {}
        for item in self.items(document):
            doubt[item.video] = max(doubt.get(item.video, 0.0), item.score)
        return sorted(videos, key=lambda video: -doubt.get(video.name, 0.0))

    def items(self, document: Document) -> list[Item]:
        """The queue."""
        videos = [(video.name, self.duration_of(document, video)) for video in self.library.videos.values()]
        return next_up(document, [video for video in videos if video[1]], self.done, self.evidence)

    def contents(self, video: Video) -> Json:
        """`GET /api/videos/{id}`."""

        def read(document: Document) -> Json:
            entry = document.videos[video.name]
            return {
                "id": video.id,
                "name": video.name,
                **video.facts(),
                "annotations": [item.to_json() for item in in_order(entry.annotations.values())],
                "suggestions": [item.to_json() for item in in_order(entry.suggestions.values())],
                "reviewed": None if entry.reviewed is None else [list(part) for part in entry.reviewed],
                "revision": document.revision,
            }

        found: Json = self.store.look(read)
        return found

    def export(self, form: str) -> tuple[bytes, str]:
        """The annotations in a form that `tal datasets convert` writes, and its name. Raises RuntimeError, NotSaved."""
        is_saved = self.store.save()
        content, videos = self.store.look(lambda document: (document.to_bytes(), len(document.videos)))
        if form in ("", "json", "activitynet"):
            return content, self.file.path.name
        if not is_saved and self.store.problem:
            raise NotSaved(f"{self.file.path}: not saved, so it cannot be converted: {self.store.problem}")
        return converted(self.file.path, form, videos)

    def close(self) -> bool:
        """End jobs and save; whether all is in the file."""
        self.jobs.close()
        return self.store.close()
