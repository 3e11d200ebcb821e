"""Max-pooling encoder (Tang et al. 2023, TemporalMaxer): no parameters between embedding and neck."""

from __future__ import annotations

from torch import Tensor, nn

from tal_cli.models.layers.common import apply_mask, max_pool_rows
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.encoders import MaxPoolSettings


class MaxPoolEncoder(nn.Module):
    """Each level is the maximum of three neighbouring cells of the level below, at every other cell."""

    def __init__(self, config: ModelConfig, settings: MaxPoolSettings, drop_path: float) -> None:
        super().__init__()

    def forward(self, x: Tensor, masks: list[Tensor | None]) -> list[Tensor]:
        """x rows [B, T, D], masks per level (bool [B, T_l, 1], None: all valid) -> rows [B, T_l, D] per level."""
        levels = [x]
        for mask in masks[1:]:
            levels.append(apply_mask(max_pool_rows(levels[-1]), mask))
        return levels
