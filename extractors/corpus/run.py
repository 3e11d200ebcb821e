"""Many videos: each gets its feature file, fails alone, and is left alone once it is finished.

An engine (`local.py`, `ray.py`) computes; this module decides what is left to do, shares it with other runs on the same
folder by locks, and sums up. Nothing here loads torch.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tal_cli.extractors.errors import FeatureError, InputError, VideoError
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.files import description_of, parse_contract, parse_source, save_features
from tal_cli.extractors.features.identity import identity_of
from tal_cli.extractors.files.atomic import LONGEST, leftovers, scratch_folder
from tal_cli.extractors.files.locks import Locks, lock_path
from tal_cli.extractors.files.remote import exists, is_url, local_path, name_of, on_this_machine, read, remove, send

if TYPE_CHECKING:
    from tal_cli.extractors.extraction.extractor import Extractor, Progress
    from tal_cli.extractors.features.sequence import FeatureSequence

# How often to look whether other runs have finished what they are at, seconds.
POLL, POLL_EACH = 1.0, 0.02


@dataclass(frozen=True)
class Job:
    """A video and its feature file, whose suffix names the format; both are paths or URLs (`files/remote.py`)."""

    video: str
    target: str


@dataclass(frozen=True)
class Outcome:
    """What became of a job: done, kept (it was finished before), or failed with an error that says why.

    frames: decoded; duration: of the video, seconds; warnings: of how it was read, see `FeatureSequence`.
    """

    job: Job
    kept: bool = False
    frames: int = 0
    duration: float = 0.0
    warnings: tuple[str, ...] = ()
    error: Exception | None = None

    @property
    def done(self) -> bool:
        """Whether this run made the features."""
        return not self.kept and self.error is None


class Engine(Protocol):
    """Runs jobs, several at a time."""

    def has_room(self) -> bool:
        """Whether another job would begin soon."""
        ...

    def submit(self, job: Job) -> None:
        """Take a job."""
        ...

    def wait(self, timeout: float) -> list[Outcome]:
        """Outcomes of jobs that have ended, after at most that many seconds. Raises what no job could succeed with."""
        ...

    def close(self) -> None:
        """End whatever runs."""
        ...


@dataclass
class Summary:
    """What a run came to. seconds: of video that was done; since: when it began, on the monotonic clock."""

    done: int = 0
    kept: int = 0
    failed: list[tuple[str, str]] = field(default_factory=list)
    frames: int = 0
    seconds: float = 0.0
    since: float = field(default_factory=time.monotonic)

    def add(self, outcome: Outcome) -> None:
        """Count an outcome."""
        self.done += outcome.done
        self.kept += outcome.kept
        self.frames += outcome.frames
        self.seconds += outcome.duration
        if outcome.error is not None:
            self.failed.append((outcome.job.video, str(getattr(outcome.error, "reason", outcome.error))))

    @property
    def elapsed(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.since

    @property
    def hours_per_hour(self) -> float:
        """Hours of video done per hour."""
        return self.seconds / max(self.elapsed, 1e-9)


def is_done(job: Job, contract: FeatureContract) -> bool:
    """Whether complete features of this very video are there, extracted under this very contract.

    Raises:
        FeatureError: they are those of another video of the same name.
        RemoteError: a file cannot be read.
    """
    description = description_of(job.target)
    if not exists(job.target) or not exists(description):
        return False
    try:
        content = json.loads(read(description))
    except ValueError:
        return False
    if not isinstance(content, dict):
        return False
    known = parse_source(content)
    if known is not None and known != identity_of(job.video):
        other = f"another video, {known.path}" if known.path not in ("", job.video) else "an earlier video"
        reason = f"it holds the features of {other}, not those of {job.video}"
        raise FeatureError(job.target, reason, "write to another --output, or give --overwrite to replace it")
    try:
        return parse_contract(Path(name_of(description)), content) == contract
    except FeatureError:
        return False


def run_job(
    job: Job,
    extractor: Extractor,
    *,
    decoder: str = "auto",
    timeout: float,
    time_limit: float | None = None,
    progress: Progress | None = None,
) -> Outcome:
    """Do one job. What is wrong with its files is in the outcome, all else is raised."""
    try:
        with on_this_machine(job.video) as path:
            sequence = extractor.extract(
                path, decoder=decoder, timeout=timeout, time_limit=time_limit, progress=progress
            )
        save(sequence, job)
    except VideoError as error:
        return Outcome(job, error=VideoError(job.video, error.reason))
    except (InputError, OSError) as error:
        return Outcome(job, error=error)
    return Outcome(job, frames=sequence.frames, duration=sequence.duration, warnings=sequence.warnings)


def save(sequence: FeatureSequence, job: Job) -> None:
    """Writes features and description atomically to the job's path or URL. Raises InputError."""
    target = job.target
    sequence = replace(sequence, source=identity_of(job.video))
    if not is_url(target):
        save_features(sequence, local_path(target))
        return
    description = description_of(target)
    with scratch_folder() as folder:
        file = folder / name_of(target)
        save_features(sequence, file)
        remove(description)  # an old description must not stand beside new features
        send(file, target)
        send(folder / name_of(description), description)


def run_corpus(
    jobs: Iterable[Job], contract: FeatureContract, start: Callable[[], Engine], *, overwrite: bool = False
) -> Generator[Outcome, None, None]:
    """Do all jobs that are not done, and wait for those that other runs are at; outcomes come as jobs end.

    start: called once there is something to do. overwrite: redo what is done, but for what another run is at meanwhile.
    """
    return _Corpus(contract, start, overwrite).run(jobs)


class _Corpus:
    def __init__(self, contract: FeatureContract, start: Callable[[], Engine], overwrite: bool) -> None:
        self._contract = contract
        self._start = start
        self._overwrite = overwrite
        self._locks = Locks()
        self._engine: Engine | None = None
        self._running = 0
        self._leftovers: dict[str, dict[str, list[Path]]] = {}

    def run(self, jobs: Iterable[Job]) -> Generator[Outcome, None, None]:
        waiting: deque[tuple[Job, bool]] = deque((job, self._overwrite) for job in jobs)
        elsewhere: deque[tuple[Job, bool]] = deque()
        looked = time.monotonic()
        try:
            while waiting or elsewhere or self._running:
                while waiting and (self._engine is None or self._engine.has_room()):
                    job, overwrite = waiting.popleft()
                    begun = self._begin(job, overwrite)
                    if isinstance(begun, Outcome):
                        yield begun
                    elif not begun:
                        # What another run is at needs no redoing by this one.
                        elsewhere.append((job, False))
                yield from self._finished()
                if not waiting and elsewhere:
                    if not self._running:
                        time.sleep(POLL / 4)
                    if time.monotonic() - looked > POLL + POLL_EACH * len(elsewhere):
                        looked = time.monotonic()
                        waiting, elsewhere = elsewhere, waiting
        finally:
            if self._engine is not None:
                self._engine.close()
            self._locks.close()

    def _begin(self, job: Job, overwrite: bool) -> Outcome | bool:
        """Give a job to the engine (True), unless it is done, cannot be, or another run is at it (False)."""
        try:
            if not overwrite and not self._left(job) and is_done(job, self._contract):
                return Outcome(job, kept=True)
        except (InputError, OSError) as error:
            return Outcome(job, error=error)
        if self._engine is None:
            self._engine = self._start()
        try:
            if not self._locks.take(job.target):
                self._forget(job)
                return False
            self._sweep(job)
            if not overwrite and is_done(job, self._contract):  # finished between the look and the lock
                self._locks.release(job.target)
                return Outcome(job, kept=True)
        except (InputError, OSError) as error:
            self._locks.release(job.target)
            return Outcome(job, error=error)
        self._engine.submit(job)
        self._running += 1
        return True

    def _finished(self) -> Iterator[Outcome]:
        if self._engine is None or not self._running:
            return
        for outcome in self._engine.wait(POLL / 4):
            self._running -= 1
            self._locks.release(outcome.job.target)
            yield outcome

    def _left(self, job: Job) -> list[Path]:
        """What killed runs left of a job's files; each folder is read once, however many files are in it."""
        if is_url(job.target):
            return []
        path = local_path(job.target)
        folder = os.fspath(path.parent)
        if folder not in self._leftovers:
            self._leftovers[folder] = leftovers(path.parent)
        found = self._leftovers[folder]
        names = (path.name[:LONGEST], path.with_suffix(".json").name[:LONGEST], path.stem[:LONGEST])
        return [file for name in names for file in found.get(name, ())]

    def _sweep(self, job: Job) -> None:
        """Remove partial files: only the run that has the lock writes there."""
        for file in self._left(job):
            if file != lock_path(job.target):
                file.unlink(missing_ok=True)

    def _forget(self, job: Job) -> None:
        """Read the folder again for a job that another run is at: it may be killed."""
        if not is_url(job.target):
            self._leftovers.pop(os.fspath(local_path(job.target).parent), None)
