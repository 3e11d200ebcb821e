"""Models that need no training: the last layer of an action recognition network, taken from its weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tal_cli.extractors import catalog
from tal_cli.extractors.errors import CheckpointError
from tal_cli.extractors.files.atomic import folder_written_atomically, write_atomically
from tal_cli.extractors.files.weights import read_state
from tal_cli.models.recipe.classifier import ClassifierRecipe
from tal_cli.models.recipe.loading import load_model_recipe
from tal_cli.models.recipe.networks import CLASSIFIERS, classifier_card
from tal_cli.models.store.zoo import installed_folder


def kinetics_400() -> tuple[str, ...]:
    """The classes of Kinetics-400 in the order of published networks."""
    from torchvision.models.video import R3D_18_Weights

    return tuple(R3D_18_Weights.KINETICS400_V1.meta["categories"])


def kinetics_710() -> tuple[str, ...]:
    """The classes of Kinetics-710 (400, 600 and 700 joined) in the order of VideoMAE V2's published networks."""
    return tuple((CLASSIFIERS / "kinetics-710.txt").read_text(encoding="utf-8").splitlines())


CLASS_NAMES: dict[str, Callable[[], tuple[str, ...]]] = {
    "kinetics-400": kinetics_400,
    "kinetics-710": kinetics_710,
    "transitions": lambda: ("cut", "gradual"),
}


def install(name: str, weights: Path) -> Path:
    """Make the model of one of `list_classifiers` from its network's weights file; returns the model's folder.

    Raises CheckpointError: the weights have no such classifier.
    """
    from tal_cli.models.store.checkpoint import save_classifier

    recipe = load_model_recipe(name)
    assert isinstance(recipe, ClassifierRecipe)
    classifier = catalog.find(recipe.features.extractor).classifier
    assert classifier is not None
    layer, state = classifier.layer, read_state(weights)
    try:
        weight, bias = state[f"{layer}.weight"], state[f"{layer}.bias"]
    except KeyError as error:
        raise CheckpointError(f"{weights}: it has no classifier: {error.args[0]} is missing") from None
    folder = installed_folder(name)
    with folder_written_atomically(folder) as partial:
        names = CLASS_NAMES[recipe.classifier.class_names]()
        save_classifier(partial, recipe, names, weight.float().flatten(1), bias.float())
        write_atomically(partial / "card.md", classifier_card(name).encode())
    return folder
