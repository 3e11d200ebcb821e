"""Transformer encoder with windowed attention (Zhang et al. 2022, ActionFormer, section 3.2), on rows [B, T, D].

A block: queries, keys and values each come from a depth-wise convolution (kernel 3, which also halves the length), a
norm and a linear map; attention within a window around each cell; max-pooled residual; feed-forward. Padding is zeroed
after the convolutions and in a block's output. Other encoders are made of the same parts.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.encoders.block_pyramid import BlockPyramid
from tal_cli.models.layers.common import (
    ChannelNorm,
    DepthwiseRowConv1d,
    Dropout,
    ScaledDropPath,
    apply_mask,
    max_pool_rows,
)
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.encoders import FULL, TransformerSettings

EXPANSION = 4  # hidden channels of the feed-forward per channel
NEVER = -1e4  # added to the score of a key that must not be attended to; finite, so that no row is without any key
BLOCK = 64  # queries that share one matrix product with their keys


class Projection(nn.Module):
    """Projection to queries, keys or values: depth-wise convolution, norm, linear map."""

    def __init__(self, width: int, stride: int) -> None:
        super().__init__()
        self.conv = DepthwiseRowConv1d(width, 3, stride=stride, bias=False)
        self.norm = ChannelNorm(width)
        self.linear = nn.Linear(width, width)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Rows [B, T, D] -> [B, T / stride, D]; mask is the output's validity."""
        out: Tensor = self.linear(self.normed(x, mask))
        return out

    def normed(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """What the linear map is applied to."""
        return self.norm.rows(apply_mask(self.conv(x), mask))


class Attention(nn.Module):
    """Multi-head self-attention within a window around each cell (`window` cells, odd), or over everything (-1).

    masked_keys: whether attention over everything leaves out padding; else only its values are zeroed, as others have
    published it. project: makes the projections to queries, keys and values.
    """

    def __init__(
        self,
        width: int,
        *,
        heads: int,
        window: int = FULL,
        stride: int = 1,
        relative: bool = False,
        masked_keys: bool = True,
        dropout: float = 0.0,
        project: Callable[[int, int], nn.Module] = Projection,
    ) -> None:
        super().__init__()
        self.heads, self.window, self.masked_keys = heads, window, masked_keys
        self.query, self.key, self.value = (project(width, stride) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        nn.init.zeros_(self.out.bias)
        self.positions: nn.Parameter | None = None
        if relative and window != FULL:
            self.positions = nn.Parameter(torch.zeros(heads, window))
            nn.init.trunc_normal_(self.positions, std=(2.0 / width) ** 0.5)

    def forward(self, x: Tensor, mask: Tensor | None, source: Tensor | None = None) -> Tensor:
        """Rows [B, T, D] -> [B, T / stride, D], zero at invalid cells; mask is the output's validity, [B, ..., 1].

        source: rows that keys and values are of, instead of x.
        """
        source = x if source is None else source
        q, k, v = self.query(x, mask), self.key(source, mask), self.value(source, mask)
        if not self.masked_keys and self.window == FULL:
            v = apply_mask(v, mask)
        q, k, v = (part.unflatten(2, (self.heads, -1)) for part in (q, k, v))
        if self.window == FULL:
            allowed = mask[:, None, None, :, 0] if mask is not None and self.masked_keys else None
            q, k, v = (part.transpose(1, 2) for part in (q, k, v))
            out = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed).transpose(1, 2)
        else:
            out = windowed_attention(q, k, v, self.window, mask, self.positions)
        return apply_mask(self.dropout(self.out(out.flatten(2))), mask)


def windowed_attention(
    q: Tensor, k: Tensor, v: Tensor, window: int, mask: Tensor | None, positions: Tensor | None
) -> Tensor:
    """Attention of each cell to the valid ones of the `window` around it, [B, T, H, C] each -> [B, T, H, C].

    mask: validity of keys, bool [B, T, 1] or None. positions: bias per head and position in the window, [H, window].
    Outputs at invalid cells are undefined. Blocks of neighbouring queries share one product with all keys in reach.
    """
    length, reach = q.shape[1], window // 2
    block = min(BLOCK, length)
    behind = -length % block
    blocks = (length + behind) // block
    span = block + 2 * reach
    queries = F.pad(q, (0, 0, 0, 0, 0, behind)).unflatten(1, (blocks, block)).flatten(0, 1).transpose(1, 2)
    keys, values = (
        F.pad(part, (0, 0, 0, 0, reach, reach + behind)).unfold(1, span, block).flatten(0, 1).permute(0, 1, 3, 2)
        for part in (k, v)
    )
    valid = q.new_ones(1, length, dtype=torch.bool) if mask is None else mask[..., 0]
    valid = F.pad(valid, (reach, reach + behind)).unfold(1, span, block)  # [B or 1, blocks, span]
    outside = torch.where(valid, 0.0, NEVER).expand(q.shape[0], -1, -1).flatten(0, 1)[:, None, None]
    bias = (outside + _band(block, window, positions, q.device)).to(q.dtype)
    out = F.scaled_dot_product_attention(queries, keys, values, attn_mask=bias)
    return out.transpose(1, 2).unflatten(0, (-1, blocks)).flatten(1, 2)[:, :length]


def _band(block: int, window: int, positions: Tensor | None, device: torch.device) -> Tensor:
    """Bias of the query i of a block for the key j of its span, float32 [H or 1, block, span]: indexed by its
    position j - i in the window."""
    query, key = torch.arange(block, device=device), torch.arange(block + window - 1, device=device)
    place = key - query[:, None]
    inside = (place >= 0) & (place < window)
    values = torch.zeros(1, window, device=device) if positions is None else positions.float()
    return torch.where(inside, values[:, place.clamp(0, window - 1)], NEVER)


class AttentionStage(nn.Module):
    """Pre-norm attention and what a feed-forward adds; where `stride` is 2, the skipped input is max-pooled."""

    def __init__(
        self, width: int, attention: nn.Module, *, stride: int, branch_scale: float | None, drop_path: float
    ) -> None:
        super().__init__()
        self.stride = stride
        self.norm, self.ffn_norm = ChannelNorm(width), ChannelNorm(width)
        self.attention = attention
        self.drop_attention, self.drop_ffn = (ScaledDropPath(width, branch_scale, drop_path) for _ in range(2))

    def through(self, x: Tensor, mask: Tensor | None, feed_forward: Callable[[Tensor], Tensor]) -> Tensor:
        """Rows [B, T, D] -> [B, T / stride, D]; mask is the output's validity, bool [B, ..., 1], None: all valid."""
        skip = max_pool_rows(x) if self.stride > 1 else x
        hidden = self.drop_attention.add(apply_mask(skip, mask), self.attention(self.norm.rows(x), mask))
        return self.drop_ffn.add(hidden, apply_mask(feed_forward(self.ffn_norm.rows(hidden)), mask))


class TransformerBlock(AttentionStage):
    """One pre-norm block; `stride` 2 halves the length."""

    def __init__(
        self,
        width: int,
        attention: nn.Module,
        *,
        stride: int,
        branch_scale: float | None,
        drop_path: float,
        dropout: float = 0.0,
    ) -> None:
        super().__init__(width, attention, stride=stride, branch_scale=branch_scale, drop_path=drop_path)
        self.ffn_in, self.ffn_out = gelu_layers(width)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Rows [B, T, D] -> [B, T / stride, D]; mask is the output's validity, bool [B, ..., 1], None: all valid."""
        return self.through(x, mask, lambda y: self.dropout(self.ffn_out(self.dropout(F.gelu(self.ffn_in(y))))))


def gelu_layers(width: int) -> tuple[nn.Linear, nn.Linear]:
    """The feed-forward's linear maps, from the width to `EXPANSION` times as many channels and back."""
    layers = nn.Linear(width, EXPANSION * width), nn.Linear(EXPANSION * width, width)
    for linear in layers:
        nn.init.zeros_(linear.bias)
    return layers


class TransformerEncoder(BlockPyramid):
    """Stem blocks at full length, then one halving block per further level."""

    def __init__(self, config: ModelConfig, settings: TransformerSettings, drop_path: float) -> None:
        windows = settings.level_windows(config.levels)

        def block(window: int, stride: int) -> TransformerBlock:
            attention = Attention(
                config.width,
                heads=settings.heads,
                window=window,
                stride=stride,
                relative=settings.relative_positions,
            )
            scale = settings.branch_scale
            return TransformerBlock(config.width, attention, stride=stride, branch_scale=scale, drop_path=drop_path)

        super().__init__(
            (block(windows[0], 1) for _ in range(settings.stem_blocks)), (block(window, 2) for window in windows[1:])
        )
