"""`tal eval`: predictions against ground truth."""

from __future__ import annotations

import json
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tal_cli import console
from tal_cli.commands.options import Quiet
from tal_cli.commands.tables import print_table
from tal_cli.errors import UsageProblem

if TYPE_CHECKING:
    from tal_cli.datasets.annotations import Annotations
    from tal_cli.evaluation.average_precision import Evaluation

EXAMPLE = "Example: tal eval predictions.json.gz --annotations annotations.json --subset validation --tiou 0.3:0.1:0.7"
DEFAULT_TIOU = "0.3:0.1:0.7"


class EvaluationFormat(str, Enum):
    table = "table"
    json = "json"


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="JSON of `tal detect --min-score 0`.")],
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="A name of `tal datasets list`.")] = None,
    annotations: Annotated[
        Path | None, typer.Option(metavar="FILE", help="ActivityNet-style JSON, gzipped or not.")
    ] = None,
    subset: Annotated[str | None, typer.Option(metavar="S", help="Default: validation, else test.")] = None,
    tiou: Annotated[
        str | None,
        typer.Option(metavar="A:STEP:B", help="Overlap thresholds. Default: the data set's, else 0.3:0.1:0.7."),
    ] = None,
    format: Annotated[
        EvaluationFormat, typer.Option("--format", "-f", metavar="table|json", help="How to print the result.")
    ] = EvaluationFormat.table,
    quiet: Quiet = False,
) -> None:
    """Mean average precision and recall, as ActivityNet's evaluator computes them to the last digit."""
    from tal_cli.evaluation.average_precision import evaluate as compute
    from tal_cli.evaluation.average_precision import parse_tiou
    from tal_cli.evaluation.predictions import load_predictions

    truth, usual, thresholds = _ground_truth(dataset, annotations)
    result = compute(load_predictions(predictions), truth, subset or usual, parse_tiou(tiou or thresholds))
    if result.ignored:
        console.warn(
            f"{result.ignored} predictions have labels without ground truth in {result.subset}; they do not count"
        )
    if format is EvaluationFormat.json:
        print(json.dumps(result.as_json(), ensure_ascii=False, indent=1))
    else:
        _print(result)


def _ground_truth(dataset: str | None, file: Path | None) -> tuple[Annotations, str, str]:
    """Annotations, the subset to evaluate on by default, and the thresholds."""
    from tal_cli.datasets.annotations import load_annotations, split_names
    from tal_cli.datasets.benchmarks import find_benchmark

    if (dataset is None) == (file is None):
        raise UsageProblem("give the ground truth by either --dataset NAME or --annotations FILE")
    if file is not None:
        truth = load_annotations(file)
        train, test = split_names(truth, file)
        return truth, test or train, DEFAULT_TIOU
    assert dataset is not None
    benchmark = find_benchmark(dataset)
    truth = load_annotations(benchmark.annotations_file(), benchmark.label_key)
    return truth, benchmark.test[0], benchmark.tiou


def _print(result: Evaluation) -> None:
    document = result.as_json()
    header = ("", *document["tiou"], "average")
    rows = [_row("mAP", document["tiou"]), *(_row(f"recall {k}", values) for k, values in document["recall"].items())]
    rows += [_row(label, values) for label, values in document["per_label"].items()]
    print_table(header, rows)


def _row(name: str, values: dict[str, float]) -> tuple[str, ...]:
    numbers = [*values.values(), sum(values.values()) / len(values)]
    return (name, *(f"{number:.4f}" for number in numbers))
