"""Training on a busy machine: seconds and processor seconds of a small training, alone and beside
loops that keep every core busy, by number of threads. Run it when nothing else runs.

    python benchmarks/busy_machine.py
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TAL = [sys.executable, "-m", "tal_cli"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder)
        make = ["datasets", "make", "camera", "-o", str(data), "--videos", "5", "--seed", "1", "-q"]
        subprocess.run([*TAL, *make], check=True, stdout=subprocess.DEVNULL)
        subprocess.run([*TAL, "extract-features", str(data / "videos"), "-o", str(data / "features"), "-q"], check=True)
        print("| threads | machine | seconds | processor seconds |\n| --- | --- | --- | --- |")
        for busy in (0, cores):
            for threads in ("auto", "1", str(cores)):
                seconds, used = measure(data, threads, options.epochs, busy)
                print(f"| {threads} | {'busy' if busy else 'idle'} | {seconds:.1f} | {used:.1f} |", flush=True)


def measure(data: Path, threads: str, epochs: int, busy: int) -> tuple[float, float]:
    """Seconds, and processor seconds of its own, that a training takes beside that many busy loops."""
    loops = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(busy)]
    command = [*TAL, "train", "--dataset", str(data / "annotations.json"), "--features", str(data / "features"), "-q"]
    command += ["-o", str(data / f"run-{threads}-{busy}"), "--epochs", str(epochs), "--set", "training.warmup_epochs=2"]
    command += [] if threads == "auto" else ["--threads", threads]
    try:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        since = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - since
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    finally:
        for loop in loops:
            loop.kill()
    for loop in loops:
        loop.wait()
    return seconds, (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


if __name__ == "__main__":
    main()
