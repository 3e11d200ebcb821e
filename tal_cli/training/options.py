"""Options of a training run, for the command line, YAML files and Python. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from typer import Option

from tal_cli.commands.completion import dataset_names, model_names, recipe_names
from tal_cli.commands.options import SET, Device, FeaturesPath, Precision


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """Options of `tal train`, documented by their help: data, recipe, run folder and training settings.

    >>> options = TrainingOptions(dataset="mine.json", overrides={"model.encoder": "sgp"})   # doctest: +SKIP
    >>> train(prepare(options))                                                              # doctest: +SKIP

    Everything else that defines the detector and its training is in the recipe; None keeps the recipe's value.
    """

    dataset: Annotated[
        str,
        Option(
            metavar="NAME|ANNOTATIONS.json",
            autocompletion=dataset_names,
            help="Data set from `tal datasets list`, or a file of annotations in any form that `tal` reads.",
        ),
    ]
    features: FeaturesPath = None
    end_to_end: Annotated[
        bool,
        Option(
            "--end-to-end",
            help="Train the backbone too, from frames: as the recipe's backbone.tuning says, else adapters.",
        ),
    ] = False
    videos: Annotated[
        Path | None,
        Option(metavar="DIR", help="Videos to train the backbone on. Default: those that the features are of."),
    ] = None
    output: Annotated[
        Path | None, Option("--output", "-o", metavar="RUN", help="Run folder. Default: runs/NAME-DATE.")
    ] = None
    recipe: Annotated[
        str | None,
        Option(
            metavar="NAME|FILE.yaml",
            autocompletion=recipe_names,
            help="Recipe. Default: the data set's, or one derived from the annotations.",
        ),
    ] = None
    overrides: Annotated[Mapping[str, object], SET] = field(default_factory=dict)
    epochs: Annotated[
        int | None, Option(min=0, metavar="N", help="Epochs after warm-up. Default: training.epochs of the recipe.")
    ] = None
    batch_size: Annotated[
        int | None, Option(min=1, metavar="N", help="Videos per step. Default: training.batch_size of the recipe.")
    ] = None
    train_subset: Annotated[str | None, Option(metavar="NAME", help="Subset to train on.")] = None
    test_subset: Annotated[str | None, Option(metavar="NAME", help="Subset to evaluate on.")] = None
    folds: Annotated[
        int | None,
        Option(
            min=2,
            metavar="K",
            help="Hold out each of K parts of the videos once, then train on all: for small sets.",
        ),
    ] = None
    evaluate_every: Annotated[int, Option(min=1, metavar="N", help="Number of epochs between evaluations.")] = 5
    resume: Annotated[bool, Option("--resume", help="Resume an interrupted run; the result is the same.")] = False
    init: Annotated[
        str | None,
        Option(metavar="WEIGHTS", autocompletion=model_names, help="Model or run folder with initial weights."),
    ] = None
    log: Annotated[
        Literal["none", "tensorboard", "wandb"],
        Option(metavar="none|tensorboard|wandb", help="Experiment tracker, besides metrics.jsonl."),
    ] = "none"
    threads: Annotated[
        int | None,
        Option(min=1, metavar="N", help="CPU threads of PyTorch. Default: chosen for the recipe."),
    ] = None
    device: Device = "auto"
    precision: Precision = "auto"
    seed: Annotated[
        int | None, Option(min=0, metavar="N", help="Random seed. Default: training.seed of the recipe.")
    ] = None

    @property
    def recipe_overrides(self) -> dict[str, object]:
        """`overrides`, and the recipe's values that have an option of their own."""
        own = {
            "training.epochs": self.epochs,
            "training.batch_size": self.batch_size,
            "training.seed": self.seed,
        }
        return {**self.overrides, **{path: value for path, value in own.items() if value is not None}}
