"""The detector as one module: embedding, encoder, one norm per level, decoder."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from models.boundaries import Predictions
from models.decoders import create_decoder
from models.encoders import create_encoder
from models.layers import ChannelNorm, ConvEmbedding
from models.pyramid import level_masks
from models.recipe import ModelConfig, Recipe


class TemporalDetector(nn.Module):
    """Feature sequences to predictions per point and class.

    `channels` is the width of the input features, `drop_path` the rate of stochastic depth while training.
    """

    def __init__(self, config: ModelConfig, *, channels: int, drop_path: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.channels = channels
        self.embedding = ConvEmbedding(
            channels,
            config.width,
            layers=config.embedding_layers,
            kernel=config.embedding_kernel,
            table_length=config.pad_length if config.position_table else None,
        )
        self.encoder = create_encoder(config, drop_path)
        self.norms = nn.ModuleList(ChannelNorm(config.width) for _ in range(config.levels))
        self.decoder = create_decoder(config)

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> TemporalDetector:
        """A freshly initialised detector of the recipe's shape."""
        return cls(recipe.model, channels=recipe.features.channels, drop_path=recipe.training.drop_path)

    def encode(self, features_BCT: Tensor, mask_B1T: Tensor) -> list[Tensor]:
        """features [B, C, T], mask bool [B, 1, T] -> encoder output [B, D, T_l] per level, before the level norms."""
        masks = self._optional_masks(mask_B1T)
        levels: list[Tensor] = self.encoder(self.embedding(features_BCT, masks[0]), masks)
        return levels

    def forward(self, features_BCT: Tensor, mask_B1T: Tensor) -> Predictions:
        """features [B, C, T], mask bool [B, 1, T], True where a cell is valid -> Predictions.

        Raises ValueError when C is not the detector's, or T is no multiple of 2 ** (levels - 1).
        """
        multiple = 1 << (self.config.levels - 1)
        if features_BCT.shape[1] != self.channels:
            raise ValueError(f"features have {features_BCT.shape[1]} channels, the detector takes {self.channels}")
        if features_BCT.shape[2] % multiple:
            raise ValueError(f"{features_BCT.shape[2]} grid cells are not a multiple of {multiple}: pad them")
        levels = self.encode(features_BCT, mask_B1T)
        valid = [mask.transpose(1, 2) for mask in level_masks(mask_B1T, self.config.levels)]
        masks = [None] * len(valid) if bool(mask_B1T.all()) else valid
        predictions: Predictions = self.decoder(self.normalise(levels), masks, valid)
        return predictions

    def normalise(self, levels: list[Tensor]) -> list[Tensor]:
        """Encoder output [B, D, T_l] -> rows [B, T_l, D], each level under its own norm; what the decoder reads."""
        norms = (cast(ChannelNorm, norm) for norm in self.norms)
        return [norm.rows(level.transpose(1, 2)) for norm, level in zip(norms, levels, strict=True)]

    def _optional_masks(self, mask_B1T: Tensor) -> list[Tensor | None]:
        if bool(mask_B1T.all()):
            return [None] * self.config.levels
        return list(level_masks(mask_B1T, self.config.levels))
