"""The backbones in AdaTAD's checkpoints: the network, its adapters, and what nothing reads, kept for the way back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from tal_cli.extractors.backbones.vit.videomae import FRAMES, TRAINED_SIDE, TUBELET, sine_table
from tal_cli.extractors.errors import CheckpointError
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.code_bases.opentad import ADATAD, BACKBONE, NORMALIZER
from tal_cli.models.released.conversion import listed
from tal_cli.models.store.checkpoint import LoadedModel, WithoutInitialisation
from tal_cli.tuned import SPARE, backbone_of, outline_of

POSITIONS = f"{ADATAD}pos_embed"
NORM = f"{ADATAD}fc_norm"
SPARES = (POSITIONS, f"{NORM}.weight", f"{NORM}.bias", *NORMALIZER)


def has_backbone(tensors: Mapping[str, Tensor]) -> bool:
    """Whether a released checkpoint holds the network of its features."""
    return any(key.startswith(ADATAD) for key in tensors)


def differences(tensors: Mapping[str, Tensor], recipe: Recipe) -> list[str]:
    """Differences between the backbone of a checkpoint and that of a recipe, one sentence each; empty if they match."""
    if not recipe.backbone.tunes:
        return [f"{ADATAD}* are of a tuned backbone, and the recipe has none"]
    with WithoutInitialisation():
        tuned, _ = outline_of(recipe)
    expected = released(tuned.state_dict(), recipe)
    own = {key: value for key, value in tensors.items() if key.startswith("backbone.") and key not in SPARES}
    shapes = {key: (list(value.shape), list(own[key].shape)) for key, value in expected.items() if key in own}
    return [
        *(f"{key} is missing" for key in expected if key not in own),
        *(f"{key} is unknown" for key in own if key not in expected),
        *(f"{key} is {found}, the recipe asks for {asked}" for key, (asked, found) in shapes.items() if asked != found),
        *wrong_positions(tensors, expected),
    ]


def wrong_positions(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """A sentence if the checkpoint's table of positions is not the fixed one, which the network computes."""
    weight = expected.get(f"{ADATAD}patch_embed.projection.weight")
    if POSITIONS not in tensors or weight is None:
        return []
    table, found = positions(weight), tensors[POSITIONS]
    fits = found.shape == table.shape and bool(torch.allclose(found.float(), table, atol=1e-3))
    return [] if fits else [f"{POSITIONS} is not the fixed table of VideoMAE"]


def positions(weight: Tensor) -> Tensor:
    """The table in the file, [1, N, width], of a network with this patch layer."""
    width, patch = weight.shape[0], weight.shape[-1]
    return sine_table(FRAMES // TUBELET * (TRAINED_SIDE // patch) ** 2, width)[None]


def to_ours(tensors: Mapping[str, Tensor], recipe: Recipe, origin: str) -> dict[str, Tensor]:
    """A checkpoint's backbone as a model folder keeps it.

    Raises CheckpointError that lists tensors that are missing, unknown or of another shape.
    """
    if problems := differences(tensors, recipe):
        raise CheckpointError(f"{origin}: the weights do not fit recipe {recipe.name}: {listed(problems)}")
    own = {key: value for key, value in tensors.items() if key.startswith("backbone.") and key not in SPARES}
    with WithoutInitialisation():
        first = first_block(outline_of(recipe)[0].state_dict())
    ours = {}
    for key, value in BACKBONE.translate_state(own).items():
        part, number, rest = key.split(".", 2)
        ours[f"adapters.{int(number) + first}.{rest}" if part == "ladder" else key] = value
    return ours | {SPARE + key: tensors[key] for key in SPARES if key in tensors}


def to_released(model: LoadedModel) -> dict[str, Tensor]:
    """The backbone of a model under AdaTAD's names; raises CheckpointError for one that AdaTAD's code does not have."""
    backbone = backbone_of(model.recipe, model.backbone, f"model {model.name}")
    state = {key: value.detach() for key, value in backbone.tuned.state_dict().items()}
    try:
        theirs = released(state, model.recipe)
    except KeyError as error:
        raise CheckpointError(f"AdaTAD's code has no backbone with {error.args[0]}") from error
    width = state["network.patch_embed.proj.weight"].shape[0]
    spares = {
        POSITIONS: positions(state["network.patch_embed.proj.weight"]),
        f"{NORM}.weight": torch.ones(width),
        f"{NORM}.bias": torch.zeros(width),
    }
    kept = model.backbone.state if model.backbone else {}
    return theirs | spares | {key: kept[SPARE + key] for key in SPARES if SPARE + key in kept}


def released(state: Mapping[str, Tensor], recipe: Recipe) -> dict[str, Tensor]:
    """The state of a tuned network under AdaTAD's names. Raises KeyError for a network that its code does not have."""
    first = first_block(state)
    named = {}
    for key, value in state.items():
        part, _, rest = key.partition(".")
        number, _, name = rest.partition(".")
        beside = part == "adapters" and recipe.backbone.tuning == "side"
        named[f"ladder.{int(number) - first}.{name}" if beside else key] = value
    return BACKBONE.release_state(named, 1)


def first_block(state: Mapping[str, Tensor]) -> int:
    """The number of the first block with an adapter."""
    return min((int(key.split(".")[1]) for key in state if key.startswith("adapters.")), default=0)


def finished(recipe: Recipe, digest: str) -> Recipe:
    """The recipe of an imported model, with the features of its backbone, whose file has that SHA-256."""
    with WithoutInitialisation():
        _, contract = outline_of(recipe)
    spec = FeatureSpec.of(replace(contract, weights_sha256=digest))
    return recipe.model_copy(update={"features": spec})
