"""`tal train`: from annotations and features to a model."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from tal_cli import console
from tal_cli.commands.options import Device, FeaturesPath, Overrides, Precision, PrecisionChoice, Quiet
from tal_cli.commands.printing import print_path
from tal_cli.extractors.errors import UsageError

EXAMPLE = "Example: tal train --dataset mine/annotations.json --features mine/features -o runs/mine"


class LogChoice(str, Enum):
    none = "none"
    tensorboard = "tensorboard"
    wandb = "wandb"


def train(
    dataset: Annotated[
        str,
        typer.Option(
            metavar="NAME|ANNOTATIONS.json", help="A name of `tal datasets list`, or an ActivityNet-style JSON."
        ),
    ],
    features: FeaturesPath = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="RUN", help="Run folder. Default: runs/NAME-DATE.")
    ] = None,
    recipe: Annotated[
        str | None,
        typer.Option(metavar="NAME|FILE.yaml", help="Default: the data set's; own data: derived from the durations."),
    ] = None,
    override: Overrides = None,
    epochs: Annotated[int | None, typer.Option(min=0, metavar="N", help="Epochs after the warm-up.")] = None,
    batch_size: Annotated[int | None, typer.Option(min=1, metavar="N", help="Videos per step.")] = None,
    train_subset: Annotated[str | None, typer.Option(metavar="NAME", help="Subset to train on.")] = None,
    test_subset: Annotated[str | None, typer.Option(metavar="NAME", help="Subset to evaluate on.")] = None,
    evaluate_every: Annotated[int, typer.Option(min=1, metavar="N", help="Epochs between evaluations.")] = 5,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a killed run, to the same result.")] = False,
    init: Annotated[str | None, typer.Option(metavar="WEIGHTS", help="Model or run folder to begin with.")] = None,
    log: Annotated[
        LogChoice, typer.Option(metavar="none|tensorboard|wandb", help="Where figures go beside metrics.jsonl.")
    ] = LogChoice.none,
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="CPU threads of PyTorch. Default: as many as pay off for this recipe."),
    ] = None,
    device: Device = "auto",
    precision: Precision = PrecisionChoice.auto,
    seed: Annotated[int | None, typer.Option(min=0, metavar="N", help="Default: the recipe's.")] = None,
    quiet: Quiet = False,
) -> None:
    """Train a detector on annotated videos' features; the run folder works as a model.

    The last epoch's averaged weights are the result, unless the recipe says `training.select: best-test`.
    """
    if precision is PrecisionChoice.fp16:
        raise UsageError("--precision fp16: training would lose small gradients", "use fp32 or bf16")

    from tal_cli.models.recipe.loading import parse_overrides
    from tal_cli.training.prepare import TrainingRequest, prepare
    from tal_cli.training.trainer import train as run_training

    values = {"training.epochs": epochs, "training.batch_size": batch_size, "training.seed": seed}
    request = TrainingRequest(
        dataset=dataset,
        features=features,
        out=output,
        recipe=recipe,
        overrides=parse_overrides(override or ()) | {key: value for key, value in values.items() if value is not None},
        train_subset=train_subset,
        test_subset=test_subset,
        evaluate_every=evaluate_every,
        resume=resume,
        init=init,
        log=log.value,
        device=device,
        precision=precision.value,
        threads=threads,
    )
    run = prepare(request)
    result = run_training(run)
    console.note(f"{run.out} holds {result.description(run)}")
    if run.processes.leads:
        print_path(run.out)
