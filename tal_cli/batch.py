"""Runs over many inputs, sequentially or in parallel; a failed input does not stop the others."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TypeVar

from tal_cli import console
from tal_cli.error_report import exit_code_of, message_of, remedy_of, write_log
from tal_cli.extractors.cpu import usable_cores
from tal_cli.extractors.errors import EXIT_INPUT, EXIT_INTERNAL, EXIT_MISSING, EXIT_USAGE
from tal_cli.inputs import Inputs, Source
from tal_cli.safe_text import printable

Result = TypeVar("Result")

# The most severe failure decides the exit code: internal error, something missing, wrong usage, unreadable input.
RANKS = (EXIT_INTERNAL, EXIT_MISSING, EXIT_USAGE, EXIT_INPUT)


class Run:
    """One run over all inputs; reports each failure as one line `error: PATH: reason` and determines the exit code."""

    def __init__(self, inputs: Inputs, workers: int | None = None) -> None:
        self.exit_code = 0
        self._hints: set[str] = set()
        self._sources = inputs.sources
        self._workers = workers or auto_workers(len(inputs.sources))
        for problem in inputs.problems:
            self.report(problem, problem.path)

    def each(self, work: Callable[[Source], Result]) -> Iterator[tuple[Source, Result]]:
        """Process every source and yield the results, in the order of completion.

        Raises errors about missing weights or packages, since they concern all sources.
        """
        with console.progress("videos", total=len(self._sources), unit="videos") as progress:
            for source, result in attempts(self._sources, work, self._workers):
                if not isinstance(result, Exception):
                    yield source, result
                elif exit_code_of(result) == EXIT_MISSING:
                    raise result
                else:
                    self.report(result, source.path)
                progress.advance()

    def report(self, error: Exception, path: str | os.PathLike[str]) -> None:
        """Report a failed input and count it."""
        code = exit_code_of(error)
        self.exit_code = min((code, self.exit_code or code), key=RANKS.index)
        name = printable(os.fspath(path))
        if code == EXIT_INTERNAL:
            log = write_log(error, sys.argv[1:])
            console.error(
                f"{name}: internal error (a bug in tal): {type(error).__name__}: {error} (traceback in {log})"
            )
            return
        message = message_of(error)  # may name another path: the input's contract, an output
        console.error(message if message.startswith(f"{name}: ") else f"{name}: {message}")
        remedy = remedy_of(error)
        if remedy and remedy not in self._hints:
            self._hints.add(remedy)
            console.hint(remedy)


def auto_workers(inputs: int) -> int:
    """Default number of inputs processed in parallel: decoding and computing keep about two cores busy per input."""
    return max(1, min(inputs, 8, usable_cores() // 2))


def attempts(
    sources: Sequence[Source], work: Callable[[Source], Result], workers: int
) -> Iterator[tuple[Source, Result | Exception]]:
    """Every source with its result or its error, in the order of completion."""
    if workers <= 1 or len(sources) <= 1:
        for source in sources:
            yield source, _attempt(work, source)
        return
    pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="tal")
    waiting = iter(sources)
    running = {pool.submit(_attempt, work, source): source for _, source in zip(range(workers), waiting, strict=False)}
    try:
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                yield running.pop(future), future.result()
                following = next(waiting, None)
                if following is not None:
                    running[pool.submit(_attempt, work, following)] = following
    finally:
        # Do not wait for running work: an interrupt must end the program at once.
        pool.shutdown(wait=False, cancel_futures=True)


def _attempt(work: Callable[[Source], Result], source: Source) -> Result | Exception:
    try:
        return work(source)
    except Exception as error:
        return error
