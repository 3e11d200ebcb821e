"""A worker process: one backbone on one device, several videos at a time. Started by `local`, never imported by it.

One JSON object per line. parent -> worker: first the configuration, then jobs. worker -> parent: `ready` with its
contract, or `failed`; then for each job `progress` at intervals, and `outcome`. The end of standard input ends the
worker.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tal_cli.extractors.corpus.run import Job, run_job
from tal_cli.extractors.corpus.worker_config import Setup, pack
from tal_cli.extractors.cpu import collect_garbage_rarely
from tal_cli.extractors.files.child_side import send_json, take_output

if TYPE_CHECKING:
    from tal_cli.extractors.extraction.extractor import Extractor

Say = Callable[..., None]
# Seconds between progress messages of one job.
PROGRESS_EVERY = 0.25


def speaker(output: int) -> Say:
    """A function that sends one message; threads take turns."""
    turn = threading.Lock()

    def say(**message: Any) -> None:
        with turn:
            send_json(output, message)

    return say


def work(number: int, job: Job, extractor: Extractor, setup: Setup, say: Say) -> None:
    """Does one job and reports its outcome."""
    said = 0.0

    def progress(done: int, expected: int | None) -> None:
        nonlocal said
        if time.monotonic() - said > PROGRESS_EVERY:
            said = time.monotonic()
            say(progress=number, done=done, expected=expected)

    progress(0, None)
    try:
        outcome = run_job(
            job,
            extractor,
            decoder=setup.decoder,
            timeout=setup.timeout,
            time_limit=setup.time_limit,
            progress=progress,
        )
    except Exception as error:
        say(outcome=number, error=pack(error))
        return
    facts = {"frames": outcome.frames, "duration": outcome.duration, "warnings": outcome.warnings}
    say(outcome=number, error=None if outcome.error is None else pack(outcome.error), **facts)


def prepared(first: dict[str, Any]) -> tuple[Setup, Extractor]:
    """The extractor configured by the parent's first line."""
    import torch

    if first["threads"] is not None:
        torch.set_num_threads(first["threads"])
    values = first["setup"]
    pairs = tuple((key, value) for key, value in values.pop("settings"))
    setup = Setup(**{**values, "settings": pairs, "weights": tuple(values["weights"])})
    return setup, setup.extractor_on(first["device"])


def main() -> None:
    """Runs the worker."""
    collect_garbage_rarely()
    say = speaker(take_output())
    first = json.loads(sys.stdin.buffer.readline())
    try:
        setup, extractor = prepared(first)
    except Exception as error:
        say(failed=pack(error))
        os._exit(0)
    say(ready=asdict(extractor.backbone.contract))
    pool = ThreadPoolExecutor(first["videos_each"], thread_name_prefix="video")
    for line in sys.stdin.buffer:
        message = json.loads(line)
        pool.submit(work, message["number"], Job(message["video"], message["target"]), extractor, setup, say)
    os._exit(0)
