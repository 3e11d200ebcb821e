"""Processor time of `tal eval` and `tal diagnose`, whole commands, beside what published evaluators were measured at.

usage: evaluation_rate.py SHARED [--rounds N]

SHARED holds `evaluation/` (predictions) and `data/` (annotations). The evaluators' times are processor seconds on two
cores of an AMD EPYC, loading of files partly included; ours include starting Python, loading, and for `diagnose`
drawing all figures. The best round counts.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

TAL = Path(sys.executable).with_name("tal")


@dataclass(frozen=True)
class Case:
    """One command, and the evaluator that does the same."""

    name: str
    arguments: tuple[str, ...]
    evaluator: str
    seconds: float
    goal: int


def cases(shared: Path, out: Path) -> list[Case]:
    found, ground_truth = shared / "evaluation", shared / "data"
    thumos = ("--annotations", f"{ground_truth}/thumos14.json.gz", "--subset", "test")
    activitynet = ("--annotations", f"{ground_truth}/activitynet13_val.json.gz", "--tiou", "0.5:0.05:0.95")
    epic = ("--annotations", f"{ground_truth}/epic100_val.json.gz", "--protocol", "epic")
    return [
        Case(
            "ActivityNet validation, 39,960 predictions, 10 thresholds",
            ("eval", f"{found}/predictions_anet_val.json.gz", *activitynet, "-q"),
            "ActivityNet's",
            53.4,
            50,
        ),
        Case(
            "EPIC validation, 17,003 predictions, verb + noun + action",
            ("eval", f"{found}/predictions_epic_val.json.gz", *epic, "-q"),
            "EPIC-KITCHENS'",
            121.1,
            50,
        ),
        Case(
            "THUMOS14 test, 17,533 predictions, mAP and recall",
            ("eval", f"{found}/predictions_thumos_test.json.gz", *thumos, "-q"),
            "ActionFormer's",
            19.9,
            0,
        ),
        Case(
            "THUMOS14 test, diagnosis with figures",
            ("diagnose", f"{found}/predictions_thumos_test.json.gz", *thumos, "--output", str(out), "-q"),
            "DETAD",
            75.1,
            20,
        ),
    ]


def processor_seconds(arguments: tuple[str, ...]) -> float:
    """User and system time of one command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([str(TAL), *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shared", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    print("| case | tal, s | peer | peer, s | faster | goal |\n| --- | --- | --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as folder:
        for case in cases(options.shared, Path(folder)):
            best = min(processor_seconds(case.arguments) for _ in range(options.rounds))
            goal = f"{case.goal} x" if case.goal else ""
            ratio = f"**{case.seconds / best:.0f} x**"
            print(
                f"| {case.name} | {best:.2f} | {case.evaluator} | {case.seconds:.0f} | {ratio} | {goal} |", flush=True
            )


if __name__ == "__main__":
    main()
