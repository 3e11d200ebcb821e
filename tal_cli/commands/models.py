"""`tal models`: what there is to detect with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tal_cli.commands.tables import print_facts, print_table

if TYPE_CHECKING:
    from models.recipe import Published

app = typer.Typer(
    help="Show the models to detect with.",
    epilog="Example: tal models info camera",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@app.callback()
def _list_by_default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_models()


@app.command("list", epilog="Example: tal models list")
def list_models() -> None:
    """List the models that run now, then published ones whose weights are missing."""
    from models.zoo import available_models

    print_table(
        ("name", "runs now", "data set", "size", "licence", "published mAP", "what it is"),
        [
            (
                entry.name,
                "yes" if entry.runnable_now else "no",
                entry.dataset,
                _size(entry.size),
                entry.licence,
                _figure(entry.published),
                entry.description,
            )
            for entry in available_models()
        ],
    )


@app.command("info", epilog="Example: tal models info camera")
def info(name: Annotated[str, typer.Argument(metavar="NAME", help="A name from `tal models list`.")]) -> None:
    """Show a model's labels, the features it takes, and its card: what it was trained on and what it cannot do."""
    from models.zoo import UnknownModel, available_models

    entries = {entry.name: entry for entry in available_models()}
    if name not in entries:
        raise UnknownModel(f"no model named {name}; there are {', '.join(entries)}")
    entry = entries[name]
    recipe = entry.recipe
    print_facts(
        [
            ("name", entry.name),
            ("what it is", entry.description),
            ("source", recipe.source or None),
            ("data set", entry.dataset),
            ("licence", entry.licence),
            ("runs now", "yes" if entry.runnable_now else "no: its weights are not on this machine"),
            ("size", _size(entry.size)),
            ("published mAP", _figures(entry.published)),
            ("shown from score", recipe.inference.display_score),
            (
                "detector",
                f"{recipe.model.encoder.name} + {recipe.model.decoder.name}, {recipe.model.variant} arithmetic",
            ),
            *((f"features.{key}", value) for key, value in recipe.features.model_dump().items()),
            ("labels", _labels(entry.folder) or recipe.model.classes),
            ("weights", entry.folder),
        ]
    )
    card = entry.folder / "card.md" if entry.folder else None
    if card and card.is_file():
        print()
        print(card.read_text(encoding="utf-8").strip())


def _labels(folder: Path | None) -> str:
    return ", ".join((folder / "labels.txt").read_text(encoding="utf-8").splitlines()) if folder else ""


def _size(size: int | None) -> str:
    return "-" if size is None else f"{size / 1e6:.1f} MB"


def _figure(published: Published | None) -> str:
    return f"{published.average:.2f} %" if published else "-"


def _figures(published: Published | None) -> str | None:
    if published is None:
        return None
    details = ", ".join(f"{figure} at {tiou}" for tiou, figure in published.by_tiou.items())
    return f"{published.average:.2f} % ({published.metric})" + (f": {details}" if details else "")
