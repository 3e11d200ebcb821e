"""Weights in a released code base's names and layout to ours and back, checked against a recipe."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tal_cli.extractors.errors import CheckpointError
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import QueriesSettings, QuerySettings
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.code_bases import FAMILIES
from tal_cli.models.released.keys import KeyTable

LISTED = 5  # differences that a message lists before it counts the rest
# Code bases whose checkpoints contain an encoder. Two have the convolutional one, only TriDet has its own head.
AUTHORS = {
    "gmg": ("cltdr-gmg",),
    "sgp": ("tridet",),
    "conv": ("actionformer", "tridet"),
    "transformer": ("actionformer",),
    "max_pool": ("temporalmaxer", "pointtad"),
    "mamba": ("actionmamba",),
    "deformable": ("tadtr", "react"),
    "cascade": ("transgmc",),
    "wavelet": ("tfformer",),
    "causal": ("causaltad",),
    "dynamic_sgp": ("dyfadet",),
}


def to_released(state: Mapping[str, Tensor], config: ModelConfig) -> dict[str, Tensor]:
    """A detector's state dictionary as its authors' code names and shapes it.

    Raises CheckpointError for a combination of parts that no released code base has.
    """
    return _release(dict(state), config)[1]


def to_ours(tensors: Mapping[str, Tensor], recipe: Recipe, origin: str) -> dict[str, Tensor]:
    """Released tensors as the state dictionary of the recipe's detector.

    Raises CheckpointError that lists tensors that are missing, unknown or of another shape; `origin` names the file.
    """
    problems = differences(tensors, recipe)
    if problems:
        raise CheckpointError(f"{origin}: the weights do not fit recipe {recipe.name}: {listed(problems)}")
    table, _ = _release(_shapes_of(recipe), recipe.model)
    ours = table.translate_state(dict(tensors))
    _, back = _release(ours, recipe.model)
    changed = [key for key in tensors if table.reads(key) and not torch.equal(back[key], tensors[key])]
    if changed:  # TemporalMaxer's code stores the one norm that all levels share once per level
        raise CheckpointError(f"{origin}: {', '.join(changed[:LISTED])}: levels differ that share one norm")
    return ours


def differences(tensors: Mapping[str, Tensor], recipe: Recipe) -> list[str]:
    """Differences between released tensors and a recipe, one sentence each, missing ones first; empty if they match.

    Parameters that no computation reads may be missing.
    """
    table, expected = _release(_shapes_of(recipe), recipe.model)
    missing = [key for key in expected if key not in tensors and table.reads(key)]
    unknown = [key for key in tensors if key not in expected and not key.startswith(table.beside)]
    reshaped = [key for key in expected if key in tensors and tensors[key].shape != expected[key].shape]
    return [
        *(f"{key} is missing" for key in missing),
        *(f"{key} is unknown" for key in unknown),
        *(f"{key} is {list(tensors[key].shape)}, the recipe asks for {list(expected[key].shape)}" for key in reshaped),
    ]


def listed(problems: Sequence[str]) -> str:
    """The first differences, and how many more there are."""
    more = f"; and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
    return "; ".join(problems[:LISTED]) + more


def _shapes_of(recipe: Recipe) -> dict[str, Tensor]:
    with torch.device("meta"):
        return TemporalDetector.from_recipe(recipe).state_dict()


def _release(state: dict[str, Tensor], config: ModelConfig) -> tuple[KeyTable, dict[str, Tensor]]:
    """The code base that has all of these parameters, and the parameters under its names."""
    copies, authors = config.levels, AUTHORS.get(config.encoder.name, ())
    if config.encoder.name == "transformer" and config.padding == "cleared":
        authors = ("opentad-actionformer",)
    if isinstance(config.decoder, QueriesSettings):
        copies = config.decoder.layers
        plain = isinstance(config.decoder, QuerySettings) and not config.decoder.refine
        authors = tuple(f"{author}-plain" if plain else author for author in authors)
    for author in authors:
        try:
            return FAMILIES[author], FAMILIES[author].release_state(state, copies)
        except KeyError:
            continue
    raise CheckpointError(
        f"no released code has encoder {config.encoder.name} with decoder {config.decoder.name},"
        f" neck {config.neck.name} and variant {config.variant}"
    )
