"""`tal datasets`: the data sets that have a name, and rendering the one that needs no download."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tal_cli import console
from tal_cli.commands.options import Quiet, Seed, Workers
from tal_cli.commands.tables import print_facts, print_table
from tal_cli.errors import EXIT_INPUT, UsageProblem

app = typer.Typer(
    help="Data sets: what they are, where their files lie, and rendering one.",
    epilog="Example: tal datasets info thumos",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list", epilog="Example: tal datasets list")
def list_datasets() -> None:
    """List the data sets that have a name."""
    from tal_cli.datasets.benchmarks import BENCHMARKS

    rows = [
        (item.name, item.title, str(item.labels), item.train[0], item.test[0], item.tiou)
        for item in BENCHMARKS.values()
    ]
    print_table(("name", "data set", "labels", "trained on", "tested on", "tIoU"), rows)


@app.command("info", epilog="Example: tal datasets info epic-verb")
def info(name: Annotated[str, typer.Argument(metavar="NAME", help="A data set's name.")]) -> None:
    """Show a data set's size, splits, metric, source, and where its files are expected."""
    from tal_cli.datasets.benchmarks import find_benchmark

    item = find_benchmark(name)
    print_facts(
        [
            ("name", item.name),
            ("data set", item.title),
            ("labels", item.labels),
            ("trained on", _subset(item.train)),
            ("tested on", _subset(item.test)),
            ("metric", f"mean average precision, mean over tIoU {item.tiou}"),
            ("features", item.features),
            ("recipe", item.recipe or "derived from the annotations"),
            ("source", item.source),
            *([("note", item.note)] if item.note else []),
        ]
    )
    print(f"\nexpected files (TAL_DATA sets the first folder):\n{item.layout}")


@app.command("check", epilog="Example: tal datasets check thumos --root data/thumos")
def check(
    name: Annotated[
        str, typer.Argument(metavar="NAME|ANNOTATIONS.json", help="A data set's name, or an annotation file.")
    ],
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where its files are. Default: $TAL_DATA/NAME or data/NAME.")
    ] = None,
    features: Annotated[Path | None, typer.Option(metavar="DIR", help="Feature files. Default: DIR/features.")] = None,
    quiet: Quiet = False,
) -> None:
    """Look for what would spoil a training: missing or unfitting features, bad segments, empty subsets."""
    from tal_cli.datasets.annotations import load_annotations, split_names
    from tal_cli.datasets.benchmarks import find_benchmark
    from tal_cli.datasets.check import check_annotations, check_features, summarise

    if name.endswith((".json", ".json.gz")):
        file, labels = Path(name), None
        annotations = load_annotations(file)
        subsets = [subset for subset in split_names(annotations, file) if subset is not None]
    else:
        benchmark = find_benchmark(name)
        file = benchmark.annotations_file(root)
        annotations, labels = load_annotations(file, benchmark.label_key), benchmark.labels
        subsets = [benchmark.train[0], benchmark.test[0]]
    videos = [video for subset in subsets for video in annotations.of(subset)]
    folder = features or (root or file.parent) / "features"
    with console.progress("checking", len(videos), "videos") as progress:
        problems = [*check_annotations(annotations, subsets, labels), *check_features(videos, folder, progress)]
    for line in summarise(problems):
        print(line)
    console.note(
        f"{len(videos)} videos in {', '.join(subsets)}, {len(annotations.labels)} labels: {len(problems)} problems"
    )
    raise typer.Exit(EXIT_INPUT if problems else 0)


@app.command("make", epilog="Example: tal datasets make camera --out data/camera --videos 40 --seed 1")
def make(
    name: Annotated[str, typer.Argument(metavar="NAME", help="camera is the one that can be made.")],
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where to. Default: $TAL_DATA/NAME or data/NAME.")
    ] = None,
    videos: Annotated[int, typer.Option(min=1, metavar="N", help="How many.")] = 300,
    seed: Seed = 0,
    workers: Workers = None,
    quiet: Quiet = False,
) -> None:
    """Render labelled videos and their annotations.json."""
    from tal_cli.datasets.benchmarks import find_benchmark
    from tal_cli.work import auto_workers

    benchmark = find_benchmark(name)
    if benchmark.name != "camera":
        raise UsageProblem(f"{name} cannot be made, only got from {benchmark.source}", "tal datasets make camera")

    from tal_cli.datasets.camera import render_dataset

    folder = out or benchmark.root
    with console.progress("rendering", videos, "videos") as progress:
        render_dataset(folder, videos=videos, seed=seed, workers=workers or auto_workers(videos), progress=progress)
    print(folder)


def _subset(subset: tuple[str, int]) -> str:
    name, videos = subset
    return f"{name} ({videos} videos)" if videos else name
