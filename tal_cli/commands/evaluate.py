"""`tal eval`: predictions against ground truth."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tal_cli import console
from tal_cli.commands.evaluation_options import (
    AnnotationFile,
    Dataset,
    PredictionFile,
    Subset,
    Tiou,
    find_ground_truth,
)
from tal_cli.commands.options import Format, Quiet, ResultFormat
from tal_cli.commands.printing import print_json, print_table
from tal_cli.extractors.errors import UsageError
from tal_cli.safe_text import counted

if TYPE_CHECKING:
    from tal_cli.evaluation.average_precision import Evaluation

EXAMPLE = "Example: tal eval predictions.json.gz --annotations annotations.json --subset validation --tiou 0.3:0.1:0.7"


def evaluate(
    predictions: PredictionFile,
    dataset: Dataset = None,
    annotations: AnnotationFile = None,
    subset: Subset = None,
    tiou: Tiou = None,
    protocol: Annotated[
        Literal["activitynet", "actionformer", "epic"],
        typer.Option(metavar="activitynet|actionformer|epic", help="Evaluation protocol."),
    ] = "activitynet",
    task: Annotated[
        Literal["verb", "noun", "action", "all"],
        typer.Option(metavar="verb|noun|action|all", help="Labels that the EPIC protocol evaluates."),
    ] = "all",
    format: Format = "table",
    quiet: Quiet = False,
) -> None:
    """Compute mean average precision and recall.

    The results equal those of the official evaluators to the last digit. Files may be gzipped. The actionformer
    protocol ignores duplicate and empty annotations. The epic protocol reads EPIC-KITCHENS submissions (verb, noun,
    action) and class numbers.
    """
    from tal_cli.evaluation.protocols import EPIC_TASKS, EPIC_TIOU, evaluate_files

    is_epic = protocol == "epic"
    if task != "all" and not is_epic:
        raise UsageError(f"--task {task} requires --protocol epic")
    ground_truth = find_ground_truth(dataset, annotations, subset, None)
    tasks = EPIC_TASKS if is_epic else {"": replace(ground_truth.task, counts_repeats=protocol == "activitynet")}
    chosen = {name: entry for name, entry in tasks.items() if task in ("all", name)}
    thresholds = ground_truth.thresholds(tiou or (EPIC_TIOU if is_epic else None))
    results = {
        name: evaluate_files(predictions, ground_truth.path, entry, ground_truth.subset, thresholds)
        for name, entry in chosen.items()
    }
    _report(results, format)


def _report(results: dict[str, Evaluation], format: ResultFormat) -> None:
    """Print one evaluation, or several under their names."""
    for result in results.values():
        if result.ignored:
            console.warn(f"{counted(result.ignored, 'prediction')} of labels without ground truth in {result.subset}")
    if format == "json":
        documents = {name: result.as_json() for name, result in results.items()}
        document = documents if len(documents) > 1 else next(iter(documents.values()))
        print_json(document)
        return
    for name, result in results.items():
        _print(name, result)


def _print(name: str, result: Evaluation) -> None:
    document = result.as_json()
    header = (name, *document["tiou"], "average")
    rows = [_row("mAP", document["tiou"]), *(_row(f"recall {k}", values) for k, values in document["recall"].items())]
    rows += [_row(label, values) for label, values in document["per_label"].items()]
    print_table(header, rows)


def _row(name: str, values: dict[str, float]) -> tuple[str, ...]:
    numbers = [*values.values(), sum(values.values()) / len(values)]
    return (name, *(f"{number:.4f}" for number in numbers))
