"""Scalable-Granularity Perception encoder (Shi et al. 2023, TriDet, section 3.2), on rows [B, T, D].

A block: p = pooled input, n = channel norm of p; fc * ReLU(FC(mean over time of n)) + (window + wide) * gate + n, all
depth-wise, the means over padding too, as published; residual, group norm, feed-forward. The stem's windows are 1.
Padding is zeroed only in the residual, not in the branches' outputs. DyFADet (Yang et al. 2024): ReLU(window + wide).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.encoders.block_pyramid import BlockPyramid
from tal_cli.models.layers.common import (
    ChannelNorm,
    DepthwiseRowConv1d,
    RowGroupNorm,
    ScaledDropPath,
    apply_mask,
    depthwise_rows,
    max_pool_rows,
)
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.encoders import NORM_GROUPS, SgpSettings


class AveragePool(nn.Module):
    """Means of two cells and a linear map: the published alternative to max pooling."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Rows [B, T, D] -> [B, T / 2, D]."""
        return self.linear(x.unflatten(1, (-1, 2)).mean(2))


class MaxPool(nn.Module):
    """Maximum of three cells, every other cell."""

    def __init__(self, width: int) -> None:
        super().__init__()

    def forward(self, x: Tensor) -> Tensor:
        """Rows [B, T, D] -> [B, T / 2, D]."""
        return max_pool_rows(x)


POOLS: dict[str, type[nn.Module]] = {"max": MaxPool, "avg": AveragePool}


class SgpBlock(nn.Module):
    """One SGP block; `pool` halves the length first."""

    def __init__(
        self, config: ModelConfig, settings: SgpSettings, *, window: int, pool: nn.Module, drop_path: float
    ) -> None:
        super().__init__()
        width = config.width
        downsample = not isinstance(pool, nn.Identity)
        self.pool = pool
        self.rectified = settings.rectified
        self.norm = ChannelNorm(width)
        self.gate, self.local = DepthwiseRowConv1d(width, window), DepthwiseRowConv1d(width, window)
        self.wide = DepthwiseRowConv1d(width, settings.wide_kernel(window))
        self.instant, self.context = DepthwiseRowConv1d(width, 1), DepthwiseRowConv1d(width, 1)
        self.ffn_norm = RowGroupNorm(NORM_GROUPS, width)
        self.ffn_in = nn.Linear(width, settings.mlp_width)
        self.ffn_out = nn.Linear(settings.mlp_width, width)
        scale, rate = (settings.branch_scale, drop_path) if downsample else (None, 0.0)
        self.drop_mix, self.drop_ffn = ScaledDropPath(width, scale, rate), ScaledDropPath(width, scale, rate)
        for conv in (self.gate, self.local, self.wide, self.instant, self.context):
            nn.init.normal_(conv.weight, 0, settings.conv_init_std)
        for module in (self.gate, self.local, self.wide, self.instant, self.context, self.ffn_in, self.ffn_out):
            assert module.bias is not None
            nn.init.zeros_(module.bias)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Rows [B, T, D] -> [B, T or T/2, D]; mask is the output's validity, bool [B, ..., 1], None: all valid."""
        x = self.pool(x)
        hidden = self.drop_mix.add(apply_mask(x, mask), self._mix(self.norm.rows(x)))
        return self.drop_ffn.add(hidden, self.ffn_out(F.gelu(self.ffn_in(self.ffn_norm(hidden)))))

    def _mix(self, x: Tensor) -> Tensor:
        instant, local, wide = self.instant, self.local, self.wide
        assert instant.bias is not None and local.bias is not None and wide.bias is not None
        context = F.relu(self.context(x.mean(1, keepdim=True)))
        # fc * context + n: one factor and one summand per channel and video
        factor = 1 + context * instant.weight[:, 0, 0].to(x.dtype)
        near = torch.addcmul(context * instant.bias.to(x.dtype), x, factor)
        # window + wide: one convolution whose kernel is the sum of both
        reach = (wide.kernel_size[0] - local.kernel_size[0]) // 2
        far = depthwise_rows(x, wide.weight + F.pad(local.weight, (reach, reach)), wide.bias + local.bias)
        return torch.addcmul(near, F.relu(far) if self.rectified else far, self.gate(x))


class SgpEncoder(BlockPyramid):
    """Stem blocks at full length, then one pooling block per further level."""

    def __init__(self, config: ModelConfig, settings: SgpSettings, drop_path: float) -> None:
        windows = settings.level_windows(config.levels)
        pool = POOLS[settings.downsample]
        super().__init__(
            (
                SgpBlock(config, settings, window=1, pool=nn.Identity(), drop_path=drop_path)
                for _ in range(settings.stem_blocks)
            ),
            (
                SgpBlock(config, settings, window=window, pool=pool(config.width), drop_path=drop_path)
                for window in windows[1:]
            ),
        )
