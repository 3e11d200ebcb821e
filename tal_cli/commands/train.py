"""`tal train`: trains a detector on annotations and features."""

from __future__ import annotations

from tal_cli import console
from tal_cli.commands.dataclass_options import OptionsFile, takes
from tal_cli.commands.options import Quiet
from tal_cli.commands.printing import print_path
from tal_cli.training.options import TrainingOptions

EXAMPLE = "Example: tal train --dataset mine/annotations.json --features mine/features -o runs/mine"


@takes(TrainingOptions)
def train(options: TrainingOptions, file: OptionsFile = None, quiet: Quiet = False) -> None:
    """Train a detector on features of annotated videos. The run folder can be used as a model.

    The result is the averaged weights of the last epoch, or with `training.select: best-test` those of the epoch with
    the highest average mAP on the evaluated videos, as in recipes derived from annotations.
    """
    from tal_cli.training.prepare import prepare
    from tal_cli.training.trainer import train as run_training

    run = prepare(options)
    result = run_training(run)
    console.note(f"{run.out} contains {result.description(run)}")
    if result.hint():
        console.note(result.hint())
    if run.processes.leads:
        print_path(run.out)
