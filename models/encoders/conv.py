"""Convolutional encoder: the residual baseline in the published code of ActionFormer and TriDet, on rows [B, T, D]."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.encoders.block_pyramid import BlockPyramid
from tal_cli.models.layers.common import RowConv1d, apply_mask
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.encoders import ConvSettings

EXPANSION = 2  # hidden channels per channel
KERNEL = 3


class ConvBlock(nn.Module):
    """Two convolutions and a shortcut, as a basic block of a ResNet; `stride` 2 halves the length."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.conv_in = RowConv1d(width, EXPANSION * width, KERNEL, stride=stride, bias=True)
        self.conv_out = RowConv1d(EXPANSION * width, width, KERNEL, bias=True)
        self.shortcut = RowConv1d(width, width, 1, stride=stride, bias=True) if stride > 1 else None

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Rows [B, T, D] -> [B, T / stride, D]; mask is the output's validity, bool [B, ..., 1], None: all valid."""
        hidden = F.relu(apply_mask(self.conv_in(x), mask))
        skip = x if self.shortcut is None else apply_mask(self.shortcut(x), mask)
        return F.relu(apply_mask(self.conv_out(hidden), mask) + skip)


class ConvEncoder(BlockPyramid):
    """Stem blocks at full length, then one halving block per further level."""

    def __init__(self, config: ModelConfig, settings: ConvSettings, drop_path: float) -> None:
        super().__init__(
            (ConvBlock(config.width, 1) for _ in range(settings.stem_blocks)),
            (ConvBlock(config.width, 2) for _ in range(config.levels - 1)),
        )
