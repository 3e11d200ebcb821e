"""Memory that a command takes, its child processes included; on Linux."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

EVERY = 0.05  # seconds between looks


def peak_memory(*command: str) -> float:
    """MB that a command and its processes take at most, shared pages divided among them. Raises CalledProcessError."""
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    peak = peak_until(run.pid, lambda: run.poll() is not None)
    if run.returncode:
        raise subprocess.CalledProcessError(run.returncode, command)
    return peak


def peak_until(root: int, is_over: Callable[[], bool]) -> float:
    """MB that a process and all below it take at most until then."""
    peak = 0
    while not is_over():
        peak = max(peak, sum(proportional_size(process) for process in tree(root)))
        time.sleep(EVERY)
    return peak / 1024


def tree(root: int) -> list[int]:
    """A process and all below it."""
    found = [root]
    with suppress(OSError):  # it may end at any moment
        for task in Path(f"/proc/{root}/task").glob("*/children"):
            for child in task.read_text().split():
                found += tree(int(child))
    return found


def proportional_size(process: int) -> int:
    """KB; 0 for a process that is gone."""
    try:
        lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
