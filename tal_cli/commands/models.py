"""`tal models`: lists, imports, downloads, removes and exports models."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tal_cli import console
from tal_cli.commands import pull
from tal_cli.commands.completion import model_names, recipe_names
from tal_cli.commands.options import Overwrite, Quiet
from tal_cli.commands.printing import print_facts, print_path, print_table
from tal_cli.extractors.errors import UsageError
from tal_cli.safe_text import printable

if TYPE_CHECKING:
    from tal_cli.models.recipe.schema import Published
    from tal_cli.models.store.zoo import ModelEntry

Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=model_names, help="A name from `tal models list`.")]

app = typer.Typer(
    help="Show, import, download, remove and export models.",
    epilog="Example: tal models add thumos --checkpoint epoch_057.pth.tar",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@app.callback()
def _list_by_default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_models()


@app.command("list", epilog="Example: tal models list")
def list_models() -> None:
    """List the available models, then published ones whose weights are missing."""
    from tal_cli.models.store.zoo import available_models

    entries, problems = available_models()
    print_table(
        ("name", "available", "downloadable", "dataset", "size", "licence", "published mAP", "description"),
        [
            (
                entry.name,
                "yes" if entry.runnable_now else "no",
                "yes" if entry.weights and entry.weights.is_public else "no",
                entry.dataset,
                _size(entry.size),
                entry.licence,
                _figure(entry.published),
                entry.description,
            )
            for entry in entries
        ],
        optional=("available", "published mAP", "size", "licence", "downloadable", "dataset"),
    )
    for problem in problems:
        console.warn(f"skipped: {problem}")


@app.command("info", epilog="Example: tal models info camera")
def info(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME|PATH", autocompletion=model_names, help="A model's name, its folder, or a run."),
    ],
) -> None:
    """Show a model's labels, feature contract and card: training data and limits."""
    from tal_cli.models.store.zoo import find_model

    entry = find_model(name)
    recipe = entry.recipe
    print_facts(
        [
            ("name", entry.name),
            ("description", entry.description),
            ("source", recipe.source or None),
            ("dataset", entry.dataset),
            ("licence", entry.licence),
            ("available", "yes" if entry.runnable_now else "no: its weights are not on this machine"),
            ("size", _size(entry.size)),
            ("published weights", _published_weights(entry)),
            ("published mAP", _figures(entry.published)),
            ("display score", _display_score(recipe.inference.display_score)),
            ("detector", _architecture(entry)),
            *((f"features.{key}", value) for key, value in recipe.features.model_dump().items()),
            ("labels", _labels(entry)),
            *(("cannot", limit) for limit in _limits(entry)),
            ("weights", entry.folder),
        ]
    )
    card = entry.folder / "card.md" if entry.folder else None
    if card and card.is_file():
        print()
        print("\n".join(map(printable, card.read_text(encoding="utf-8", errors="replace").strip().splitlines())))


@app.command("add", epilog="Example: tal models add thumos --checkpoint epoch_057.pth.tar")
def add(
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=recipe_names, help="Name for the model.")],
    checkpoint: Annotated[
        Path,
        typer.Option(
            metavar="FILE", help="Checkpoint of a published code base, see docs/how-to/released-checkpoints.md."
        ),
    ],
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE.yaml",
            autocompletion=recipe_names,
            help="Recipe. Default: inferred from NAME and the shapes of the weights.",
        ),
    ] = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Labels in class order, one per line (or EPIC-KITCHENS' CSV of classes). Default: the usual order of "
            "the data set: alphabetical for THUMOS14, ActivityNet and HACS, by number for MultiTHUMOS.",
        ),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Import a released checkpoint. It is read as plain data: nothing in it is executed.

    Averaged (EMA) weights are preferred. Checkpoints do not contain class names, so the usual order of the data set is
    assumed unless --labels is given.
    """
    from tal_cli.model_files.released import install

    imported = install(name, checkpoint, recipe=recipe, labels=labels, overwrite=overwrite)
    console.note(f"recipe {imported.recipe.name}: {imported.recipe.description}")
    if imported.recipe.licence:
        console.note(f"licence of the weights: {imported.recipe.licence}")
    if imported.assumed_labels:
        console.note(f"class order assumed: {imported.assumed_labels}")
    print_path(imported.folder)


app.command("pull", epilog=pull.EXAMPLE)(pull.pull)


@app.command("remove", epilog="Example: tal models remove thumos")
def remove(
    name: Annotated[
        str, typer.Argument(metavar="NAME", autocompletion=model_names, help="Model that was added or pulled.")
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask for confirmation.")] = False,
    quiet: Quiet = False,
) -> None:
    """Remove an imported or downloaded model from this machine. Bundled models cannot be removed."""
    from tal_cli.model_files.released import removable_folder, uninstall

    folder = removable_folder(name)
    if not yes:
        try:
            typer.confirm(f"Remove {folder}?", abort=True, err=True)
        except typer.Abort as error:
            if isinstance(error.__context__, EOFError):
                typer.echo(err=True)
                raise UsageError(
                    f"no answer to the question whether to remove {folder}", "use --yes to remove it without asking"
                ) from None
            raise
    uninstall(name)
    console.note(f"removed {folder}")


@app.command("export-released", epilog="Example: tal models export-released thumos -o thumos.pth.tar")
def export_released(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME|PATH", autocompletion=model_names, help="A model's name, its folder, or a run of `tal train`."
        ),
    ],
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", hidden=True)] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.pth.tar", help="Output file. Default: the model's name.pth.tar."),
    ] = None,
    overwrite: Overwrite = False,
    quiet: Quiet = False,
) -> None:
    """Write a model in the checkpoint format of its authors' code, for their evaluation scripts.

    The file also contains the recipe and the labels, so that `tal models add` can read it back.
    """
    from tal_cli.model_files.released import export_released as write

    target = output or file or Path(f"{Path(name).name}.pth.tar")
    write(name, target, overwrite=overwrite)
    console.note(f"wrote {target}")


def _architecture(entry: ModelEntry) -> str:
    from tal_cli.models.recipe.classifier import ClassifierRecipe

    if isinstance(entry.recipe, ClassifierRecipe):
        return f"none: a classifier of windows, {entry.recipe.classifier.classes} classes"
    model = entry.recipe.model
    return f"{model.encoder.name} + {model.decoder.name}, {model.levels} levels, {model.variant} variant"


def _display_score(score: float | dict[str, float]) -> str:
    return f"{score:g}" if isinstance(score, float) else ", ".join(f"{label} {each:g}" for label, each in score.items())


def _labels(entry: ModelEntry) -> str:
    from tal_cli.models.recipe.classifier import ClassifierRecipe

    if isinstance(entry.recipe, ClassifierRecipe):
        if groups := entry.recipe.groups:
            return ", ".join(groups)
        if entry.folder is None:
            return f"{entry.recipe.classifier.classes}, those of {entry.recipe.classifier.class_names}"
    elif entry.folder is None:
        from tal_cli.datasets.catalog import BENCHMARKS

        benchmark = BENCHMARKS.get(entry.dataset)
        names = benchmark.label_names if benchmark else ()
        count = entry.recipe.model.classes
        return ", ".join(names) if len(names) == count else f"{count}, named when its weights are added"
    return ", ".join((entry.folder / "labels.txt").read_text(encoding="utf-8").splitlines())


def _limits(entry: ModelEntry) -> list[str]:
    """Limits that follow from the recipe; those found by measurement are in the card."""
    from tal_cli.extractors.catalog import BACKBONES
    from tal_cli.models.recipe.schema import Recipe

    recipe, features = entry.recipe, entry.recipe.features
    limits = ["find anything but its labels, or report that a video contains none of them"]
    if isinstance(recipe, Recipe) and recipe.model.classes == 1:
        limits = ["label actions: it proposes segments, which a video-level classifier has to label"]
    if features.extractor not in BACKBONES:
        limits.append(
            f"read video files: tal has no extractor named {features.extractor}, only extracted features work"
        )
    limits.append(f"take features other than {features.extractor}'s ({features.channels} channels)")
    return limits


def _published_weights(entry: ModelEntry) -> str | None:
    if entry.weights is None:
        return None
    where = f"`tal models pull {entry.name}`" if entry.weights.is_public else "manual download, then `tal models add`"
    return f"{entry.weights.page} ({where})"


def _size(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.1f} MB"


def _figure(published: Published | None) -> str:
    return f"{published.average:.2f} %" if published else "-"


def _figures(published: Published | None) -> str | None:
    if published is None:
        return None
    details = ", ".join(f"{figure} at {tiou}" for tiou, figure in published.by_tiou.items())
    return f"{published.average:.2f} % ({published.metric})" + (f": {details}" if details else "")
