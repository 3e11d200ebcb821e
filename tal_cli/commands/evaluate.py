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
    from tal_cli.evaluation.average_precision import Evaluation

EXAMPLE = "Example: tal eval predictions.json.gz --annotations annotations.json --subset validation --tiou 0.3:0.1:0.7"
DEFAULT_TIOU = "0.3:0.1:0.7"


class EvaluationFormat(str, Enum):
    table = "table"
    json = "json"


class Protocol(str, Enum):
    activitynet = "activitynet"
    epic = "epic"


class EpicTask(str, Enum):
    all = "all"
    verb = "verb"
    noun = "noun"
    action = "action"


def evaluate(
    predictions: Annotated[Path, typer.Argument(metavar="PREDICTIONS", help="JSON of `tal detect --min-score 0`.")],
    dataset: Annotated[str | None, typer.Option(metavar="NAME", help="A name of `tal datasets list`.")] = None,
    annotations: Annotated[
        Path | None, typer.Option(metavar="FILE", help="ActivityNet-style JSON, may be .gz.")
    ] = None,
    subset: Annotated[str | None, typer.Option(metavar="S", help="`all`, or one; default: the one predicted.")] = None,
    tiou: Annotated[
        str | None,
        typer.Option(metavar="A:STEP:B", help="Overlap thresholds. Default: 0.3:0.1:0.7, or the data set's."),
    ] = None,
    protocol: Annotated[
        Protocol, typer.Option(metavar="activitynet|epic", help="Whose rules are followed to the last digit.")
    ] = Protocol.activitynet,
    task: Annotated[
        EpicTask, typer.Option(metavar="verb|noun|action|all", help="What EPIC's protocol evaluates.")
    ] = EpicTask.all,
    format: Annotated[
        EvaluationFormat, typer.Option("--format", "-f", metavar="table|json", help="How to print the result.")
    ] = EvaluationFormat.table,
    quiet: Quiet = False,
) -> None:
    """Mean average precision and recall, as the official evaluators compute them.

    Files may be gzipped. EPIC's protocol reads its submission form (verb, noun, action) and class numbers.
    """
    from tal_cli.datasets.benchmarks import find_benchmark
    from tal_cli.evaluation.average_precision import parse_tiou
    from tal_cli.evaluation.protocols import EPIC_TASKS, EPIC_TIOU, Task, evaluate_files

    if (dataset is None) == (annotations is None):
        raise UsageProblem("give the ground truth by either --dataset NAME or --annotations FILE")
    if task is not EpicTask.all and protocol is not Protocol.epic:
        raise UsageProblem(f"--task {task.value} belongs to --protocol epic")
    benchmark = None if dataset is None else find_benchmark(dataset)
    truth = annotations or (benchmark.annotations_file() if benchmark else Path())
    usual = EPIC_TIOU if protocol is Protocol.epic else benchmark.tiou if benchmark else DEFAULT_TIOU
    key = benchmark.label_key if benchmark else "label"
    tasks = {"": Task(key, "label")} if protocol is Protocol.activitynet else EPIC_TASKS
    chosen = {name: entry for name, entry in tasks.items() if task.value in ("all", name)}
    thresholds = parse_tiou(tiou or usual)
    subset = subset or (benchmark.test[0] if benchmark else None)
    results = {name: evaluate_files(predictions, truth, entry, subset, thresholds) for name, entry in chosen.items()}
    _report(results, format)


def _report(results: dict[str, Evaluation], format: EvaluationFormat) -> None:
    """Print one evaluation, or several under their names."""
    for result in results.values():
        if result.ignored:
            console.warn(f"{result.ignored} predictions have labels without ground truth in {result.subset}")
    if format is EvaluationFormat.json:
        documents = {name: result.as_json() for name, result in results.items()}
        document = documents if len(documents) > 1 else next(iter(documents.values()))
        print(json.dumps(document, ensure_ascii=False, indent=1))
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
