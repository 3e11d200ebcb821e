"""`tal extractors`: the backbones, their feature contracts, and the sources of their weights."""

from __future__ import annotations

import math
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tal_cli import console
from tal_cli.commands import pull
from tal_cli.commands.completion import extractor_names
from tal_cli.commands.options import Device, Format, Quiet, WeightsFile, finite
from tal_cli.commands.printing import print_facts, print_json, print_table
from tal_cli.extractors.errors import InputError, UsageError
from tal_cli.inputs import gather
from tal_cli.safe_text import counted

if TYPE_CHECKING:
    from tal_cli.evaluation.extractor_ranking import Standing
    from tal_cli.extractors.catalog.entry import BackboneEntry
    from tal_cli.extractors.files.weights import WeightsSource

app = typer.Typer(
    help="Show feature extractors, and download their weights.",
    epilog="Example: tal extractors info videomaev2-g",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@app.callback()
def _list_by_default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_extractors()


@app.command("list", epilog="Example: tal extractors list --format json")
def list_extractors(format: Format = "table") -> None:
    """List the extractors, and whether their weights are on this machine. Any timm image model can be used as
    timm:NAME."""
    from tal_cli.extractors.catalog import BACKBONES, timm_frames

    users, entries = _users(), list(BACKBONES.usable().values())
    if format == "json":
        print_json([_document(entry, users.get(entry.name, [])) for entry in entries])
        return
    rows = [
        (
            entry.name,
            _whether_here(entry),
            str(entry.contract.channels),
            f"{entry.contract.window} / {entry.contract.stride}",
            ", ".join(users.get(entry.name, [])) or "-",
            entry.description,
        )
        for entry in entries
    ]
    rows.append((f"{timm_frames.PREFIX}NAME", "-", "-", "16 / 4", "-", timm_frames.DESCRIPTION))
    header = ("name", "weights", "channels", "window / stride", "models", "description")
    print_table(header, rows, optional=("weights", "channels", "window / stride", "models"))


@app.command("info", epilog="Example: tal extractors info internvideo2-6b")
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=extractor_names, help="An extractor's name.")],
    weights: WeightsFile = None,
    format: Format = "table",
) -> None:
    """Show an extractor's feature contract, the source of its weights, and open questions about them."""
    from tal_cli.extractors.catalog import find

    entry = find(name)
    document = _document(entry, _users().get(name, []), weights)
    if format == "json":
        print_json(document)
        return
    print_facts(
        [
            ("name", entry.name),
            ("description", entry.description),
            *((f"contract.{key}", value) for key, value in document["contract"].items()),
            ("settable", ", ".join(entry.settable) or None),
            *((f"values of {key}", "; ".join(values)) for key, values in entry.choices.items()),
            ("models", ", ".join(document["models"]) or None),
            *([("needs", f"pip install 'tal-cli[{entry.extra}]'")] if entry.extra else []),
            *(fact for source in document["weights"] for fact in _weights_facts(source)),
            *(("note", note) for note in entry.notes),
        ]
    )


@app.command("rank", epilog="Example: tal extractors rank labels.csv videos/ -x tiny -x r3d_18")
def rank_extractors(
    annotations: Annotated[
        Path, typer.Argument(metavar="ANNOTATIONS", help="Annotations in any format that `tal datasets convert` reads.")
    ],
    inputs: Annotated[list[str], typer.Argument(metavar="VIDEOS...", help="Video files, folders or glob patterns.")],
    extractor: Annotated[
        list[str] | None,
        typer.Option(
            "--extractor",
            "-x",
            metavar="NAME",
            autocompletion=extractor_names,
            help="Extractor to compare (repeatable). Default: those whose weights are on this machine.",
        ),
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1, metavar="S", callback=finite, help="Time that comparing may take, about.")
    ] = 60.0,
    device: Device = "auto",
    format: Format = "table",
    quiet: Quiet = False,
) -> None:
    """Rank extractors by how well their features separate your labels, on excerpts of your videos, in about a minute.

    The score is the mean average precision of linear probes on videos that they were not fitted to. It tells features
    apart, not how good a detector will be. How far the others are behind the first has a standard error, over videos;
    where chance may be the reason, this is said, and the quickest is named.
    """
    from functools import partial

    from tal_cli.batch import Run
    from tal_cli.datasets.formats import load_annotations
    from tal_cli.devices import resolve_device
    from tal_cli.evaluation.extractor_ranking import rank
    from tal_cli.extractors.backbones import create_backbone
    from tal_cli.extractors.catalog import find
    from tal_cli.extractors.extraction.extractor import Extractor

    known = load_annotations(annotations).settled()
    found = gather(inputs)
    run = Run(found)
    videos = {source.name: source.path for source in found.sources if source.name in known.videos}
    if not videos:
        if found.problems:
            raise typer.Exit(run.exit_code)
        first = next(iter(known.videos), "no video")
        raise InputError(
            annotations,
            f"it has none of the {counted(len(found.sources), 'video')}, such as {found.sources[0].name}, but {first}",
            "annotate these videos, or name others",
        )
    where = resolve_device(device)
    names = list(dict.fromkeys(extractor)) if extractor else _installed()
    for name in names:
        find(name)

    def load(name: str) -> Extractor:
        return Extractor(create_backbone(name), device=where)

    with console.progress(f"comparing {counted(len(names), 'extractor')}", seconds, "s") as progress:
        ranking = rank(known, videos, {name: partial(load, name) for name in names}, seconds, progress)
    for failure in ranking.failures:
        run.report(failure, failure.path)
    for name, why in ranking.too_slow.items():
        console.warn(f"{name} is left out, since {why}: --seconds {4 * seconds:g} may suffice")
    sampled = sum(stretch.end - stretch.start for stretch in ranking.excerpts)
    count = len(ranking.excerpts)
    console.note(
        f"compared on {counted(count, 'excerpt')} ({sampled:.0f} s) of "
        f"{counted(len({stretch.video for stretch in ranking.excerpts}), 'video')}: {ranking.moments} moments"
    )
    best, tied = ranking.standings[0], [each.extractor for each in ranking.tied]
    rows = [
        {
            "extractor": each.extractor,
            "score": _told(each.score),
            "behind": _told(best.score - each.score),
            "error": _told(each.error),
            "tied": each.extractor in tied,
            "speed": sampled / each.seconds,
        }
        for each in ranking.standings
    ]
    quickest = min(ranking.tied, key=lambda each: each.pace).extractor
    if _told(best.score) is None:
        console.warn("no label occurs in two of the sampled videos: nothing can be judged")
    elif len(tied) > 1:
        console.warn(
            f"cannot tell which suits best: {', '.join(tied)} differ by no more than chance explains; label more "
            f"videos, or look at more of them with --seconds {4 * seconds:g}; the quickest of these is {quickest}"
        )
    if format == "json":
        document = {"extractors": rows, "sampled_seconds": sampled, "moments": ranking.moments}
        print_json(document | {"too_slow": dict(ranking.too_slow)})
    else:
        header = ("extractor", "score", "behind the first", "times real time")
        lines = [
            (each.extractor, _number(each.score), _behind(each, best), f"{sampled / each.seconds:.1f}")
            for each in ranking.standings
        ]
        print_table(header, lines)
    if _told(best.score) is not None:
        console.next_step("tal", "extract-features", *inputs, "--extractor", quickest)
    if run.exit_code:
        raise typer.Exit(run.exit_code)


def _told(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "-"


def _behind(each: Standing, best: Standing) -> str:
    """How far an extractor is behind the best, with the standard error."""
    return "-" if each is best else f"{_number(best.score - each.score)} ± {_number(each.error)}"


def _installed() -> list[str]:
    """Extractors that can run as they are: nothing to download, and no optional package."""
    from tal_cli.extractors.catalog import BACKBONES, weights_of
    from tal_cli.extractors.files.weights import locate

    return [
        entry.name
        for entry in BACKBONES.usable().values()
        if not entry.extra and all(locate(source) for source in weights_of(entry))
    ]


app.command("pull", epilog="Example: tal extractors pull videomaev2-b")(pull.pull)


def _document(entry: BackboneEntry, models: list[str], given: Path | None = None) -> dict[str, Any]:
    """An entry and the state of its files as JSON. Raises UsageError for a missing file."""
    from tal_cli.extractors.catalog import weights_of
    from tal_cli.extractors.files.weights import weights_sha256

    contract = asdict(entry.contract)
    if given is not None:
        if not given.is_file():
            raise UsageError(f"{given}: no such weights file")
        contract["weights_sha256"] = weights_sha256(given)
    return {
        "name": entry.name,
        "description": entry.description,
        "contract": contract,
        "settable": list(entry.settable),
        "choices": {key: list(values) for key, values in entry.choices.items()},
        "models": models,
        "weights": [_state(source) for source in weights_of(entry)],
        "extra": entry.extra,
        "notes": list(entry.notes),
    }


def _state(source: WeightsSource) -> dict[str, Any]:
    from tal_cli.extractors.files.weights import pinned, weights_path

    path = weights_path(source)
    return {**asdict(source), "path": str(path), "here": path.is_file(), "pinned_sha256": pinned(path)}


def _origin(state: dict[str, Any]) -> str:
    if package := state["package"]:
        return f"the package {package['project']} {package['version']}, where pip looks for packages"
    return state["url"] or f"no public download; request it at {state['page']}"


def _weights_facts(state: dict[str, Any]) -> list[tuple[str, str]]:
    digits = state["sha256"] or state["pinned_sha256"]
    whose = "as published" if state["sha256"] else "pinned at the first download"
    unknown = "not known" + ("; pinned at the first download" if state["url"] else "")
    return [
        ("weights", state["file"]),
        ("  from", _origin(state)),
        ("  page", state["page"]),
        ("  licence", state["licence"]),
        ("  size", f"{state['size'] / 1e6:,.0f} MB" if state["size"] else "not known"),
        ("  SHA-256", f"{digits} ({whose})" if digits else unknown),
        ("  on this machine", state["path"] if state["here"] else f"no; expected at {state['path']}"),
    ]


def _whether_here(entry: BackboneEntry) -> str:
    from tal_cli.extractors.catalog import weights_of
    from tal_cli.extractors.files.weights import locate

    sources = weights_of(entry)
    if not sources:
        return "none"
    if all(locate(source) for source in sources):
        return "here"
    return "by request" if any(not source.is_public and not locate(source) for source in sources) else "to pull"


def _users() -> dict[str, list[str]]:
    """Names of the recipes that read each extractor's features."""
    from tal_cli.models.recipe.loading import load_model_recipe, usable_recipes
    from tal_cli.models.recipe.networks import list_classifiers

    users: dict[str, list[str]] = {}
    for name, recipe in {**usable_recipes(), **{name: load_model_recipe(name) for name in list_classifiers()}}.items():
        users.setdefault(recipe.features.extractor, []).append(name)
    return users
