"""`tal extractors`: which backbones there are, and under which contract each makes features."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated

import typer

from tal_cli.commands.options import WeightsFile
from tal_cli.commands.tables import print_facts, print_table

app = typer.Typer(
    help="Show the backbones that make features.",
    epilog="Example: tal extractors info tiny",
    invoke_without_command=True,
    rich_markup_mode=None,
)


@app.callback()
def _list_by_default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        list_extractors()


@app.command("list", epilog="Example: tal extractors list")
def list_extractors() -> None:
    """List the extractors."""
    from extractors.backbones import list_backbones

    rows = [(entry.name, "needed" if entry.needs_weights else "none", entry.description) for entry in list_backbones()]
    print_table(("name", "weights", "what it is"), rows)


@app.command("info", epilog="Example: tal extractors info tiny")
def info(
    name: Annotated[str, typer.Argument(metavar="NAME", help="An extractor's name.")],
    weights: WeightsFile = None,
) -> None:
    """Show the contract that an extractor makes features under."""
    from tal_cli.backbones import make_backbone

    contract = make_backbone(name, weights=weights).contract
    print_facts([(field.name, getattr(contract, field.name)) for field in fields(contract)])
