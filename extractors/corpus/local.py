"""Local worker processes, one per device: a crash or a hang in one costs one video."""

from __future__ import annotations

import json
import queue
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from tal_cli.extractors.corpus.run import Job, Outcome
from tal_cli.extractors.corpus.worker_config import Setup, WorkerError, unpack
from tal_cli.extractors.errors import VideoError
from tal_cli.extractors.files.child import Child, Inbox, read_json

# A video fails after this many seconds without progress; one forward pass of a large network on a CPU can take minutes.
PATIENCE = 900.0
# A video during which its worker ends gets one more try, alone.
ATTEMPTS = 2

JobProgress = Callable[[Job, int, "int | None"], None]
Json = dict[str, Any]


class Worker:
    """One process. `jobs`: its current jobs, by number. `heard`: time of each one's last message. `ready`: started."""

    def __init__(self, setup: Setup, device: str, videos_each: int, threads: int | None, inbox: Inbox[Json]) -> None:
        self.device = device
        self.jobs: dict[int, Job] = {}
        self.heard: dict[int, float] = {}
        self.ready = self.exclusive = False
        self.child: Child[Json] = Child("tal_cli.extractors.corpus.worker", read_json, inbox, plugins=True)
        self._send({"setup": asdict(setup), "device": device, "videos_each": videos_each, "threads": threads})

    def send(self, number: int, job: Job) -> None:
        """Assigns it a job."""
        self.jobs[number] = job
        self.heard[number] = time.monotonic()
        self._send({"number": number, "video": job.video, "target": job.target})

    def take(self, number: int) -> Job:
        """Removes a job that has ended."""
        del self.heard[number]
        return self.jobs.pop(number)

    def _send(self, message: Json) -> None:
        self.child.send(json.dumps(message).encode())


class LocalEngine:
    """Worker processes, started when there is work for them.

    devices: one worker each. videos_each: how many a worker processes at once. threads: of torch, per worker.
    patience: see above.
    progress: called with a job, frames done and frames expected.
    """

    def __init__(
        self,
        setup: Setup,
        devices: Sequence[str],
        *,
        videos_each: int = 1,
        threads: int | None = None,
        patience: float = PATIENCE,
        progress: JobProgress | None = None,
    ) -> None:
        self._setup, self._videos_each, self._threads = setup, videos_each, threads
        self._patience, self._progress = patience, progress
        self._free = deque(devices)
        self._room = len(devices) * videos_each
        self._workers: dict[int, Worker] = {}  # by process number
        self._inbox: Inbox[Json] = queue.Queue()
        self._waiting: deque[tuple[int, Job]] = deque()
        self._alone: deque[tuple[int, Job]] = deque()
        self._attempts: Counter[int] = Counter()
        self._submitted = 0

    @property
    def workers(self) -> tuple[Worker, ...]:
        """The current processes."""
        return tuple(self._workers.values())

    def has_room(self) -> bool:
        """Whether another job would start soon."""
        return len(self._waiting) + len(self._alone) + sum(len(worker.jobs) for worker in self.workers) < self._room

    def submit(self, job: Job) -> None:
        """Accepts a job."""
        self._submitted += 1
        self._waiting.append((self._submitted, job))
        self._hand_out()

    def wait(self, timeout: float) -> list[Outcome]:
        """Outcomes of jobs that have ended, after at most that many seconds.

        Raises errors that keep all workers from starting (WeightsError, WorkerError, ...).
        """
        until = time.monotonic() + timeout
        outcomes = self._end_hanging()
        while not outcomes and time.monotonic() < until:
            try:
                number, message = self._inbox.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                break
            worker = self._workers.get(number)
            if worker is not None:
                outcomes += self._ended(worker) if message is None else self._heard(worker, message)
        self._hand_out()
        return outcomes

    def close(self) -> None:
        """Ends all workers."""
        for worker in self.workers:
            worker.child.close()
        self._workers.clear()

    def _hand_out(self) -> None:
        while self._alone:
            worker = self._worker(lambda worker: not worker.jobs)
            if worker is None:
                break
            worker.exclusive = True
            worker.send(*self._alone.popleft())
        while self._waiting and not self._alone:
            worker = self._worker(lambda worker: len(worker.jobs) < self._videos_each and not worker.exclusive)
            if worker is None:
                break
            worker.send(*self._waiting.popleft())

    def _worker(self, fits: Callable[[Worker], bool]) -> Worker | None:
        """The least busy worker that fits; a new one where the others are busy and a device is free."""
        found = min(filter(fits, self.workers), key=lambda worker: len(worker.jobs), default=None)
        if self._free and (found is None or found.jobs):
            found = Worker(self._setup, self._free.popleft(), self._videos_each, self._threads, self._inbox)
            self._workers[found.child.number] = found
        return found

    def _heard(self, worker: Worker, message: Json) -> list[Outcome]:
        if "failed" in message:
            raise unpack(message["failed"])
        if "ready" in message:
            worker.ready = True
            worker.heard = dict.fromkeys(worker.jobs, time.monotonic())
        elif "progress" in message and message["progress"] in worker.jobs:
            worker.heard[message["progress"]] = time.monotonic()
            if self._progress is not None:
                self._progress(worker.jobs[message["progress"]], message["done"], message["expected"])
        elif "outcome" in message:
            job = worker.take(message["outcome"])
            worker.exclusive = worker.exclusive and bool(worker.jobs)
            if message["error"] is not None:
                return [Outcome(job, error=unpack(message["error"]))]
            warnings = tuple(message["warnings"])
            return [Outcome(job, frames=message["frames"], duration=message["duration"], warnings=warnings)]
        return []

    def _ended(self, worker: Worker) -> list[Outcome]:
        """Handles the end of a worker: its videos are retried one by one, since one of them may be the cause."""
        how = worker.child.post_mortem()
        self._retire(worker)
        if not worker.ready:
            raise WorkerError(f"a worker process on {worker.device} could not start: it {how}")
        outcomes = []
        for number, job in worker.jobs.items():
            self._attempts[number] += 1
            if self._attempts[number] < ATTEMPTS:
                self._alone.append((number, job))
            else:
                outcomes.append(Outcome(job, error=VideoError(job.video, f"its worker process failed twice: it {how}")))
        return outcomes

    def _end_hanging(self) -> list[Outcome]:
        """Ends workers in which a video makes no progress; their other videos start again."""
        outcomes = []
        for worker in [worker for worker in self.workers if worker.ready]:
            hanging = [n for n, heard in worker.heard.items() if time.monotonic() - heard > self._patience]
            if not hanging:
                continue
            self._retire(worker)
            for number, job in worker.jobs.items():
                if number in hanging:
                    reason = f"it made no progress for {self._patience:g} s"
                    outcomes.append(Outcome(job, error=VideoError(job.video, reason)))
                else:
                    self._waiting.appendleft((number, job))
        return outcomes

    def _retire(self, worker: Worker) -> None:
        worker.child.close()
        del self._workers[worker.child.number]
        self._free.append(worker.device)
