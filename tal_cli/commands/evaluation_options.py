"""Options shared by `tal eval`, `tal diagnose` and `tal compare`: ground truth, labels and tIoU thresholds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tal_cli.commands.completion import dataset_names
from tal_cli.extractors.errors import UsageError

if TYPE_CHECKING:
    from tal_cli.datasets.annotations import Annotations
    from tal_cli.evaluation.predictions import Predictions
    from tal_cli.evaluation.protocols import Task

Dataset = Annotated[
    str | None, typer.Option(metavar="NAME", autocompletion=dataset_names, help="Data set from `tal datasets list`.")
]
AnnotationFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Annotations in any format that `tal datasets convert` reads.")
]
Subset = Annotated[
    str | None,
    typer.Option(
        metavar="S", help="Subset, `all`, or `held-out` (by training). Default: the subset of the predictions."
    ),
]
DEFAULT_TIOU = "0.3:0.1:0.7"
Tiou = Annotated[
    str | None,
    typer.Option(metavar="A:STEP:B", help=f"tIoU thresholds. Default: {DEFAULT_TIOU}, or the data set's."),
]
PredictionFile = Annotated[
    Path,
    typer.Argument(
        metavar="PREDICTIONS",
        help="Results of `tal detect --min-score 0`: json, jsonl, csv, parquet, otio, labelstudio or elan.",
    ),
]


EpicTask = Literal["verb", "noun", "action"]
OneEpicTask = Annotated[
    EpicTask | None, typer.Option(metavar="verb|noun|action", help="Labels to use from EPIC-KITCHENS submissions.")
]


@dataclass(frozen=True)
class GroundTruth:
    """Path of the ground truth, names of its labels there and in predictions, and its tIoU thresholds (A:STEP:B)."""

    path: Path
    task: Task
    subset: str | None
    tiou: str

    def thresholds(self, tiou: str | None) -> tuple[float, ...]:
        """The tIoU thresholds given, or else those of the data set. Raises UsageError."""
        from tal_cli.evaluation.average_precision import parse_tiou

        return parse_tiou(tiou or self.tiou)

    def load(self, *predictions: Path) -> tuple[list[Predictions], Annotations, str]:
        """Prediction files, ground truth and the subset to look at; see `load_files`."""
        from tal_cli.evaluation.protocols import load_files

        return load_files(predictions, self.path, self.task, self.subset)


def tiou_text(thresholds: Iterable[float]) -> str:
    """tIoU thresholds as commands print them.

    >>> tiou_text([0.3, 0.4])
    '0.3, 0.4'
    """
    return ", ".join(f"{threshold:.6g}" for threshold in thresholds)


def find_ground_truth(
    dataset: str | None, annotations: Path | None, subset: str | None, task: EpicTask | None
) -> GroundTruth:
    """The ground truth given by the options.

    Raises:
        UsageError: neither or both of data set and file, or no such data set.
        MissingError: the data set's annotations are not there.
    """
    from tal_cli.datasets.catalog import find_benchmark
    from tal_cli.evaluation.protocols import EPIC_TASKS, EPIC_TIOU, Task

    if dataset is not None and annotations is None:
        benchmark = find_benchmark(dataset)
        chosen = EPIC_TASKS[task] if task else Task(benchmark.label_key, "label")
        return GroundTruth(benchmark.annotations_file(), chosen, subset or benchmark.test[0], benchmark.tiou)
    if annotations is not None and dataset is None:
        if task is not None:
            return GroundTruth(annotations, EPIC_TASKS[task], subset, EPIC_TIOU)
        return GroundTruth(annotations, Task("label", "label"), subset, DEFAULT_TIOU)
    raise UsageError("give the ground truth by either --dataset NAME or --annotations FILE")
