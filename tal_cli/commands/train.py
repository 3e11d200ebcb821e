"""`tal train`: trains a detector on annotations and features."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tal_cli import console
from tal_cli.commands.dataclass_options import OptionsFile, takes
from tal_cli.commands.options import Quiet
from tal_cli.commands.printing import aligned, print_path
from tal_cli.training.options import TrainingOptions

if TYPE_CHECKING:
    from tal_cli.training.run import TrainingRun

EXAMPLE = "Example: tal train --dataset mine/annotations.json --features mine/features -o runs/mine"


@takes(TrainingOptions)
def train(options: TrainingOptions, file: OptionsFile = None, quiet: Quiet = False) -> None:
    """Train a detector on features of annotated videos. The run folder can be used as a model.

    The result is the averaged weights of the last epoch, or with `training.select: best-test` those of the epoch with
    the highest average mAP on the evaluated videos, as in recipes derived from annotations.
    """
    from tal_cli.training.prepare import prepare
    from tal_cli.training.trainer import train as run_training
    from tal_cli.training.validation.labels import label_figures, table

    run = prepare(options)
    result = run_training(run)
    if not run.processes.leads:
        return
    console.table(aligned(table(label_figures(run, result))))
    console.note(f"{run.out} contains {result.description(run)}")
    if result.hint():
        console.note(result.hint())
    _say_next(run)
    print_path(run.out)


def _say_next(run: TrainingRun) -> None:
    """Commands that evaluate what was held out, and that use the model."""
    from tal_cli.datasets.catalog import BENCHMARKS
    from tal_cli.datasets.splits import HELD_OUT
    from tal_cli.training.validation.folds import FOUND

    dataset = run.options.dataset
    truth = ("--dataset" if dataset in BENCHMARKS else "--annotations", dataset, "--subset", HELD_OUT)
    if run.folds is not None:
        console.next_step("tal", "eval", run.out / FOUND, *truth)
    elif run.validation:
        read = run.frames  # features of a backbone that was trained come from videos alone
        features = dict.fromkeys(
            video.file.path if read is None else read.paths[video.annotation.name] for video in run.validation
        )
        found = run.out / FOUND
        console.next_step("tal", "detect", *features, "--model", run.out, "--min-score", 0, "--output", found)
        console.next_step("tal", "eval", found, *truth)
    console.next_step("tal", "detect", "VIDEOS", "--model", run.out)
