"""Deformable transformer encoder (Liu et al. 2022, TadTR, section 3.2; Zhu et al. 2021), on rows [B, T, D].

Further levels are max-pooled from the first. Every cell of every level samples all levels around its own position;
its position in time and its level are added to queries alone. A layer: attention, norm, feed-forward, norm.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tal_cli.models.layers.common import Dropout, apply_mask, max_pool_rows
from tal_cli.models.layers.deformable import DeformableAttention, sine_positions
from tal_cli.models.layers.feed_forward import FeedForward
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.encoders import DeformableSettings


class DeformableLayer(nn.Module):
    """One post-norm layer."""

    def __init__(self, width: int, levels: int, settings: DeformableSettings) -> None:
        super().__init__()
        self.attention = DeformableAttention(
            width, heads=settings.heads, levels=levels, points=settings.points, aligned=settings.aligned
        )
        self.dropout = Dropout(settings.dropout)
        self.norm = nn.LayerNorm(width)
        self.ffn = FeedForward(width, settings.ffn_width, settings.dropout)
        self.ffn_norm = nn.LayerNorm(width) if settings.last_norm else nn.Identity()

    def forward(
        self, x: Tensor, positions: Tensor | None, reference: Tensor, lengths: list[int], mask: Tensor | None
    ) -> Tensor:
        """Rows of all levels and their positions [B, S, D], references [B, S, 1] -> [B, S, D]."""
        query = x if positions is None else x + positions
        x = self.norm(x + self.dropout(self.attention(query, reference, x, lengths, mask)))
        out: Tensor = self.ffn_norm(x + self.ffn(x))
        return out


class DeformableEncoder(nn.Module):
    """Layers over all levels at once."""

    def __init__(self, config: ModelConfig, settings: DeformableSettings, drop_path: float) -> None:
        super().__init__()
        self.level_embed = nn.Parameter(torch.randn(config.levels, config.width)) if settings.positions else None
        self.layers = nn.ModuleList(
            DeformableLayer(config.width, config.levels, settings) for _ in range(settings.layers)
        )

    def forward(self, x: Tensor, masks: list[Tensor | None]) -> list[Tensor]:
        """x rows [B, T, D], masks per level (bool [B, T_l, 1], None: all valid) -> rows [B, T_l, D] per level."""
        levels = [x]
        for mask in masks[1:]:
            levels.append(apply_mask(max_pool_rows(levels[-1]), mask))
        lengths = [level.shape[1] for level in levels]
        known = [mask for mask in masks if mask is not None]
        positions = self._positions(levels, known)
        centres = [(torch.arange(length, device=x.device) + 0.5) / length for length in lengths]
        reference = torch.cat(centres)[None, :, None]
        rows, mask = torch.cat(levels, 1), torch.cat(known, 1) if known else None
        for layer in self.layers:
            rows = layer(rows, positions, reference, lengths, mask)
        return list(rows.split(lengths, 1))

    def _positions(self, levels: list[Tensor], known: list[Tensor]) -> Tensor | None:
        """Position and level of the cells of all levels [B, S, D]; known: their validity, empty if all are valid."""
        if self.level_embed is None:
            return None
        valid = known or [torch.ones_like(level[:, :, :1], dtype=torch.bool) for level in levels]
        width, kind = levels[0].shape[2], levels[0].dtype
        tables = zip(valid, self.level_embed, strict=True)
        return torch.cat([sine_positions(mask, width).to(kind) + own for mask, own in tables], 1)
