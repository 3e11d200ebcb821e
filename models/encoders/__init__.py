"""Encoders: embedded features to a pyramid. A new one is a file here and its settings in `recipe/encoders.py`."""

from __future__ import annotations

from torch import nn

from tal_cli.extractors.plugins import load_object
from tal_cli.models.recipe.architecture import ModelConfig


def create_encoder(config: ModelConfig, drop_path: float) -> nn.Module:
    """The encoder that the recipe names."""
    encoder: nn.Module = load_object(config.encoder.network)(config, config.encoder, drop_path)
    return encoder
