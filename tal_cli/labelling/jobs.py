"""Long work asked for on the page, one job at a time; training and detection are `tal` commands of their own."""

from __future__ import annotations

import os
import queue
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tal_cli.console import LINES
from tal_cli.error_report import message_of
from tal_cli.labelling.project.document import Json
from tal_cli.results.run_videos import is_finished

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
LOG = 200  # lines
KEPT = 50  # jobs
PROGRESS = re.compile(r"progress: ([\d.]+) (.*)")

Report = Callable[[float, float | None], None]


class Cancelled(Exception):
    """The job was cancelled."""


@dataclass
class Job:
    """One job. commands: what a person would type; progress: in [0, 1], None while it is not known."""

    id: str
    kind: str
    about: str
    commands: list[str]
    work: Callable[[Job], None]
    state: str = WAITING
    progress: float | None = None
    problem: str = ""
    part: tuple[int, int] = (0, 1)  # which command it is at, of how many
    doing: str = ""
    log: deque[str] = field(default_factory=lambda: deque(maxlen=LOG))
    process: subprocess.Popen[str] | None = None

    def to_json(self) -> Json:
        """The job as the page sees it."""
        told = {"id": self.id, "kind": self.kind, "about": self.about, "commands": self.commands, "state": self.state}
        return told | {"progress": self.progress, "problem": self.problem, "doing": self.doing, "log": list(self.log)}

    def check(self) -> None:
        """Raise Cancelled if somebody has cancelled it."""
        if self.state == CANCELLED:
            raise Cancelled


class Jobs:
    """A queue of jobs and the thread that does them."""

    def __init__(self, folder: Path, tell: Callable[[Json], None]) -> None:
        self._folder = folder
        self._tell = tell
        self._jobs: dict[str, Job] = {}
        self._queue: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._count = 0
        threading.Thread(target=self._work, daemon=True).start()

    def add(self, kind: str, about: str, commands: Sequence[Sequence[str]], work: Callable[[Job], None]) -> Job:
        """Put a job at the end of the queue."""
        self._count += 1
        lines = [shlex.join(("tal", *command)) for command in commands]
        job = Job(f"j{self._count}", kind, about, lines, work)
        self._jobs[job.id] = job
        for old in list(self._jobs)[:-KEPT]:
            if self._jobs[old].state not in (WAITING, RUNNING):
                del self._jobs[old]
        self._queue.put(job)
        self.tell(job)
        return job

    def list(self) -> list[Json]:
        """All jobs, oldest first."""
        return [job.to_json() for job in list(self._jobs.values())]

    def get(self, identity: str) -> Job | None:
        """A job by its id."""
        return self._jobs.get(identity)

    def cancel(self, job: Job) -> None:
        """End a job, or do not begin it."""
        if job.state in (WAITING, RUNNING):
            job.state = CANCELLED
            _end(job)
            self.tell(job)

    def close(self) -> None:
        """End what is running."""
        for job in list(self._jobs.values()):
            self.cancel(job)

    def tell(self, job: Job) -> None:
        """Tell the page of a job's state."""
        self._tell({"event": "job", "job": job.to_json()})

    def report(self, job: Job, done: float, total: float | None) -> None:
        """Tell the page how far a job is. Raises Cancelled."""
        job.check()
        job.progress = done / total if total else None
        self.tell(job)

    def run_command(self, job: Job, command: Sequence[str]) -> None:
        """Run a `tal` command as a child process; its lines go to the job's log.

        Raises:
            RuntimeError: it failed; the text is its last error.
            Cancelled: the job was cancelled.
        """
        job.check()
        job.doing = command[0]
        job.log.append("$ " + shlex.join(("tal", *command)))
        self.tell(job)
        job.process = subprocess.Popen(
            [sys.executable, "-m", "tal_cli", *command],
            cwd=self._folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=os.environ | {"NO_COLOR": "1", LINES: "1"},
            start_new_session=True,
        )
        if job.state == CANCELLED:
            _end(job)
        assert job.process.stdout is not None
        for line in job.process.stdout:
            if told := PROGRESS.match(line):
                place, count = job.part
                job.doing, job.progress = f"{command[0]}: {told[2]}", (place + float(told[1])) / count
            else:
                job.log.append(line.rstrip("\n")[:500])
            self.tell(job)
        code = job.process.wait()
        job.process = None
        job.check()
        if code:
            errors = [line for line in job.log if line.startswith("error:")]
            raise RuntimeError(errors[-1].removeprefix("error: ") if errors else f"tal {command[0]} ended with {code}")

    def _work(self) -> None:
        while True:
            job = self._queue.get()
            if job.state == CANCELLED:
                continue
            job.state = RUNNING
            self.tell(job)
            try:
                job.work(job)
                job.check()
                job.state, job.progress, job.doing = DONE, 1.0, ""
            except Cancelled:
                pass
            except Exception as error:
                job.state = FAILED
                job.problem = str(error) if isinstance(error, RuntimeError) else message_of(error)
            self.tell(job)


def _end(job: Job) -> None:
    process = job.process
    if process is not None and process.poll() is None:
        with suppress(OSError):
            if hasattr(os, "killpg"):
                os.killpg(process.pid, signal.SIGTERM)  # its own group: `start_new_session`
            else:
                process.terminate()


def newest_run(folder: Path) -> Path | None:
    """The newest run folder of `tal train` in `runs` whose training has ended, relative to `folder`; None if
    there is none."""
    found = [path.parent for path in (folder / "runs").glob("*/model.safetensors")]
    found = [run for run in found if is_finished(run)]
    newest = max(found, key=lambda path: (path / "model.safetensors").stat().st_mtime, default=None)
    return None if newest is None else newest.relative_to(folder)


def result_file() -> Path:
    """A file for results that are read once."""
    number, name = tempfile.mkstemp(prefix="tal-", suffix=".json")
    os.close(number)
    return Path(name)
