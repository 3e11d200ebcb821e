"""`tal models pull` and `tal extractors pull`: one command under two names."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tal_cli import console
from tal_cli.commands.options import Quiet
from tal_cli.errors import Missing, UsageProblem

if TYPE_CHECKING:
    from extractors.catalog import BackboneEntry
    from extractors.weights import WeightsSource

EXAMPLE = "Example: tal models pull thumos-videomae"


def pull(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Names from `tal models list` or `tal extractors list`.")
    ],
    quiet: Quiet = False,
) -> None:
    """Download weights: an extractor's, or a model's and those of the extractor that it needs.

    What is there already is checked and kept. A download that broke off goes on where it stopped. TAL_OFFLINE=1 or
    HF_HUB_OFFLINE=1 forbid downloads; proxies are those of the environment.
    """
    for name in names:
        for path in pull_one(name):
            print(path)


def pull_one(name: str) -> list[Path]:
    """The files that a model's or an extractor's name stands for, downloaded where they are not there.

    Raises:
        UsageProblem: neither a model nor an extractor.
        Missing: something has no public download, or could not be downloaded.
    """
    from extractors.catalog import find
    from extractors.catalog.flow import FLOW_WEIGHTS

    if name in FLOW_WEIGHTS:
        return [fetch_weights(name, FLOW_WEIGHTS[name])]
    try:
        entry = find(name)
    except ValueError:
        return pull_model(name)
    sources = sources_of(entry)
    if not sources:
        console.note(f"{name} needs no weights")
    return [fetch_weights(name, source) for source in sources]


def pull_model(name: str) -> list[Path]:
    """A model's folder, and its extractor's files; raises as `pull_one`."""
    from models.recipe import load_recipe
    from models.zoo import UnknownModel, resolve_model

    try:
        folder = resolve_model(name)
    except UnknownModel as error:
        raise UsageProblem(f"neither a model nor an extractor is named {name}", suggestion(name)) from error
    console.note(f"{name} is on this machine")
    return [folder, *pull_one(load_recipe(folder / "recipe.yaml").features.extractor)]


def suggestion(name: str) -> str:
    """What a mistyped name may have meant, or where the names are."""
    import difflib

    from extractors.catalog import ENTRIES
    from models.zoo import available_models

    names = [entry.name for entry in ENTRIES] + [entry.name for entry in available_models()]
    close = difflib.get_close_matches(name, names, 1)
    return f"did you mean {close[0]}?" if close else "see `tal models list` and `tal extractors list`"


def fetch_weights(name: str, source: WeightsSource) -> Path:
    """Raises Missing, with all ways to get the file."""
    from extractors.weights import locate, remedy, weights_path
    from tal_cli.downloads import fetch

    if source.url is None and locate(source) is None:
        raise Missing(f"{name}: its weights cannot be downloaded", remedy(name, (source,)))
    return fetch(source, weights_path(source))


def sources_of(entry: BackboneEntry) -> tuple[WeightsSource, ...]:
    """All files that an extractor loads: its networks', and its flow method's where that has weights of its own."""
    from extractors.catalog.flow import FLOW_WEIGHTS
    from extractors.preparation import Flow

    if entry.contract.flow is None:
        return entry.weights
    method = Flow.parse(entry.contract.flow).method
    return (*entry.weights, *((FLOW_WEIGHTS[method],) if method in FLOW_WEIGHTS else ()))
