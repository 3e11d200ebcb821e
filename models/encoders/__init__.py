"""Encoders: embedded features to a pyramid. A new one is a file here, a line in `ENCODERS`, and its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from tal_cli.models.encoders.conv import ConvEncoder
from tal_cli.models.encoders.gmg import GmgEncoder
from tal_cli.models.encoders.mamba import MambaEncoder
from tal_cli.models.encoders.max_pool import MaxPoolEncoder
from tal_cli.models.encoders.sgp import SgpEncoder
from tal_cli.models.encoders.transformer import TransformerEncoder
from tal_cli.models.recipe.architecture import ModelConfig

# name -> factory(config, the encoder's own settings, drop_path). The module maps (x: rows [B, T, D], masks: one
# bool [B, T_l, 1] or None per level) to rows [B, T_l, D] per level; T is a multiple of 2 ** (levels - 1).
ENCODERS: dict[str, Callable[[ModelConfig, Any, float], nn.Module]] = {
    "gmg": GmgEncoder,
    "sgp": SgpEncoder,
    "transformer": TransformerEncoder,
    "max_pool": MaxPoolEncoder,
    "conv": ConvEncoder,
    "mamba": MambaEncoder,
}


def create_encoder(config: ModelConfig, drop_path: float) -> nn.Module:
    """The encoder that the recipe names."""
    return ENCODERS[config.encoder.name](config, config.encoder, drop_path)
