"""The detector as one module: embedding, encoder, neck, decoder."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tal_cli.models.decoders import create_decoder
from tal_cli.models.encoders import create_encoder
from tal_cli.models.layers.common import ChannelNorm, ConvEmbedding, Dropout, LinearEmbedding, ScaledDropPath
from tal_cli.models.layers.neck import apply_norms, create_neck, create_norms
from tal_cli.models.layers.pyramid import level_masks
from tal_cli.models.layers.shared_random import BatchPart
from tal_cli.models.predictions import Predictions
from tal_cli.models.recipe.architecture import EMBEDDING_GROUPS, ModelConfig
from tal_cli.models.recipe.schema import Recipe


def create_embedding(config: ModelConfig, channels: int) -> nn.Module:
    """The module that brings features of that many channels to the model's width."""
    if config.embedding != "convolutions":
        groups = EMBEDDING_GROUPS if config.embedding == "linear-group" else None
        return LinearEmbedding([part for part, _ in config.streams] or [channels], config.width, groups)
    return ConvEmbedding(
        channels,
        config.width,
        layers=config.embedding_layers,
        kernel=config.embedding_kernel,
        table_length=config.pad_length if config.position_table else None,
        streams=config.streams,
        cleared=config.padding == "cleared",
    )


class TemporalDetector(nn.Module):
    """Feature sequences to predictions per point and class.

    `channels` is the width of the input features, `drop_path` the rate of stochastic depth while training.
    """

    def __init__(self, config: ModelConfig, *, channels: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.channels = channels
        self.embedding = create_embedding(config, channels)
        self.encoder = create_encoder(config, drop_path)
        self.neck = create_neck(config)
        self.norms = create_norms(config)
        self.decoder = create_decoder(config)
        self.part: BatchPart | None = None
        own = config.norm_epsilon if config.encoder_epsilon is None else config.encoder_epsilon
        for part, epsilon in ((self, config.norm_epsilon), (self.encoder, own)):
            for module in part.modules():
                if isinstance(module, ChannelNorm | nn.GroupNorm):
                    module.eps = epsilon

    def take_part(self, part: BatchPart | None) -> None:
        """Later forward passes take a part of a batch: random numbers are sampled for the full batch and sliced."""
        self.part = part
        for module in self.modules():
            if isinstance(module, ScaledDropPath | Dropout):
                module.part = part

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> TemporalDetector:
        """A freshly initialised detector of the recipe's shape."""
        return cls(recipe.model, channels=recipe.features.channels, drop_path=recipe.training.drop_path)

    def forward(self, rows_BTC: Tensor, mask_BT: Tensor) -> Predictions:
        """Features [B, T, C] and their validity, bool [B, T] -> Predictions.

        Raises ValueError when C is not the detector's, or T is no multiple of 2 ** (levels - 1).
        """
        multiple = 1 << (self.config.levels - 1)
        if rows_BTC.shape[2] != self.channels:
            raise ValueError(f"features have {rows_BTC.shape[2]} channels, the detector takes {self.channels}")
        if rows_BTC.shape[1] % multiple:
            raise ValueError(f"{rows_BTC.shape[1]} grid cells are not a multiple of {multiple}: pad them")
        valid, masks = self._masks(mask_BT)
        levels = self.mix(self.encoder(self.embedding(rows_BTC, masks[0]), masks), masks)
        predictions: Predictions = self.decoder(levels, masks, valid)
        return predictions

    def encode(self, rows_BTC: Tensor, mask_BT: Tensor) -> list[Tensor]:
        """Features [B, T, C], mask bool [B, T] -> encoder output [B, T_l, D] per level, before the neck."""
        _, masks = self._masks(mask_BT)
        levels: list[Tensor] = self.encoder(self.embedding(rows_BTC, masks[0]), masks)
        return levels

    def mix(self, levels: list[Tensor], masks: list[Tensor | None]) -> list[Tensor]:
        """Encoder output, rows [B, T_l, D] -> rows after neck and norms: what the decoder reads."""
        if self.neck is not None:
            levels = self.neck(levels, masks)
        return apply_norms(self.norms, levels)

    def _masks(self, mask_BT: Tensor) -> tuple[list[Tensor], list[Tensor | None]]:
        """Validity per level, bool [B, T_l, 1]; and the same to mask with, None where nothing needs masking."""
        if self.config.padding == "zeros":
            mask_BT = torch.ones_like(mask_BT)
        valid = level_masks(mask_BT, self.config)
        # Looking at values would break a compiled graph in two.
        whole = not torch.compiler.is_compiling() and bool(mask_BT.all())
        return valid, [None] * len(valid) if whole else list(valid)
