"""`tal suggest`: what to label next."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import astuple, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tal_cli import console
from tal_cli.batch import Run
from tal_cli.commands.completion import extractor_names, model_names
from tal_cli.commands.options import Device, InputPaths, Quiet, finite
from tal_cli.commands.printing import form_for, print_json, print_or_write, print_table, table_text
from tal_cli.extractors.errors import UsageError
from tal_cli.inputs import Source, gather
from tal_cli.spreadsheets import csv_bytes

if TYPE_CHECKING:
    from tal_cli.api import VideoDetector
    from tal_cli.datasets.annotations import Annotations
    from tal_cli.extractors.features.sequence import FeatureSequence
    from tal_cli.labelling.next_up import Item
    from tal_cli.labelling.suggesting import Watched

EXAMPLE = "Example: tal suggest --model runs/mine videos/ --annotations labels.json -n 10"
COLUMNS = ("video", "start", "end", "why", "score")
FORMATS = {".csv": "csv", ".json": "json"}
FIRST_EXTRACTOR = "tiny"


def suggest(
    inputs: InputPaths = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="RUN",
            autocompletion=model_names,
            help="Model, or run folder of tal train. Default: none; what is unlike the rest comes first.",
        ),
    ] = None,
    annotations: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What is labelled and reviewed so far, in any form. Default: nothing."),
    ] = None,
    extractor: Annotated[
        str,
        typer.Option(
            "--extractor",
            "-x",
            metavar="NAME",
            autocompletion=extractor_names,
            help="Extractor for videos where there is no model.",
        ),
    ] = FIRST_EXTRACTOR,
    count: Annotated[int, typer.Option("-n", "--count", min=1, metavar="N", help="Number of stretches.")] = 20,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=1,
            metavar="S",
            callback=finite,
            help="Length of a stretch. Default: twice the median instance's, 8 at first.",
        ),
    ] = None,
    format: Annotated[
        Literal["table", "csv", "json"] | None,
        typer.Option("--format", "-f", metavar="table|csv|json", help="Output format. Default: by the file's suffix."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="File to write. Default: standard output.")
    ] = None,
    device: Device = "auto",
    quiet: Quiet = False,
) -> None:
    """Rank what to label next: the stretches of video that teach most for the time that they take.

    Reads videos, or feature files of `tal extract-features`. A model of few examples suffices; with a run of
    `tal train --folds`, all of its detectors are asked. Stretches that were reviewed are left out.
    """
    form = format or form_for(output, FORMATS)
    found = gather(inputs or [])
    run = Run(found, workers=1)
    if not found.sources and not found.problems:
        raise UsageError("no video and no feature file among the inputs")

    from tal_cli.datasets.formats import load_annotations
    from tal_cli.extractors.features.formats import is_feature_file
    from tal_cli.labelling.suggesting import suggest as rank

    known = None if annotations is None else load_annotations(annotations)
    videos = _watched(run, known, model, extractor, device)
    if not videos:
        raise typer.Exit(run.exit_code)
    items = rank(videos, count, seconds)
    _print(items, form, output)
    if not items:
        console.note("everything is reviewed")
    elif annotations is not None:
        named = ["VIDEOS"] if any(is_feature_file(source.path) for source in found.sources) else inputs or []
        console.next_step("tal", "label", *named, "--annotations", annotations)
    if run.exit_code:
        raise typer.Exit(run.exit_code)


def _watched(run: Run, known: Annotations | None, model: str | None, extractor: str, device: str) -> list[Watched]:
    """Features of the videos, and what the models find in them.

    Videos that were reviewed completely are read as well, to tell what is like them.

    Raises:
        UsageError: features of different kinds.
    """
    from tal_cli.api import VideoDetector
    from tal_cli.labelling.suggesting import Watched

    detectors = [VideoDetector.load(each, device=device) for each in _models(model)]
    read = _reader(detectors, extractor, device)

    def look(source: Source) -> Watched:
        sequence = read(source)
        found = (each.detect_features(sequence, name=source.name, path=str(source.path)) for each in detectors)
        annotation = known.videos.get(source.name) if known else None
        return Watched(source.name, sequence, annotation, tuple(each.segments for each in found))

    done: list[Watched] = []
    for source, watched in run.each(look):
        if done and watched.sequence.contract != done[0].sequence.contract:
            raise UsageError(
                f"{source.path}: its features are of another kind than those of {done[0].name}",
                "give features of one extractor, or videos",
            )
        done.append(watched)
    if known is not None and done and not any(each.annotation for each in done):
        names = ", ".join(list(known.videos)[:3])
        console.warn(f"none of the videos is in the annotations, which name {names}")
    return done


def _models(model: str | None) -> list[str]:
    """The model, or the models of its folds, which disagree where little is known."""
    if model is None:
        return []
    from tal_cli.models.store.zoo import resolve_model
    from tal_cli.training.validation.folds import fold_models

    return [str(path) for path in fold_models(resolve_model(model))] or [model]


def _reader(detectors: Sequence[VideoDetector], extractor: str, device: str) -> Callable[[Source], FeatureSequence]:
    """A function from a source to its features."""
    if detectors:
        return lambda source: detectors[0].features(source.path)
    from tal_cli.devices import resolve_device
    from tal_cli.extractors.backbones import create_backbone
    from tal_cli.extractors.extraction.extractor import Extractor
    from tal_cli.extractors.features.files import load_features
    from tal_cli.extractors.features.formats import is_feature_file

    made: list[Extractor] = []

    def read(source: Source) -> FeatureSequence:
        if is_feature_file(source.path):
            sequence = load_features(source.path)
            if sequence.contract is None:
                raise UsageError(
                    f"{source.path}: nothing beside it says how its rows lie in time",
                    "extract features with `tal extract-features`, or give a --model",
                )
            return sequence
        if not made:
            made.append(Extractor(create_backbone(extractor), device=resolve_device(device)))
        return made[0].extract(source.path)

    return read


def _print(items: Sequence[Item], form: str, output: Path | None) -> None:
    rows = [replace(item, start=round(item.start, 3), end=round(item.end, 3)) for item in items]
    documents = [{name: getattr(row, name) for name in COLUMNS} for row in rows]
    cells = [(r.video, f"{r.start:.2f}", f"{r.end:.2f}", r.why, f"{r.score:.3f}") for r in rows]
    if form == "table" and output is None:
        print_table(COLUMNS, cells)
    elif form == "json" and output is None:
        print_json(documents)
    elif form == "csv":
        print_or_write(csv_bytes([COLUMNS, *map(astuple, rows)]), output)
    elif form == "json":
        print_or_write((json.dumps(documents, ensure_ascii=False, indent=1) + "\n").encode(), output)
    else:
        print_or_write(table_text([COLUMNS, *cells]).encode(), output)
