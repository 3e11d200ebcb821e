"""Encoders: embedded features [B, D, T] to a pyramid. A new one is a file here and a line in `ENCODERS`."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from models.encoders.gmg import GmgEncoder
from models.recipe import ModelConfig, RecipeError

# name -> factory(config, drop_path). The module maps (x [B, D, T], masks: one bool [B, 1, T_l] or None per level)
# to one tensor [B, D, T_l] per level.
ENCODERS: dict[str, Callable[[ModelConfig, float], nn.Module]] = {"gmg": GmgEncoder}


def create_encoder(config: ModelConfig, drop_path: float) -> nn.Module:
    """The encoder that the recipe names. Raises RecipeError for a name that is not registered."""
    if config.encoder not in ENCODERS:
        raise RecipeError(f"model.encoder: no encoder named {config.encoder}; there are {', '.join(ENCODERS)}")
    return ENCODERS[config.encoder](config, drop_path)
