"""Decoders: pyramid to predictions. A new one is a file here and a line in `DECODERS`."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from models.decoders.cltdr import CltdrDecoder
from models.recipe import ModelConfig, RecipeError

# name -> factory(config). The module maps levels as rows [B, T_l, D], masks (bool [B, T_l, 1] or None) and
# validity (the masks, never None) to Predictions.
DECODERS: dict[str, Callable[[ModelConfig], nn.Module]] = {"cltdr": CltdrDecoder}


def create_decoder(config: ModelConfig) -> nn.Module:
    """The decoder that the recipe names. Raises RecipeError for a name that is not registered."""
    if config.decoder not in DECODERS:
        raise RecipeError(f"model.decoder: no decoder named {config.decoder}; there are {', '.join(DECODERS)}")
    return DECODERS[config.decoder](config)
