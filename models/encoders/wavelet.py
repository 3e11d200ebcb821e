"""Encoder of time and wavelet branches (Yang, Wei, and Zheng 2024, TFFormer), on rows [B, T, D].

Both branches are transformers with attention over everything. In the wavelet branch, and in the stem of the time
branch, queries, keys and values are made of Haar coefficients: with stride 2 the product of the low and the high ones,
else both, one after the other, as if they were one sequence in time (as released: with padding most of the high ones
are cut off). On every level each branch then attends to the other, and their product is the level. Padded keys take
part with values of zero.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.encoders.block_pyramid import BlockPyramid
from tal_cli.models.encoders.transformer import Attention, TransformerBlock
from tal_cli.models.layers.common import ChannelNorm, Dropout, ScaledDropPath, apply_mask
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.encoders import WaveletSettings

HEADS, CROSS_HEADS = 2, 4  # written into the released code


class NormalisedLinear(nn.Module):
    """Projection to queries, keys or values: norm, linear map."""

    def __init__(self, width: int, _: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.linear = nn.Linear(width, width)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, _: Tensor | None) -> Tensor:
        """Rows [B, T, D] -> [B, T, D]."""
        out: Tensor = self.linear(self.norm.rows(x))
        return out


class WaveletAttention(Attention):
    """Attention of Haar coefficients over everything."""

    def __init__(self, width: int, *, stride: int, dropout: float) -> None:
        super().__init__(width, heads=HEADS, masked_keys=False, dropout=dropout, project=NormalisedLinear)
        self.stride = stride

    def forward(self, x: Tensor, mask: Tensor | None, source: Tensor | None = None) -> Tensor:
        """Rows [B, T, D] -> [B, T / stride, D]; mask is the output's validity."""
        assert source is None
        return super().forward(apply_mask(haar(x, self.stride), mask), mask)


def haar(x: Tensor, stride: int) -> Tensor:
    """Low and high coefficients of rows [B, T, D], one after the other [B, T, D]; with stride 2 their product."""
    length = x.shape[1]
    if length % 2:
        x = F.pad(x, (0, 0, 0, 1))
    even, odd = x.unflatten(1, (-1, 2)).unbind(2)
    if stride == 2:
        return (even + odd) * (even - odd) * 0.5
    return torch.cat((even + odd, even - odd), 1)[:, :length] * 0.5**0.5


class CrossBlock(nn.Module):
    """Rows that attend to other rows, and a linear map of the sum."""

    def __init__(self, config: ModelConfig, settings: WaveletSettings) -> None:
        super().__init__()
        width = config.width
        self.attention = Attention(width, heads=CROSS_HEADS, masked_keys=False, dropout=settings.cross_dropout)
        self.norm, self.linear = ChannelNorm(width), nn.Linear(width, width)
        self.dropout = Dropout(settings.cross_dropout)
        self.drop_attention, self.drop_linear = (
            ScaledDropPath(width, settings.branch_scale, settings.cross_drop_path) for _ in range(2)
        )
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, other: Tensor, mask: Tensor | None) -> Tensor:
        """Rows [B, T, D] and others of the same shape -> [B, T, D]."""
        hidden = self.drop_attention.add(apply_mask(x, mask), self.attention(x, mask, other))
        return self.drop_linear.add(hidden, apply_mask(self.dropout(self.linear(self.norm.rows(hidden))), mask))


class WaveletEncoder(nn.Module):
    """The stem and both branches, which meet in two blocks that all levels share."""

    def __init__(self, config: ModelConfig, settings: WaveletSettings, drop_path: float) -> None:
        super().__init__()

        def block(attention: Attention, stride: int) -> TransformerBlock:
            return TransformerBlock(
                config.width,
                attention,
                stride=stride,
                branch_scale=settings.branch_scale,
                drop_path=drop_path,
                dropout=settings.dropout,
            )

        def waves(stride: int) -> TransformerBlock:
            return block(WaveletAttention(config.width, stride=stride, dropout=settings.dropout), stride)

        def cells(stride: int) -> TransformerBlock:
            attention = Attention(config.width, heads=HEADS, stride=stride, masked_keys=False, dropout=settings.dropout)
            return block(attention, stride)

        halvings = range(config.levels - 1)
        self.time = BlockPyramid((waves(1) for _ in range(settings.stem_blocks)), (cells(2) for _ in halvings))
        self.wavelets = BlockPyramid((), (waves(2) for _ in halvings))
        self.time_cross, self.wavelet_cross = (CrossBlock(config, settings) for _ in range(2))

    def forward(self, x: Tensor, masks: list[Tensor | None]) -> list[Tensor]:
        """x rows [B, T, D], masks per level (bool [B, T_l, 1], None: all valid) -> rows [B, T_l, D] per level."""
        branches = zip(*self.branches(x, masks), masks, strict=True)
        return [
            self.time_cross(time, wavelet, mask) * self.wavelet_cross(wavelet, time, mask)
            for time, wavelet, mask in branches
        ]

    def branches(self, x: Tensor, masks: list[Tensor | None]) -> tuple[list[Tensor], list[Tensor]]:
        """The levels of the time and of the wavelet branch."""
        return self.time(x, masks), self.wavelets(x, masks)
