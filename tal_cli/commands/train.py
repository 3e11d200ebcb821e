"""`tal train`: from annotations and features to a model."""

from __future__ import annotations

from tal_cli import console
from tal_cli.commands.dataclass_options import OptionsFile, takes
from tal_cli.commands.options import Quiet
from tal_cli.commands.printing import print_path
from tal_cli.training.options import TrainingOptions

EXAMPLE = "Example: tal train --dataset mine/annotations.json --features mine/features -o runs/mine"


@takes(TrainingOptions)
def train(options: TrainingOptions, file: OptionsFile = None, quiet: Quiet = False) -> None:
    """Train a detector on annotated videos' features; the run folder works as a model.

    The last epoch's averaged weights are the result, unless the recipe says `training.select: best-test`.
    """
    from tal_cli.training.prepare import prepare
    from tal_cli.training.trainer import train as run_training

    run = prepare(options)
    result = run_training(run)
    console.note(f"{run.out} holds {result.description(run)}")
    if run.processes.leads:
        print_path(run.out)
