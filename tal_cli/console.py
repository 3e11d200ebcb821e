"""Progress, notes, warnings and errors on standard error."""

from __future__ import annotations

import math
import os
import shlex
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from tal_cli.safe_text import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


LONGEST_NAME = 36
RATE_SECONDS = 1.0
EACH = 0.5  # seconds between lines of progress
LINES = "TAL_PROGRESS_LINES"  # environment variable that asks for them


@dataclass
class _State:
    quiet: bool = False
    progress: Progress | None = None
    lines: bool = False  # progress is told in lines; inner bars stay silent


_state = _State()


def set_quiet(quiet: bool) -> None:
    """With `quiet`, hide progress and notes; warnings and errors are always shown."""
    _state.quiet = quiet


def is_quiet() -> bool:
    """Whether progress and notes are hidden."""
    return _state.quiet


def is_lively() -> bool:
    """Whether standard error is a terminal that can show a progress bar."""
    dumb = os.environ.get("TERM") == "dumb" or bool(os.environ.get("NO_COLOR"))
    return not _state.quiet and not dumb and sys.stderr.isatty()


def note(text: str) -> None:
    """Print a note; hidden by --quiet."""
    if not _state.quiet:
        _write(f"note: {text}")


def warn(text: str) -> None:
    """Print a warning: the result may not be what the user expects."""
    _write(f"warning: {text}")


def error(text: str) -> None:
    """Print an error as one line."""
    _write(f"error: {text}")


def hint(text: str) -> None:
    """Print a remedy, under an error."""
    _write(f"hint: {text}")


def table(lines: Iterable[str]) -> None:
    """Print the lines of a table; hidden by --quiet."""
    for line in () if _state.quiet else lines:
        _write(line)


def next_step(*command: object) -> None:
    """Print the command that a person would run next; hidden by --quiet."""
    if not _state.quiet:
        _write(f"next: {shlex.join(map(str, command))}")


def _write(text: str) -> None:
    """Print one line, with control characters and markup in file names and labels escaped."""
    line = one_line(text)
    with suppress(OSError):  # standard error is closed
        if _state.progress is not None:
            # Above the bar instead of through it.
            _state.progress.console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)


def _short(text: str) -> str:
    """The name of a bar, shortened to leave room for its numbers in 80 columns."""
    line = one_line(text)
    return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 1]}…"


class ProgressBar:
    """A progress bar; does nothing if bars are not shown.

    Can be called with `(done, total)`, as extractors and models report progress. The rate is that since the first
    report: what comes before is preparation, or was done by an earlier run. It is shown after RATE_SECONDS, since the
    parts of parallel work finish in bursts.
    """

    def __init__(self, progress: Progress | None, task: TaskID | None, description: str = "") -> None:
        self._progress = progress
        self._task = task
        self._description = description  # from the first report on
        self._done = 0.0
        self._first: tuple[float, float] | None = None  # time and amount of the first report

    def __call__(self, done: float, total: float | None = None) -> None:
        if self._progress is not None and self._task is not None:
            if done and self._description:
                self.describe(self._description)
                self._description = ""
            self._done = done
            self._progress.update(self._task, completed=done, total=total, rate=self._rate(time.monotonic()))

    def _rate(self, now: float) -> float | None:
        since, before = self._first = self._first or (now, self._done)
        return (self._done - before) / (now - since) if now - since >= RATE_SECONDS else None

    def advance(self, steps: float = 1) -> None:
        """Add to what is done; the total stays."""
        if self._progress is not None and self._task is not None:
            self(self._done + steps)

    def describe(self, text: str) -> None:
        """Change the description."""
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=_short(text))


class ProgressLines(ProgressBar):
    """Progress as lines `progress: SHARE DESCRIPTION` on standard error, for a program that runs `tal`."""

    def __init__(self, description: str, total: float | None) -> None:
        super().__init__(None, None)
        self._text, self._total, self._told = description, total, -EACH

    def __call__(self, done: float, total: float | None = None) -> None:
        self._done, self._total = done, total or self._total
        now = time.monotonic()
        if self._total and now - self._told >= EACH:
            self._told = now
            _write(f"progress: {min(1.0, done / self._total):.4f} {one_line(self._text)}")

    def advance(self, steps: float = 1) -> None:
        """Add to what is done; the total stays."""
        self(self._done + steps)

    def describe(self, text: str) -> None:
        """Change the description."""
        self._text = text


@contextmanager
def progress(
    description: str, total: float | None = None, unit: str = "it", waiting: str = ""
) -> Iterator[ProgressBar]:
    """Context manager that shows a progress bar with rate and time left.

    waiting: what it waits for, shown in place of the description until there is progress.
    Bars may be nested: inner bars appear under the outer one and are removed when they end.
    """
    if not is_lively():
        asked = os.environ.get(LINES) and not _state.lines
        _state.lines = bool(asked) or _state.lines
        try:
            yield ProgressLines(description, total) if asked else ProgressBar(None, None)
        finally:
            _state.lines = _state.lines and not asked
        return
    outer = _state.progress
    if outer is not None:
        task = outer.add_task(_short(waiting or description), total=total, unit=unit, rate=None)
        try:
            yield ProgressBar(outer, task, description if waiting else "")
        finally:
            outer.remove_task(task)
        return
    with _new_progress() as bars:
        _state.progress = bars
        try:
            task = bars.add_task(_short(waiting or description), total=total, unit=unit, rate=None)
            yield ProgressBar(bars, task, description if waiting else "")
        finally:
            _state.progress = None


@contextmanager
def paused() -> Iterator[None]:
    """Context manager that hides the bar while results are printed to the same terminal."""
    bars = _state.progress
    if bars is None or not sys.stdout.isatty():
        yield
        return
    bars.stop()
    try:
        yield
    finally:
        bars.start()


def end_progress() -> None:
    """Remove the bar and restore the terminal; for exits outside of `progress`."""
    if _state.progress is not None:
        _state.progress.stop()


def _new_progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn
    from rich.progress import Task as RichTask
    from rich.text import Text

    class DoneColumn(MofNCompleteColumn):
        def render(self, task: RichTask) -> Text:
            return Text() if task.total is None and not task.completed else super().render(task)

    class RateColumn(ProgressColumn):
        def render(self, task: RichTask) -> Text:
            rate = task.fields["rate"]
            return Text(f"{rate:,.1f} {task.fields['unit']}/s" if rate else "", style="progress.data.speed")

    class RemainingColumn(ProgressColumn):
        def render(self, task: RichTask) -> Text:
            rate = task.fields["rate"]
            left = timedelta(seconds=math.ceil((task.remaining or 0) / rate)) if rate and task.total else ""
            return Text(str(left), style="progress.remaining")

    console: Console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        DoneColumn(),
        RateColumn(),
        RemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, expand=True)
