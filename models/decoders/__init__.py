"""Decoders: pyramid to predictions. A new one is a file here, a line in `DECODERS`, and its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from tal_cli.models.decoders.actionformer import ActionformerDecoder
from tal_cli.models.decoders.cltdr import CltdrDecoder
from tal_cli.models.decoders.trident import TridentDecoder
from tal_cli.models.recipe.architecture import ModelConfig

# name -> factory(config, the decoder's own settings). The module maps levels as rows [B, T_l, D], masks (bool
# [B, T_l, 1], or None where all is valid) and validity (the masks, never None) to Predictions.
DECODERS: dict[str, Callable[[ModelConfig, Any], nn.Module]] = {
    "cltdr": CltdrDecoder,
    "actionformer": ActionformerDecoder,
    "trident": TridentDecoder,
}


def create_decoder(config: ModelConfig) -> nn.Module:
    """The decoder that the recipe names."""
    return DECODERS[config.decoder.name](config, config.decoder)
