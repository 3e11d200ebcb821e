"""`tal diagnose`: error analysis of a detector's predictions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tal_cli import console
from tal_cli.commands.evaluation_options import (
    AnnotationFile,
    Dataset,
    OneEpicTask,
    PredictionFile,
    Subset,
    Tiou,
    find_ground_truth,
    tiou_text,
)
from tal_cli.commands.options import Format, Quiet
from tal_cli.commands.printing import print_facts, print_json, print_table
from tal_cli.safe_text import counted

if TYPE_CHECKING:
    from tal_cli.evaluation.diagnosis.analysis import Diagnosis

EXAMPLE = "Example: tal diagnose predictions.json --dataset thumos -o diagnosis"


def diagnose(
    predictions: PredictionFile,
    dataset: Dataset = None,
    annotations: AnnotationFile = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Folder for figures, diagnosis.json and index.html."),
    ] = None,
    subset: Subset = None,
    tiou: Tiou = None,
    scale: Annotated[
        Literal["auto", "thumos", "activitynet"],
        typer.Option(
            metavar="auto|thumos|activitynet",
            help="Buckets of characteristics; auto picks those that divide the instances most evenly.",
        ),
    ] = "auto",
    video: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Video whose scores are plotted against tIoU. Default: all."),
    ] = None,
    task: OneEpicTask = None,
    format: Format = "table",
    quiet: Quiet = False,
) -> None:
    """Analyse the errors of predictions.

    False positives, sensitivity and false negatives after Alwassel and others (2018). Characteristics of instances
    (coverage, length, number) are computed from the annotations of any data set.
    """
    from tal_cli.evaluation.diagnosis.analysis import diagnose as analyse
    from tal_cli.evaluation.diagnosis.document import as_json
    from tal_cli.extractors.files.atomic import write_atomically

    ground_truth = find_ground_truth(dataset, annotations, subset, task)
    (predicted,), known, chosen = ground_truth.load(predictions)
    diagnosis = analyse(predicted, known, chosen, ground_truth.thresholds(tiou), scale, video)
    if diagnosis.left_out:
        console.warn(f"{counted(diagnosis.left_out, 'prediction')} skipped: no instances in the video or of the label")
    if diagnosis.unusable:
        console.warn(f"{counted(diagnosis.unusable, 'instance')} skipped: empty, or longer than the video")
    document = as_json(diagnosis)
    if output is not None:
        _write_page(diagnosis, output, predictions.name, ground_truth.path.name)
        text = json.dumps(document, ensure_ascii=False, indent=1) + "\n"
        write_atomically(output / "diagnosis.json", text.encode())
        console.note(f"wrote figures and {output / 'index.html'}")
    if format == "json":
        print_json(document)
    else:
        _print(diagnosis)


def _write_page(diagnosis: Diagnosis, out: Path, predictions: str, annotations: str) -> None:
    from tal_cli.evaluation.diagnosis.figures import draw
    from tal_cli.evaluation.diagnosis.page import render
    from tal_cli.extractors.files.atomic import write_atomically

    figures = draw(diagnosis)
    page = render(diagnosis, figures, predictions, annotations)
    for figure in figures:
        write_atomically(out / f"{figure.name}.png", figure.png)
        write_atomically(out / f"{figure.name}.svg", figure.svg)
    write_atomically(out / "index.html", page.encode())


def _print(diagnosis: Diagnosis) -> None:
    from tal_cli.evaluation.diagnosis.error_types import Kind

    found = diagnosis.false_positives
    print_facts(
        [
            ("subset", f"{diagnosis.subset}, {int(diagnosis.instances.sum())} instances"),
            ("tIoU", tiou_text(diagnosis.tiou)),
            ("average mAP_N", f"{diagnosis.sensitivity.precision.mean():.4f}"),
            ("instances missed", f"{diagnosis.false_negatives.rate:.4f}"),
        ]
    )
    print()
    gains = ("", *(f"{gain:+.4f}" for gain in found.gain))
    shares = found.total.mean(axis=0) / max(found.kept, 1)
    rows = [(kind.words, f"{found.profile[0, kind]:.4f}", f"{shares[kind]:.4f}", gains[kind]) for kind in Kind]
    print_table(("predictions", "of the best G", "of the best 10 G", "mAP_N without them"), rows)
    print()
    buckets = [
        (title, name, text, str(count), f"{value:.4f}", f"{missed:.4f}")
        for title, name, text, count, value, missed in diagnosis.buckets()
        if count
    ]
    print_table(("characteristic", "bucket", "range", "instances", "mAP_N", "missed"), buckets)
