"""Everything a person reads while tal works: progress, notes, warnings, errors. All of it goes to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tal_cli.safe_text import one_line

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID


LONGEST_NAME = 36


@dataclass
class _State:
    quiet: bool = False
    progress: Progress | None = None


_state = _State()


def set_quiet(quiet: bool) -> None:
    """With `quiet`, progress and notes are not shown; warnings and errors always are."""
    _state.quiet = quiet


def is_quiet() -> bool:
    """Whether progress and notes are kept back."""
    return _state.quiet


def is_lively() -> bool:
    """Whether standard error is a terminal on which a bar may move."""
    dumb = os.environ.get("TERM") == "dumb" or bool(os.environ.get("NO_COLOR"))
    return not _state.quiet and not dumb and sys.stderr.isatty()


def note(text: str) -> None:
    """Something good to know; silenced by --quiet."""
    if not _state.quiet:
        _write(f"note: {text}")


def warn(text: str) -> None:
    """Something that may make the result less than what was asked for."""
    _write(f"warning: {text}")


def error(text: str) -> None:
    """Something that failed, in one line."""
    _write(f"error: {text}")


def hint(text: str) -> None:
    """What would have been right, under an error."""
    _write(f"hint: {text}")


def _write(text: str) -> None:
    """One line, whatever a file's name or a label in it holds: nothing moves a cursor or is taken for markup."""
    line = one_line(text)
    with suppress(OSError):  # nobody is left to be told
        if _state.progress is not None:
            # Above the bar instead of through it.
            _state.progress.console.print(line, markup=False, emoji=False, highlight=False, soft_wrap=True)
        else:
            print(line, file=sys.stderr, flush=True)


def _short(text: str) -> str:
    """What a bar is called; a longer name would push its numbers off a screen of 80 columns."""
    line = one_line(text)
    return line if len(line) <= LONGEST_NAME else f"{line[: LONGEST_NAME - 1]}…"


class ProgressBar:
    """One line of progress; does nothing where a bar would not be shown.

    Calling it with `(done, total)` sets it, which is the form the ground floors report progress in.
    """

    def __init__(self, progress: Progress | None, task: TaskID | None) -> None:
        self._progress = progress
        self._task = task

    def __call__(self, done: float, total: float | None = None) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)

    def advance(self, steps: float = 1) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.advance(self._task, steps)

    def describe(self, text: str) -> None:
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, description=_short(text))


@contextmanager
def progress(description: str, total: float | None = None, unit: str = "it") -> Iterator[ProgressBar]:
    """A progress bar with rate and time left, for as long as the context lasts.

    Bars may be nested: the inner ones appear under the outer one and vanish when they end.
    """
    if not is_lively():
        yield ProgressBar(None, None)
        return
    outer = _state.progress
    if outer is not None:
        task = outer.add_task(_short(description), total=total, unit=unit)
        try:
            yield ProgressBar(outer, task)
        finally:
            outer.remove_task(task)
        return
    with _new_progress() as bars:
        _state.progress = bars
        try:
            yield ProgressBar(bars, bars.add_task(_short(description), total=total, unit=unit))
        finally:
            _state.progress = None


@contextmanager
def paused() -> Iterator[None]:
    """The bar out of the way, for results that go to the same terminal."""
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
    """Give the terminal back as it was, from wherever the end comes."""
    if _state.progress is not None:
        _state.progress.stop()


def _new_progress() -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Task as RichTask
    from rich.text import Text

    class RateColumn(ProgressColumn):
        def render(self, task: RichTask) -> Text:
            rate = task.finished_speed or task.speed
            return Text(f"{rate:.1f} {task.fields['unit']}/s" if rate else "", style="progress.data.speed")

    console: Console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        RateColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, transient=True, expand=True)
