"""Cascade of channel, global and local attention (Yang et al. 2024, TransGMC), on rows [B, T, D].

A block has three stages in series, each as in ActionFormer and with norms and scales of its own, and one feed-forward
that all three share. The stages of channels and of all cells run at the length of the input; the local one halves it.
Two things are as in the released code, whose results therefore depend on how far a sequence is padded: padded keys take
part in global attention with values of zero; and channel attention's output [T, D] is read from memory as [D, T].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.encoders.block_pyramid import PairedPyramid
from tal_cli.models.encoders.transformer import Attention, AttentionStage, Projection, gelu_layers
from tal_cli.models.layers.common import Dropout, apply_mask
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.encoders import CascadeSettings

NOTHING = 1e-30  # smaller weights are 0: denormal numbers would slow the product several times


def plain_scores(query: Projection, key: Projection, x: Tensor, mask: Tensor | None) -> Tensor:
    """The products of all channels of queries and keys of rows [B, T, D], over all cells: [B, D, D]."""
    return query(x, mask).transpose(1, 2) @ key(x, mask)


def channel_scores(query: Projection, key: Projection, x: Tensor, mask: Tensor | None) -> Tensor:
    """The same: where there are more cells than channels, it is less work to map the products than the rows."""
    q, k = query.normed(x, mask), key.normed(x, mask)
    products, total_q, total_k = q.transpose(1, 2) @ k, q.sum(1), k.sum(1)  # [B, D, D], [B, D]
    half = query.linear.weight @ products + query.linear.bias[:, None] * total_k[:, None]
    rest = F.linear(total_q, query.linear.weight, query.linear.bias * x.shape[1])
    return F.linear(half, key.linear.weight) + rest[..., None] * key.linear.bias


def mapped_first(value: Projection, weights: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
    """Values of rows [B, T, D], each channel the sum of all by its weights [B, D, D]: [B, T, D]."""
    return value(x, mask) @ weights.transpose(1, 2)


def mapped_last(value: Projection, weights: Tensor, x: Tensor, mask: Tensor | None) -> Tensor:
    """The same, with less work where there are more cells than channels."""
    both = weights @ value.linear.weight
    return torch.baddbmm((weights @ value.linear.bias)[:, None], value.normed(x, mask), both.transpose(1, 2))


class ChannelAttention(nn.Module):
    """Attention of each channel to all channels, over all cells."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.query, self.key, self.value = (Projection(width, 1) for _ in range(3))
        self.out = nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Rows [B, T, D] -> [B, T, D], zero at invalid cells."""
        long = x.shape[1] > x.shape[2]
        scores = (channel_scores if long else plain_scores)(self.query, self.key, x, mask)
        weights = torch.softmax(scores * x.shape[2] ** -0.5, -1)
        weights = torch.where(weights < NOTHING, 0.0, weights)
        mixed = apply_mask((mapped_last if long else mapped_first)(self.value, weights, x, mask), mask)  # [B, T, D]
        scrambled = mixed.reshape(len(x), x.shape[2], x.shape[1]).transpose(1, 2)
        return apply_mask(self.dropout(self.out(scrambled)), mask)


class CascadeBlock(nn.Module):
    """One block; `stride` 2 halves the length."""

    def __init__(
        self, config: ModelConfig, settings: CascadeSettings, *, window: int, stride: int, drop_path: float
    ) -> None:
        super().__init__()
        width = config.width
        attentions: tuple[tuple[nn.Module, int], ...] = (
            (ChannelAttention(width, settings.dropout), 1),
            (Attention(width, heads=1, masked_keys=False, dropout=settings.dropout), 1),
            (
                Attention(
                    width,
                    heads=settings.heads,
                    window=window,
                    stride=stride,
                    relative=settings.relative_positions,
                    masked_keys=False,
                    dropout=settings.dropout,
                ),
                stride,
            ),
        )
        self.channel, self.whole, self.local = (
            AttentionStage(width, part, stride=step, branch_scale=settings.branch_scale, drop_path=drop_path)
            for part, step in attentions
        )
        self.ffn_in, self.ffn_out = gelu_layers(width)
        self.dropout = Dropout(settings.dropout)

    def forward(self, x: Tensor, mask: Tensor | None, mask_out: Tensor | None) -> Tensor:
        """Rows [B, T, D] with their validity, bool [B, T, 1] -> [B, T / stride, D] with that of the output."""
        for stage, valid in ((self.channel, mask), (self.whole, mask), (self.local, mask_out)):
            x = stage.through(x, valid, self.feed_forward)
        return x

    def feed_forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        out: Tensor = self.dropout(self.ffn_out(self.dropout(F.gelu(self.ffn_in(x)))))
        return out


class CascadeEncoder(PairedPyramid):
    """Stem blocks at full length, then one halving block per further level."""

    def __init__(self, config: ModelConfig, settings: CascadeSettings, drop_path: float) -> None:
        windows = settings.level_windows(config.levels)

        def block(window: int, stride: int) -> CascadeBlock:
            return CascadeBlock(config, settings, window=window, stride=stride, drop_path=drop_path)

        super().__init__(
            (block(windows[0], 1) for _ in range(settings.stem_blocks)), (block(window, 2) for window in windows[1:])
        )
