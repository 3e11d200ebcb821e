"""Encoder of causal state spaces and causal attention (Liu et al. 2024, CausalTAD), on rows [B, T, D].

A block is ActionMamba's, with attention beside the scan in either direction, which share their weights likewise. All of
a block's output is masked, but nothing inside of it: padding is the past of the reversed direction, so that results
depend on how far a sequence is padded, as published.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.encoders.block_pyramid import PairedPyramid
from tal_cli.models.encoders.mamba import BidirectionalMamba
from tal_cli.models.layers.common import ChannelNorm, ScaledDropPath, apply_mask, convolve_rows, max_pool_rows
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.encoders import CausalSettings


class CausalMixture(BidirectionalMamba):
    """Gated scans and gated attention to all cells before, side by side."""

    def __init__(self, width: int, settings: CausalSettings) -> None:
        super().__init__(width, state=settings.state, kernel=settings.kernel, expansion=settings.expansion, branches=2)
        inner = settings.expansion * width
        self.heads = settings.heads
        self.qkv = nn.Conv1d(inner, 3 * inner, 3, groups=inner)
        assert self.qkv.bias is not None
        nn.init.zeros_(self.qkv.bias)

    def mix(self, x: Tensor) -> Tensor:
        """Projected rows, of both directions [2 B, T, 4 E] -> [2 B, T, 2 E]."""
        scanned, seen = x.chunk(2, -1)
        values, gate = seen.chunk(2, -1)
        return torch.cat((super().mix(scanned), self._attend(values) * F.silu(gate)), -1)

    def _attend(self, x: Tensor) -> Tensor:
        """Attention of each cell of [B, T, E] to itself and those before it.

        As published, the convolution, which also reads the cell after, has three outputs for each channel, and their
        first third are the queries: all three of a third of the channels.
        """
        outputs = convolve_rows(x, self.qkv.weight, self.qkv.bias, groups=x.shape[2])
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in outputs.chunk(3, -1))
        return F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2)


class CausalBlock(nn.Module):
    """x + scale * mixture(norm(x)), then, in branch blocks, max pooling by two."""

    def __init__(self, width: int, settings: CausalSettings, *, downsample: bool, drop_path: float) -> None:
        super().__init__()
        self.downsample = downsample
        self.norm = ChannelNorm(width)
        self.mixture = CausalMixture(width, settings)
        self.drop_mix = ScaledDropPath(width, settings.branch_scale, drop_path)

    def forward(self, x: Tensor, mask: Tensor | None, mask_out: Tensor | None) -> Tensor:
        """Rows [B, T, D] with their validity, bool [B, T, 1] -> [B, T or T/2, D] with that of the output."""
        x = apply_mask(self.drop_mix.add(x, self.mixture(self.norm.rows(x))), mask)
        return apply_mask(max_pool_rows(x), mask_out) if self.downsample else x


class CausalEncoder(PairedPyramid):
    """Stem blocks at full length, then one pooling block per further level."""

    def __init__(self, config: ModelConfig, settings: CausalSettings, drop_path: float) -> None:
        super().__init__(
            *(
                [CausalBlock(config.width, settings, downsample=halved, drop_path=drop_path) for _ in range(count)]
                for halved, count in ((False, settings.stem_blocks), (True, config.levels - 1))
            )
        )
