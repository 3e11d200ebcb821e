"""Training runs to compare, one folder each: finished ones are skipped, unfinished ones start from scratch.

What `compare_published.py` and `compare_family.py` share.
"""

from __future__ import annotations

import argparse
import json
import shutil
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from tal_cli import console
from tal_cli.datasets.annotations import save_annotations
from tal_cli.datasets.formats import load_annotations
from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.models.store.checkpoint import load_model
from tal_cli.training.options import TrainingOptions
from tal_cli.training.prepare import prepare
from tal_cli.training.trainer import train
from tal_cli.training.validation.videos import validate

RESULT = "result.json"


@dataclass(frozen=True)
class Setting:
    """What is trained: a recipe, or None for the one that is derived from the data, and what differs from it."""

    name: str
    recipe: str | None
    overrides: Mapping[str, object]


@dataclass(frozen=True)
class Data:
    """What everything is trained and evaluated on; without `features` they lie beside the annotations.

    parts: above 1, seed s holds out part s (modulo `parts`) of the videos, whatever the subsets of the annotations.
    Video v, in order of names, is in part v modulo `parts`; one that alone has a label is never held out.
    """

    annotations: Path
    features: Path | None = None
    parts: int = 1

    def for_seed(self, seed: int, folder: Path) -> Path:
        """The annotations that a seed is trained and evaluated on; written to `folder` if videos are in parts."""
        if self.parts == 1:
            return self.annotations
        known = load_annotations(self.annotations)
        labels = {name: {item.label for item in video.segments} for name, video in known.videos.items()}
        count = Counter(label for each in labels.values() for label in each)
        shared = sorted(name for name, each in labels.items() if all(count[label] > 1 for label in each))
        held = shared[seed % self.parts :: self.parts]
        videos = {
            name: replace(video, subset="validation" if name in held else "training")
            for name, video in known.videos.items()
        }
        save_annotations(replace(known, videos=videos), folder / "annotations.json")
        return folder / "annotations.json"


@dataclass(frozen=True)
class Outcome:
    """One finished run: figures in [0, 1], times of training and of detecting in all test videos in seconds."""

    setting: str
    seed: int
    overrides: Mapping[str, object]
    average: float
    by_tiou: dict[str, float]
    parameters: int
    steps: int
    training_seconds: float
    inference_seconds: float


def outcomes(settings: Sequence[Setting], seeds: Sequence[int], data: Data, out: Path) -> Iterator[Outcome]:
    """All runs, seed by seed, so that stopping early leaves complete tables; finished ones are read."""
    for number, seed in enumerate(seeds):
        for place, setting in enumerate(settings):
            folder = out / setting.name / f"seed-{seed}"
            found = _finished(folder, setting)
            if found is None:
                done = number * len(settings) + place + 1
                console.note(f"run {done} of {len(seeds) * len(settings)}: {setting.name}, seed {seed}")
                found = _run(setting, seed, data, folder)
            yield found


def run_all(
    settings: Sequence[Setting],
    seeds: Sequence[int],
    data: Data,
    out: Path,
    report: Callable[[Sequence[Outcome]], str],
) -> str:
    """Do all runs that are missing; after each, table.md has what `report` says of those done and table.json the runs.
    Gives the last report."""
    found: list[Outcome] = []
    text = ""
    for outcome in outcomes(settings, seeds, data, out):
        found.append(outcome)
        text = report(found)
        write_atomically(out / "table.md", (text + "\n").encode())
        write_atomically(out / "table.json", (json.dumps([asdict(run) for run in found], indent=1) + "\n").encode())
    return text


def _finished(folder: Path, setting: Setting) -> Outcome | None:
    path = folder / RESULT
    if not path.is_file():
        return None
    content = json.loads(path.read_text(encoding="utf-8"))
    outcome = Outcome(**content)
    return outcome if outcome.overrides == setting.overrides else None


def _run(setting: Setting, seed: int, data: Data, folder: Path) -> Outcome:
    """Train and evaluate the last epoch's averaged weights; times are of an unbroken run."""
    shutil.rmtree(folder, ignore_errors=True)
    run = prepare(
        TrainingOptions(
            dataset=str(data.for_seed(seed, folder)),
            features=data.features,
            output=folder,
            recipe=setting.recipe,
            overrides={**setting.overrides, "training.seed": seed},
            device="cpu",
            threads=torch.get_num_threads(),
        )
    )
    start = time.perf_counter()
    train(replace(run, validation=[]))
    trained = time.perf_counter()
    detector = load_model(folder).detector
    evaluation = validate(detector, run.recipe, run.labels, run.validation, run.tiou).evaluation
    lines = (folder / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    outcome = Outcome(
        setting=setting.name,
        seed=seed,
        overrides=setting.overrides,
        average=evaluation.average,
        by_tiou={f"{tiou:g}": float(value) for tiou, value in zip(evaluation.tiou, evaluation.mean, strict=True)},
        parameters=sum(parameter.numel() for parameter in detector.parameters()),
        steps=sum('"total"' in line for line in lines),
        training_seconds=trained - start,
        inference_seconds=time.perf_counter() - trained,
    )
    write_atomically(folder / RESULT, (json.dumps(asdict(outcome), indent=1) + "\n").encode())
    console.note(f"{setting.name}, seed {seed}: average mAP {outcome.average:.4f}, {outcome.training_seconds:.0f} s")
    return outcome


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation of figures in [0, 1], in percent; one value alone has no deviation."""
    percent = [100 * value for value in values]
    deviation = f" ± {statistics.stdev(percent):.1f}" if len(percent) > 1 else ""
    return f"{statistics.mean(percent):.1f}{deviation}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def common_options(parser: argparse.ArgumentParser, seeds: int) -> None:
    """The options that both comparisons have."""
    parser.add_argument("--out", type=Path, required=True, help="where runs, tables and data go")
    parser.add_argument("--seeds", type=int, default=seeds, metavar="N", help="runs of each; seeds 0 to N - 1")
    parser.add_argument("--threads", type=int, default=2, metavar="N", help="of the processor")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="override of every recipe")


def use_threads(count: int) -> None:
    """How many threads torch computes with."""
    torch.set_num_threads(count)
