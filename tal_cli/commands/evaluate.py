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
from tal_cli.commands.options import Format, MinScore, Quiet, ResultFormat
from tal_cli.commands.printing import print_json, print_table
from tal_cli.extractors.errors import UsageError
from tal_cli.safe_text import counted

if TYPE_CHECKING:
    from tal_cli.evaluation.average_precision import Evaluation
    from tal_cli.evaluation.behaviour.frames import FrameEvaluation

EXAMPLE = "Example: tal eval predictions.json.gz --annotations annotations.json --subset validation --tiou 0.3:0.1:0.7"


def evaluate(
    predictions: PredictionFile,
    dataset: Dataset = None,
    annotations: AnnotationFile = None,
    subset: Subset = None,
    tiou: Tiou = None,
    protocol: Annotated[
        Literal["activitynet", "actionformer", "epic", "frames"],
        typer.Option(metavar="activitynet|actionformer|epic|frames", help="Evaluation protocol."),
    ] = "activitynet",
    task: Annotated[
        Literal["verb", "noun", "action", "all"],
        typer.Option(metavar="verb|noun|action|all", help="Labels that the EPIC protocol evaluates."),
    ] = "all",
    min_score: MinScore = None,
    smooth: Annotated[
        int, typer.Option(min=1, metavar="N", help="Frames over which scores of frames are averaged first.")
    ] = 1,
    format: Format = "table",
    quiet: Quiet = False,
) -> None:
    """Compute mean average precision and recall, and precision, recall and F1 of what is shown.

    The results equal those of the official evaluators to the last digit. Files may be gzipped. The actionformer
    protocol ignores duplicate and empty annotations. The epic protocol reads EPIC-KITCHENS submissions (verb, noun,
    action) and class numbers. The frames protocol compares frame by frame, and bouts; it also reads scores of frames:
    a table with a row per frame, a folder of such tables, or FERAL's predictions. Labels that are points are evaluated
    with SoccerNet's tolerances.
    """
    from tal_cli.evaluation.protocols import EPIC_TASKS, EPIC_TIOU, evaluate_files, evaluate_frame_files

    is_epic = protocol == "epic"
    if task != "all" and not is_epic:
        raise UsageError(f"--task {task} requires --protocol epic")
    if smooth > 1 and protocol != "frames":
        raise UsageError(f"--smooth {smooth} requires --protocol frames")
    ground_truth = find_ground_truth(dataset, annotations, subset, None)
    tasks = EPIC_TASKS if is_epic else {"": replace(ground_truth.task, counts_repeats=protocol != "actionformer")}
    chosen = {name: entry for name, entry in tasks.items() if task in ("all", name)}
    thresholds = ground_truth.thresholds(tiou or (EPIC_TIOU if is_epic else None))
    if protocol == "frames":
        found = evaluate_frame_files(
            predictions, ground_truth.path, ground_truth.task, ground_truth.subset, thresholds, min_score, smooth
        )
        _report_frames(found, format)
        return
    results = {
        name: evaluate_files(predictions, ground_truth.path, entry, ground_truth.subset, thresholds, min_score)
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


def _report_frames(result: FrameEvaluation, format: ResultFormat) -> None:
    if result.ignored:
        console.warn(f"{counted(result.ignored, 'prediction')} of labels without ground truth in {result.subset}")
    document = result.as_json()
    if format == "json":
        print_json(document)
        return
    levels = list(document["bout_f1"])
    rows = [("mean", document), *document["per_label"].items()]
    print_table(
        ("", "F1", "precision", "recall", "AP", *(f"bout F1 {level}" for level in levels)),
        [
            (name, *(f"{value:.4f}" for value in (
                row["f1"], row["precision"], row["recall"], row.get("ap", row.get("mAP")),
                *(row["bout_f1"][level] for level in levels),
            )))
            for name, row in rows
        ],
    )  # fmt: skip


def _print(name: str, result: Evaluation) -> None:
    document = result.as_json()
    header = (name, *document["tiou"], "average")
    rows = [_row("mAP", document["tiou"]), *(_row(f"recall {k}", values) for k, values in document["recall"].items())]
    rows += [_row(label, values) for label, values in document["per_label"].items()]
    print_table(header, rows)
    if "points" in document:
        points = document["points"]
        print()
        told = [("mean", points), *points["per_label"].items()]
        print_table(
            ("points", "tight", "loose"), [(n, f"{row['tight']:.4f}", f"{row['loose']:.4f}") for n, row in told]
        )
    if "shown" in document:
        shown = document["shown"]
        print()
        told = [("mean", shown), *shown["per_label"].items()]
        names = ("precision", "recall", "f1")
        print_table(
            (f"shown, tIoU {shown['tiou']:g}", *names, "score"),
            [
                (n, *(f"{row[name]:.4f}" for name in names), f"{row['score']:g}" if "score" in row else "")
                for n, row in told
            ],
        )


def _row(name: str, values: dict[str, float]) -> tuple[str, ...]:
    numbers = [*values.values(), sum(values.values()) / len(values)]
    return (name, *(f"{number:.4f}" for number in numbers))
