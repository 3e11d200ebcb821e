"""`tal models pull` and `tal extractors pull`: one command under two names."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tal_cli import console
from tal_cli.commands.options import Quiet
from tal_cli.commands.printing import print_path
from tal_cli.error_report import exit_code_of
from tal_cli.extractors.errors import EXIT_MISSING, MissingError, UnknownExtractor, UsageError, did_you_mean

if TYPE_CHECKING:
    from tal_cli.extractors.catalog.entry import BackboneEntry
    from tal_cli.extractors.files.weights import WeightsSource

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
    failed: list[Exception] = []
    for step in [step for name in names for step in steps_for(name)]:
        try:
            print_path(step())
        except Exception as error:
            if exit_code_of(error) != EXIT_MISSING:
                raise
            failed.append(error)
    for problem in failed[:-1]:
        console.error(str(problem))
        if remedy := getattr(problem, "remedy", ""):
            console.hint(remedy)
    if failed:
        raise failed[-1]


def steps_for(name: str) -> list[Callable[[], Path]]:
    """What is to be done for a name, each step giving a path and raising Missing where it cannot.

    Raises:
        UsageError: neither a model nor an extractor has that name.
    """
    from tal_cli.extractors.catalog import find
    from tal_cli.extractors.catalog.flow import FLOW_WEIGHTS
    from tal_cli.extractors.errors import UnknownModel
    from tal_cli.models.store.zoo import find_model

    if name in FLOW_WEIGHTS:
        return [partial(fetch_weights, name, FLOW_WEIGHTS[name])]
    try:
        entry = find(name)
    except UnknownExtractor:
        try:
            extractor = find_model(name).recipe.features.extractor
        except UnknownModel as error:
            raise UsageError(f"neither a model nor an extractor is named {name}", suggestion(name)) from error
        return [partial(pull_model, name), *extractor_steps(extractor)]
    sources = sources_of(entry)
    if not sources:
        console.note(f"{name} needs no weights")
    return [partial(fetch_weights, name, source) for source in sources]


def extractor_steps(name: str) -> list[Callable[[], Path]]:
    """What is to be done for the extractor that a model names, which may be one that only others have."""
    from tal_cli.extractors.catalog import find

    try:
        entry = find(name)
    except UnknownExtractor:
        console.note(f"tal has no extractor {name}: this model takes ready-made features only")
        return []
    return [partial(fetch_weights, name, source) for source in sources_of(entry)]


def pull_model(name: str) -> Path:
    """A model's folder, its checkpoint downloaded and imported unless it is there.

    Raises:
        ModelMissing: its authors publish no file that can be downloaded; it says what can be done.
        DownloadError: theirs could not be had.
        MissingError: the labels of its classes do not travel with tal.
        CheckpointError: the file is not what it should be.
    """
    from tal_cli.model_files.download import fetch
    from tal_cli.model_files.released import install
    from tal_cli.models.store.zoo import find_model, home, resolve_model, weights_source

    source = weights_source(name)
    if find_model(name).runnable_now or source is None or source.url is None:
        return resolve_model(name)
    archive = fetch(source, home() / "downloads" / source.file)
    try:
        imported = install(name, archive, recipe=name)
    except MissingError as error:  # the labels, which stand in no checkpoint
        command = f"`tal models add {name} --recipe {name} --checkpoint {archive} --labels FILE`"
        raise MissingError(error.reason, f"the checkpoint is here; run {command}: {error.remedy}") from error
    archive.unlink()  # its hash stays pinned
    if imported.assumed_labels:
        console.note(f"class order assumed: {imported.assumed_labels}")
    return imported.folder


def suggestion(name: str) -> str:
    """What a mistyped name may have meant, or where the names are."""
    from tal_cli.extractors.catalog import BACKBONES
    from tal_cli.models.store.zoo import available_models

    names = [*BACKBONES] + [entry.name for entry in available_models()[0]]
    return did_you_mean(name, names, "see `tal models list` and `tal extractors list`")


def fetch_weights(name: str, source: WeightsSource) -> Path:
    """Raises MissingError, with all ways to get the file."""
    from tal_cli.extractors.files.weights import locate, remedy, weights_path
    from tal_cli.model_files.download import fetch

    if source.url is None and locate(source) is None:
        raise MissingError(f"{name}: its weights cannot be downloaded", remedy(name, (source,)))
    return fetch(source, weights_path(source))


def sources_of(entry: BackboneEntry) -> tuple[WeightsSource, ...]:
    """All files that an extractor loads: its networks', and its flow method's where that has weights of its own."""
    from tal_cli.extractors.catalog.flow import FLOW_WEIGHTS
    from tal_cli.extractors.features.preprocessing_spec import Flow

    if entry.contract.flow is None:
        return entry.weights
    method = Flow.parse(entry.contract.flow).method
    return (*entry.weights, *((FLOW_WEIGHTS[method],) if method in FLOW_WEIGHTS else ()))
