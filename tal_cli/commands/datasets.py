"""`tal datasets`: built-in data sets, and the user's own annotations."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from tal_cli import console
from tal_cli.commands.completion import dataset_names, recipe_names
from tal_cli.commands.options import FeaturesPath, Format, Quiet, ResultFormat, Seed, Workers, finite
from tal_cli.commands.printing import print_facts, print_json, print_path, print_table
from tal_cli.extractors.errors import EXIT_INPUT, InputError, UsageError
from tal_cli.safe_text import counted, printable

if TYPE_CHECKING:
    from tal_cli.datasets.checks import Problem

app = typer.Typer(
    help="List, check, convert and render data sets.",
    epilog="Example: tal datasets info thumos",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@app.command("list", epilog="Example: tal datasets list")
def list_datasets(format: Format = "table") -> None:
    """List the built-in data sets."""
    from tal_cli.datasets.catalog import BENCHMARKS

    header = ("name", "data set", "labels", "trained on", "tested on", "tIoU")
    rows = [
        (item.name, item.title, str(item.labels), item.train[0], item.test[0], item.tiou)
        for item in BENCHMARKS.values()
    ]
    if format == "json":
        print_json([dict(zip(header, row, strict=True)) for row in rows])
        return
    print_table(header, rows, optional=("labels", "trained on", "tested on", "data set"))


@app.command("info", epilog="Example: tal datasets info epic-verb")
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=dataset_names, help="A data set's name.")],
    format: Format = "table",
) -> None:
    """Show a data set's size, splits, metric, source, and where its files are expected."""
    from tal_cli.datasets.catalog import find_benchmark

    item = find_benchmark(name)
    facts = {
        "name": item.name,
        "data set": item.title,
        "labels": item.labels,
        "trained on": _subset(item.train),
        "tested on": _subset(item.test),
        "metric": f"mean average precision, mean over tIoU {item.tiou}",
        "recipe": item.recipe or "derived from the annotations",
        "source": item.source,
        "annotations": item.preparation,
        **{f"features {number}": text for number, text in enumerate(item.features, start=1)},
        **({"note": item.note} if item.note else {}),
    }
    if format == "json":
        print_json({**facts, "label_names": item.label_names, "layout": item.layout})
        return
    print_facts(facts.items())
    if item.label_names:
        print(f"\nlabels: {', '.join(item.label_names)}")
    print(f"\nexpected files (TAL_DATA sets the first folder):\n{item.layout}")


@app.command("check", epilog="Example: tal datasets check thumos --root data/thumos")
def check(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|ANNOTATIONS", autocompletion=dataset_names, help="A data set's name, or an annotation file."
        ),
    ],
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of its files. Default: $TAL_DATA/NAME or data/NAME.")
    ] = None,
    features: FeaturesPath = None,
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            autocompletion=recipe_names,
            help="Recipe that the features should fit. Default: the data set's.",
        ),
    ] = None,
    thorough: Annotated[
        bool, typer.Option("--thorough", help="Read all feature values, not a sample of the files.")
    ] = False,
    format: Format = "table",
    quiet: Quiet = False,
) -> None:
    """Check annotations and features before training.

    Finds missing videos and features, features that do not fit, invalid segments, unknown labels and empty subsets.
    """
    from tal_cli.datasets.catalog import BENCHMARKS, own_annotations
    from tal_cli.datasets.checks import Expected, FeatureCheck, check_annotations, check_videos
    from tal_cli.datasets.formats import load_annotations
    from tal_cli.datasets.splits import split_own
    from tal_cli.extractors.features.lookup import default_source
    from tal_cli.models.recipe.loading import load_recipe

    spec = load_recipe(recipe).features if recipe else None
    file = own_annotations(name)
    if file is not None:
        split = split_own(load_annotations(file).settled(), file)
        annotations = split.annotations
        expected = Expected(tuple((subset, 0) for subset in (split.train, split.test) if subset), features=spec)
    else:
        benchmark = BENCHMARKS[name]
        file = benchmark.annotations_file(root)
        annotations = load_annotations(file, benchmark.label_key)
        usual = load_recipe(benchmark.recipe).features if benchmark.recipe else None
        names = benchmark.label_names or annotations.labels
        subsets = (benchmark.train, benchmark.test)
        expected = Expected(subsets, benchmark.labels, names if len(names) == benchmark.labels else (), spec or usual)
    videos = [video for subset, _ in expected.subsets for video in annotations.of(subset)]
    base = root or file.parent
    problems = list(check_annotations(annotations, expected))
    if (base / "videos").is_dir():
        problems += check_videos(videos, base / "videos")
    found = FeatureCheck(features or default_source(base), expected.features, problems)
    with console.progress("checking", len(videos), "videos") as progress:
        read = found.look_through(videos, thorough=thorough, progress=progress)
    _report(problems, format)
    console.note(
        f"{counted(len(videos), 'video')} in {', '.join(subset for subset, _ in expected.subsets)}, "
        f"{counted(len(annotations.labels), 'label')}; "
        f"values of {counted(read, 'feature file')} read: {counted(len(problems), 'problem')}"
    )
    raise typer.Exit(EXIT_INPUT if problems else 0)


@app.command(
    "convert", epilog="Example: tal datasets convert labels.csv data/mine/annotations.json --videos data/mine/videos"
)
def convert(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE... OUT", help="Annotation files in any format, then the file to write."),
    ],
    label_key: Annotated[
        str, typer.Option(metavar="KEY", help="Column to use as the label; EPIC-KITCHENS: verb, noun, action.")
    ] = "label",
    fps: Annotated[
        float | None,
        typer.Option(
            metavar="X", min=0.001, callback=finite, help="Frame rate of frame numbers (Label Studio's frameRate)."
        ),
    ] = None,
    videos: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Video files to read durations and frame rates from.")
    ] = None,
    to: Annotated[
        str | None,
        typer.Option("--to", metavar="FORMAT", help="Format to write. Default: by OUT's suffix."),
    ] = None,
    label_attribute: Annotated[
        str | None, typer.Option(metavar="NAME", help="Attribute of CVAT's tracks that is the label.")
    ] = None,
    tiers: Annotated[
        Literal["subject", "label"], typer.Option(metavar="subject|label", help="What the tiers of a TextGrid are.")
    ] = "subject",
    validation: Annotated[
        float,
        typer.Option(
            metavar="SHARE",
            min=0,
            max=0.9,
            callback=finite,
            help="Fraction of training videos held out for validation.",
        ),
    ] = 0.0,
    quiet: Quiet = False,
) -> None:
    """Convert annotations to the JSON that training and evaluation read, or to a format of another program.

    Reads ActivityNet-style JSON, CSV with the columns video, label, start, end, ELAN, Label Studio, BORIS, V-TRACE,
    FERAL, DeepEthogram, SimBA, CVAT, VIA 3, FiftyOne, SoccerNet, TextGrid, Solomon Coder, EPIC-KITCHENS-100, THUMOS14
    and MultiTHUMOS; and results of `tal detect`, whose segments become annotations. Writes activitynet (.json), boris
    (.boris), boris-aggregated, boris-tabular, frames (a row per frame), elan (.eaf), textgrid (.TextGrid; a tier per
    subject, or with textgrid-labels per label), fiftyone, vtrace, feral and csv (.csv).
    """
    from tal_cli.datasets.convert import merge, with_validation, with_videos
    from tal_cli.datasets.formats.values import How
    from tal_cli.datasets.video_facts import VideoFacts
    from tal_cli.datasets.writers import target_of, write_annotations
    from tal_cli.inputs import find_videos

    *inputs, out = files
    if not inputs:
        raise UsageError("name at least one file to read, then the one to write")
    target = target_of(out, to)
    if videos is not None and not videos.is_dir():
        raise InputError(videos, "no such folder")
    facts = VideoFacts([] if videos is None else find_videos(videos))
    result = merge(inputs, How(label_key, fps, label_attribute, facts, tiers), out)
    if videos is not None:
        with console.progress("probing", len(result.videos), "videos") as progress:
            result = with_videos(result, facts, videos, progress)
    written = write_annotations(with_validation(result, validation), out, target)
    instances = counted(written, "instance")
    offered = sum(len(video.suggestions) for video in result.videos.values())
    more = f"; {counted(offered, 'suggestion')}" if offered else ""
    console.note(f"{counted(len(result.videos), 'video')}, {instances} of {counted(len(result.labels), 'label')}{more}")
    print_path(out)


@app.command("make", epilog="Example: tal datasets make camera -o data/camera --videos 40 --seed 1")
def make(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME", autocompletion=dataset_names, help="Data set to render; only camera can be rendered."
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="DIR", help="Output folder. Default: $TAL_DATA/NAME or data/NAME."),
    ] = None,
    videos: Annotated[int, typer.Option(min=1, metavar="N", help="Number of videos.")] = 300,
    seed: Seed = 0,
    workers: Workers = None,
    quiet: Quiet = False,
) -> None:
    """Render labelled videos and their annotations.json."""
    from tal_cli.batch import auto_workers
    from tal_cli.datasets.catalog import find_benchmark

    benchmark = find_benchmark(name)
    if benchmark.name != "camera":
        raise UsageError(f"{name} cannot be rendered; get it from {benchmark.source}", "tal datasets make camera")

    from tal_cli.camera.render import render_dataset

    folder = output or benchmark.root
    with console.progress("rendering", videos, "videos") as progress:
        render_dataset(folder, videos=videos, seed=seed, workers=workers or auto_workers(videos), progress=progress)
    print_path(folder)


def _report(problems: Sequence[Problem], format: ResultFormat) -> None:
    from tal_cli.datasets.checks import by_kind, summarise

    if format == "json":
        found = [
            {
                "kind": kind,
                "count": len(places),
                "places": [{"video": place.video, "detail": place.detail} for place in places],
            }
            for kind, places in by_kind(problems).items()
        ]
        print_json({"ok": not problems, "problems": found})
        return
    for line in summarise(problems):
        print(printable(line))


def _subset(subset: tuple[str, int]) -> str:
    name, videos = subset
    return f"{name} ({videos} videos)" if videos else name
