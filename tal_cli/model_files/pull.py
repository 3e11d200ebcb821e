"""Downloads the weights of a model or an extractor by name. Imports no torch until a checkpoint is converted."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from tal_cli import console
from tal_cli.extractors import catalog
from tal_cli.extractors.catalog.flow import FLOW_WEIGHTS
from tal_cli.extractors.errors import MissingError, UnknownExtractor, UnknownModel, UsageError, did_you_mean
from tal_cli.extractors.files.weights import WeightsSource, home, locate, remedy, weights_path
from tal_cli.model_files import classifiers, released
from tal_cli.model_files.download import fetch
from tal_cli.models.recipe.networks import list_classifiers
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.store import zoo


def steps_for(name: str, *, models: bool = True) -> list[Callable[[], Path]]:
    """Downloads for a model (its extractor's weights among them), an extractor or a flow method.

    models: a name of both is the model's. Each returns the path of the downloaded file or folder, and raises
    MissingError if there is no download.

    Raises:
        UsageError: an unknown name.
    """
    if name in FLOW_WEIGHTS:
        return [partial(pull_weights, name, FLOW_WEIGHTS[name])]
    if models and name in list_classifiers():
        return [partial(pull_model, name), *steps_for_extractor_of(name)]
    try:
        sources = catalog.weights_of(catalog.find(name))
    except UnknownExtractor:
        return [partial(pull_model, name), *steps_for_extractor_of(name)]
    if not sources:
        console.note(f"{name} needs no weights")
    return [partial(pull_weights, name, source) for source in sources]


def steps_for_extractor_of(model: str) -> list[Callable[[], Path]]:
    """Downloads for a model's extractor; none if tal does not have the extractor. Raises UsageError."""
    try:
        recipe = zoo.find_model(model).recipe
    except UnknownModel as error:
        raise unknown_name(model) from error
    if isinstance(recipe, Recipe) and recipe.backbone.tunes:
        return []  # its checkpoint holds the network
    name = recipe.features.extractor
    try:
        sources = catalog.weights_of(catalog.find(name))
    except UnknownExtractor:
        console.note(f"tal has no extractor {name}: this model only works with extracted features")
        return []
    return [partial(pull_weights, name, source) for source in sources]


def pull_weights(name: str, source: WeightsSource) -> Path:
    """Download a weights file of an extractor unless it exists. Raises MissingError with all ways to get it."""
    if not source.is_public and locate(source) is None:
        raise MissingError(f"{name}: its weights cannot be downloaded", remedy(name, (source,)))
    return fetch(source, weights_path(source))


def pull_model(name: str) -> Path:
    """Download and import a model's checkpoint unless it exists; returns the model's folder.

    A classifier is taken from the weights of its network.

    Raises:
        ModelMissing: its authors publish no file that can be downloaded; the remedy says what can be done.
        DownloadError: the download failed.
        MissingError: the labels of its classes are not bundled with tal.
        CheckpointError: an invalid checkpoint.
    """
    source = zoo.weights_source(name)
    if name in list_classifiers() and source is not None and not zoo.find_model(name).runnable_now:
        return classifiers.install(name, fetch(source, weights_path(source)))
    if zoo.find_model(name).runnable_now or source is None or source.url is None:
        return zoo.resolve_model(name)
    archive = fetch(source, home() / "downloads" / source.file)
    try:
        imported = released.install(name, archive, recipe=name)
    except MissingError as error:  # the labels, which no checkpoint holds
        command = f"`tal models add {name} --recipe {name} --checkpoint {archive} --labels FILE`"
        raise MissingError(error.reason, f"the checkpoint is here; run {command}: {error.remedy}") from error
    archive.unlink()  # its hash stays pinned
    if imported.assumed_labels:
        console.note(f"class order assumed: {imported.assumed_labels}")
    return imported.folder


def unknown_name(name: str) -> UsageError:
    """The error for an unknown name; its remedy is the closest name, or the commands that list names."""
    names = [*catalog.BACKBONES, *zoo.known_names()]
    meant = did_you_mean(name, names, "see `tal models list` and `tal extractors list`")
    return UsageError(f"neither a model nor an extractor is named {name}", meant)
