"""`tal compare`: two prediction files side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tal_cli.commands.evaluation_options import (
    AnnotationFile,
    Dataset,
    OneEpicTask,
    Subset,
    Tiou,
    find_ground_truth,
    tiou_text,
)
from tal_cli.commands.options import Format, Quiet
from tal_cli.commands.printing import print_facts, print_json, print_table

if TYPE_CHECKING:
    from tal_cli.evaluation.comparison import Row

EXAMPLE = "Example: tal compare before.json after.json --dataset thumos"


def compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="Results of `tal detect --min-score 0`, as for tal eval.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Other results for the same videos.")],
    dataset: Dataset = None,
    annotations: AnnotationFile = None,
    subset: Subset = None,
    tiou: Tiou = None,
    task: OneEpicTask = None,
    format: Format = "table",
    quiet: Quiet = False,
) -> None:
    """Compare two prediction files.

    Prints mAP, the AP of each label, precision, recall and F1 of what each model shows, and the cost of each type of
    error for both.
    """
    from tal_cli.evaluation.comparison import compare as lay_side_by_side

    ground_truth = find_ground_truth(dataset, annotations, subset, task)
    thresholds = ground_truth.thresholds(tiou)
    (one, other), known, chosen = ground_truth.load(first, second)
    result = lay_side_by_side(one, other, known, chosen, thresholds)
    if format == "json":
        print_json(result.as_json())
        return
    print_facts([("subset", chosen), ("tIoU", tiou_text(thresholds))])
    print()
    _print("mAP at tIoU", result.precision)
    _print("label (mean AP)", result.labels)
    _print("shown, tIoU 0.5", result.shown)
    _print("label (F1 shown)", result.shown_labels)
    _print("of the best G", [*result.shares, result.missed])
    _print("costs mAP_N", result.costs)


def _print(title: str, rows: Sequence[Row]) -> None:
    cells = [(row.name, f"{row.first:.4f}", f"{row.second:.4f}", f"{row.difference:+.4f}") for row in rows]
    print_table((title, "A", "B", "B - A"), cells)
    print()
