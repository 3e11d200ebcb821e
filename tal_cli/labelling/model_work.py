"""What models do here: suggestions, training, and the proxies of videos, as jobs."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from tal_cli import console
from tal_cli.datasets.annotations import touches
from tal_cli.extractors.errors import TalError, UnknownModel, UsageError
from tal_cli.labelling.jobs import Job, newest_run, result_file
from tal_cli.labelling.library import Video
from tal_cli.labelling.next_up import Item, unreviewed
from tal_cli.labelling.project.document import Annotation, Document, Json, completed
from tal_cli.labelling.project.edits import LABELS, Edit
from tal_cli.labelling.project.importing import read_suggestions, suggested, unknown_labels
from tal_cli.labelling.project.ranges import total
from tal_cli.labelling.session import Session
from tal_cli.models.store.zoo import resolve_model

RANKED = 100  # stretches that `tal suggest` is asked for
LOWEST_SCORE = 0.1  # of suggestions: what a model is unsure of is worth a look


class ModelWork:
    """Makes the jobs of a session. model: what to run where no run folder is there yet."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.model: str | None = None

    def begin_with(self, suggestions: str) -> None:
        """Take suggestions from a results file, or run a model first. Raises InputError, ModelMissing, UsageError."""
        path = Path(suggestions)
        if path.is_file():
            if not self.add_suggestions(path):
                console.warn(f"{path}: nothing in it is about these videos")
            return
        try:
            resolve_model(suggestions)
        except UnknownModel as error:
            raise UsageError(f"--suggestions {suggestions}: no such results file, and {error.reason}") from None
        self.model = suggestions
        self.add_job("suggest", {"model": suggestions})

    def add_suggestions(self, path: Path) -> int:
        """Take a model's results as suggestions; returns how many videos they are about. Raises InputError."""
        stems = {video.path.stem: video.name for video in self._session.library.videos.values()}
        offered = read_suggestions(path, stems)
        found = offered.segments

        def work(document: Document) -> list[Edit]:
            items = [item for name in found for item in found[name]]
            added = completed((*document.labels, *unknown_labels(document, items)))
            edits = [Edit(LABELS, "", "", document.labels, added)] if added != document.labels else []
            for edit in edits:
                document.labels = edit.after
            for name, segments in found.items():
                if name in self._session.library.by_name:
                    edits += suggested(document, name, self._fitted(name, segments))
            return edits

        self._session.store.put_suggestions(work)
        self._session.take(replace(self._session.evidence, shown_from=offered.shown_from))
        return len(found.keys() & self._session.library.by_name.keys())

    def _fitted(self, name: str, segments: list[Annotation]) -> list[Annotation]:
        """Suggestions with their times on edges of frames."""
        times = self._session.library.by_name[name].times()
        done = []
        for item in segments:
            start, end = times.snapped(item.start, max(item.start, item.end), False)
            done.append(replace(item, start=start, end=end))
        return done

    def unreviewed_videos(self) -> list[Video]:
        """Videos of which not everything has been reviewed."""

        def read(document: Document) -> list[Video]:
            videos = self._session.library.videos.values()
            return [
                video
                for video in videos
                if document.videos[video.name].reviewed is not None
                and (unreviewed(document.videos[video.name], self._session.duration_of(document, video) or 1.0))
            ]

        found: list[Video] = self._session.store.look(read)
        return found

    def add_job(self, kind: str, asked: Json) -> Job:
        """`POST /api/jobs`. Raises UsageError: there is nothing to do, or no model."""
        if kind == "proxy":
            videos = [
                video for video in self._session.library.videos.values() if asked.get("video") in (None, video.id)
            ]
            if not videos:
                raise UsageError(f"video {asked.get('video')}: there is none with this id")
            return self._session.jobs.add(
                kind, ", ".join(video.name for video in videos[:3]), (), self._proxies(videos)
            )
        if kind == "suggest":
            model = asked.get("model") or newest_run(self._session.folder) or self.model
            if model is None:
                raise UsageError("no model yet", "train one, or start tal label with --suggestions MODEL")
            videos = self.unreviewed_videos()
            if not videos:
                raise UsageError("all videos are reviewed: there is nothing to suggest")
            target = result_file()
            paths = [str(video.path) for video in videos]
            command = ["detect", *paths, "--model", str(model), "--min-score", str(LOWEST_SCORE), "-f", "json"]
            work = self._suggest([*command, "-o", str(target)], target, str(model))
            return self._session.jobs.add(kind, str(model), [command], work)
        learned = self.would_use()["train"]["annotations"]
        if not learned:
            raise UsageError("there is nothing to learn from: no annotation lies in what is reviewed")
        commands = self.training_commands()
        return self._session.jobs.add("train", commands[-1][-1], commands, lambda job: self._run_all(job, commands))

    @property
    def _features(self) -> str:
        """The folder of features, beside the annotation file."""
        return f"{self._session.file.path.stem}-features"

    def training_commands(self) -> list[list[str]]:
        """The commands of `train`: features of all videos, then a run named after the moment."""
        paths = [str(video.path) for video in self._session.library.videos.values()]
        run = f"runs/{self._session.file.path.stem}-{datetime.now():%Y%m%d-%H%M%S}"
        return [
            ["extract-features", *paths, "--extractor", "tiny", "--output", self._features],
            ["train", "--dataset", self._session.file.path.name, "--features", self._features, "--output", run],
        ]

    def would_use(self) -> Json:
        """What *Train* would learn from, and what *Suggest* would look at."""

        def read(document: Document) -> Json:
            entries = [
                (document.videos[video.name], self._session.duration_of(document, video))
                for video in self._session.library.videos.values()
            ]
            seen = [(entry, seconds) for entry, seconds in entries if entry.reviewed != ()]
            minutes = sum(seconds - total(unreviewed(entry, seconds)) for entry, seconds in seen) / 60
            items = [
                item
                for entry, _ in seen
                for item in entry.annotations.values()
                if touches(entry.reviewed, item.start, item.end)
            ]
            outside = sum(len(entry.annotations) for entry, _ in entries) - len(items)
            names = Counter(item.label for item in items)
            left = sum(total(unreviewed(entry, seconds)) for entry, seconds in entries) / 60
            train = {"videos": len(seen), "minutes": minutes, "annotations": len(items), "labels": names}
            train["outside"] = outside
            return {"train": train, "suggest": {"minutes": left}}

        model = newest_run(self._session.folder) or self.model
        found: Json = self._session.store.look(read)
        found["train"]["commands"] = [shlex.join(("tal", *command)) for command in self.training_commands()]
        found["train"]["folder"] = str(self._session.folder.absolute())
        found["suggest"] |= {"model": None if model is None else str(model), "videos": len(self.unreviewed_videos())}
        found["suggest"]["labels"] = [] if model is None else labels_of(self._session.folder, str(model))
        return found

    def _run_all(self, job: Job, commands: list[list[str]]) -> None:
        self._session.store.save()
        run = commands[-1][-1]
        for number, command in enumerate(commands):
            job.part = number, len(commands)
            self._session.jobs.report(job, *job.part)
            self._session.jobs.run_command(job, command)
        self._rank(job, run)

    def _rank(self, job: Job, model: str) -> None:
        """Let `tal suggest` rank what to look at next, where features are at hand; without it the queue goes on."""
        files = sorted((self._session.folder / self._features).glob("*.npy"))
        if not files:
            return
        target = result_file()
        about = ["--model", model, "--annotations", self._session.file.path.name, "-n", str(RANKED), "-f", "json"]
        try:
            self._session.store.save()
            self._session.jobs.run_command(job, ["suggest", *map(str, files), *about, "-o", str(target)])
            rows = json.loads(target.read_bytes())
            ranked = [Item(**row) for row in rows if row["video"] in self._session.library.by_name]
            self._session.take(replace(self._session.evidence, ranked=ranked))
            self._session.events.tell({"event": "suggestions"})
        except RuntimeError as error:
            job.log.append(f"not ranked: {error}")
        finally:
            target.unlink(missing_ok=True)

    def _suggest(self, command: list[str], target: Path, model: str) -> Callable[[Job], None]:
        def work(job: Job) -> None:
            try:
                self._session.jobs.run_command(job, command)
                job.log.append(f"suggestions in {self.add_suggestions(target)} videos")
                self._session.events.tell({"event": "suggestions"})
            finally:
                target.unlink(missing_ok=True)
            self._rank(job, model)

        return work

    def _proxies(self, videos: list[Video]) -> Callable[[Job], None]:
        def work(job: Job) -> None:
            for number, video in enumerate(videos):
                count = video.times().frames

                def progress(done: float, total: float | None, number: int = number, count: int = count) -> None:
                    self._session.jobs.report(job, number + done / count, len(videos))

                video.make_proxy(progress)
                self._session.events.tell({"event": "proxy", "video": video.id})

        return work


def labels_of(folder: Path, model: str) -> list[str]:
    """The labels that a model finds, where it is on this machine. folder: to which its path is relative."""
    from tal_cli.models.store.zoo import resolve_model

    place = folder / model
    try:
        return ((place if place.is_dir() else resolve_model(model)) / "labels.txt").read_text("utf-8").splitlines()
    except (TalError, OSError):
        return []
