"""Decoders: pyramid to predictions. A new one is a file here and its settings in `recipe/decoders.py`."""

from __future__ import annotations

from torch import nn

from tal_cli.extractors.plugins import load_object
from tal_cli.models.recipe.architecture import ModelConfig


def create_decoder(config: ModelConfig) -> nn.Module:
    """The decoder that the recipe names."""
    decoder: nn.Module = load_object(config.decoder.network)(config, config.decoder)
    return decoder
