"""Building blocks shared by encoders and decoders. Tensors are [B, D, T]: videos, channels, grid cells; where a norm
follows every convolution they are "rows" [B, T, D] instead, so that norms read and write contiguous memory.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.layers import winograd
from tal_cli.models.layers.shared_random import BatchPart, draw


class ChannelNorm(nn.Module):
    """Layer normalisation over the channels of each cell, computed in float32 (biased variance)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.eps = 1e-5
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor) -> Tensor:
        """[B, D, T] -> [B, D, T] in the input's type and layout, which later layers are faster on."""
        return self.rows(x.transpose(1, 2)).transpose(1, 2).contiguous()

    def rows(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        weight, bias = self.weight.to(x.dtype), self.bias.to(x.dtype)
        return F.layer_norm(x, self.weight.shape, weight, bias, self.eps).to(x.dtype)


class RowGroupNorm(nn.GroupNorm):
    """Group normalisation of rows, over time and the channels of each group; padding takes part."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        grouped = x.float().unflatten(2, (self.num_groups, -1))
        variance, mean = torch.var_mean(grouped, (1, 3), correction=0)  # [B, G]
        each = x.shape[2] // self.num_groups
        scale = (variance + self.eps).rsqrt().repeat_interleave(each, 1)
        shift = -mean.repeat_interleave(each, 1) * scale
        if self.affine:
            scale, shift = scale * self.weight, torch.addcmul(self.bias, shift, self.weight)
        return torch.addcmul(shift[:, None].to(x.dtype), x, scale[:, None].to(x.dtype))

    def rows(self, x: Tensor) -> Tensor:
        """The same, as `ChannelNorm.rows`."""
        return self(x)


class RowConv1d(nn.Conv1d):
    """Convolution of rows [B, T, C] that keeps the length, or halves it with `stride` 2."""

    def __init__(self, channels: int, width: int, kernel: int, *, stride: int = 1, bias: bool = False) -> None:
        super().__init__(channels, width, kernel, padding=kernel // 2, stride=stride, bias=bias)
        self._transformed: tuple[tuple[int, int], Tensor] | None = None
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T / stride, O]; T is even where it is halved."""
        if self.stride[0] == 1 and winograd.worthwhile(x, self.weight):
            if torch.is_grad_enabled():
                out: Tensor = winograd.Convolution.apply(x, self.weight)
            else:
                out = winograd.convolve(x, self._winograd_weight())
            return out if self.bias is None else out + self.bias
        return convolve_rows(x, self.weight, self.bias, stride=self.stride[0])

    def train(self, mode: bool = True) -> RowConv1d:
        """Drops the cached transform, because training changes the weights."""
        if mode:
            self._transformed = None
        return super().train(mode)

    def _winograd_weight(self) -> Tensor:
        """The transformed weight, cached until the weight changes."""
        if self.weight.is_inference():
            return winograd.transform_weight(self.weight)
        state = (self.weight._version, self.weight.data_ptr())
        if self._transformed is None or self._transformed[0] != state:
            self._transformed = (state, winograd.transform_weight(self.weight))
        return self._transformed[1]


class ColumnLinear(nn.Conv1d):
    """Linear map of each cell of [B, D, T], as one matrix product per video."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__(channels, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, D, T] -> [B, width, T]."""
        assert self.bias is not None
        return torch.baddbmm(self.bias[:, None], self.weight[:, :, 0].expand(x.shape[0], -1, -1), x)


class RowOutput(nn.Conv1d):
    """Convolution to few outputs that keeps the length: one matrix product for all taps, whose shifted sum is small."""

    def __init__(self, channels: int, outputs: int, kernel: int) -> None:
        super().__init__(channels, outputs, kernel, padding=kernel // 2)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, C] -> [B, T, O]."""
        taps, length = self.kernel_size[0], x.shape[1]
        weight = self.weight.permute(2, 0, 1).flatten(0, 1)
        products = F.pad(F.linear(x, weight), (0, 0, taps // 2, taps // 2)).unflatten(2, (taps, -1))
        assert self.bias is not None
        out = self.bias.to(products.dtype)
        for tap in range(taps):
            out = out + products[:, tap : tap + length, tap]
        return out


class DepthwiseConv1d(nn.Conv1d):
    """Depth-wise convolution that keeps the length, as one multiply-add per tap: on a CPU several times faster than
    the grouped convolution, which runs channel by channel."""

    def __init__(self, channels: int, kernel: int) -> None:
        super().__init__(channels, channels, kernel, padding=kernel // 2, groups=channels)

    def forward(self, x: Tensor) -> Tensor:
        """[B, D, T] -> [B, D, T]."""
        if x.device.type != "cpu":
            return super().forward(x)
        assert self.bias is not None
        length, taps = x.shape[-1], self.kernel_size[0]
        padded = F.pad(x, (taps // 2, taps // 2)) if taps > 1 else x
        out = self.bias.to(x.dtype)[:, None]
        for tap in range(taps):
            out = torch.addcmul(out, padded[..., tap : tap + length], self.weight[:, :, tap].to(x.dtype))
        return out


class DepthwiseRowConv1d(nn.Conv1d):
    """Depth-wise convolution of rows that keeps the length, or halves it with `stride` 2."""

    def __init__(self, channels: int, kernel: int, *, stride: int = 1, bias: bool = True) -> None:
        super().__init__(channels, channels, kernel, padding=kernel // 2, stride=stride, groups=channels, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T or T/2, D]; T is even where it is halved."""
        return depthwise_rows(x, self.weight, self.bias, stride=self.stride[0])


class ScaledDropPath(nn.Module):
    """A residual branch's per-channel scale (Touvron et al. 2021, CaiT) and stochastic depth (Huang et al. 2016).

    `start` None: no scale. `rate`: probability that, while training, a video's branch is dropped.
    """

    def __init__(self, channels: int, start: float | None, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.part: BatchPart | None = None
        self.scale = None if start is None else nn.Parameter(torch.full((channels,), start))

    def forward(self, x: Tensor) -> Tensor:
        """[B, D, T] -> [B, D, T]."""
        if self.scale is not None:
            x = x * self.scale[:, None]
        return x * self._kept(x) if self.training and self.rate > 0 else x

    def add(self, skip: Tensor, x: Tensor) -> Tensor:
        """Rows [B, T, D]: skip plus the scaled branch x, in one pass."""
        factor = None if self.scale is None else self.scale.to(x.dtype)
        if self.training and self.rate > 0:
            kept = self._kept(x)
            factor = kept if factor is None else factor * kept
        return skip + x if factor is None else torch.addcmul(skip, x, factor)

    def _kept(self, x: Tensor) -> Tensor:
        """[B, 1, 1]: 0 for a video whose branch is dropped, else 1 / probability of keeping it."""
        keep = 1.0 - self.rate
        return (draw(torch.rand, x, (1, 1), self.part) < keep).to(x.dtype).div(keep)


class Dropout(nn.Module):
    """Dropout of single values (Srivastava et al. 2014) that does not depend on how a batch is split."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate
        self.part: BatchPart | None = None

    def forward(self, x: Tensor) -> Tensor:
        """[B, ...] -> the same shape."""
        if not self.training or self.rate == 0:
            return x
        keep = 1.0 - self.rate
        return x * (draw(torch.rand, x, tuple(x.shape[1:]), self.part) < keep).to(x.dtype).div(keep)


class LinearEmbedding(nn.Module):
    """A linear map of each cell to the model's width, then a group norm over cells and channels if `groups` is given;
    padding is not zeroed, and takes part (TadTR; without norm ReAct). `channels` of each of several kinds of features
    that are joined, whose maps are added (PointTAD)."""

    def __init__(self, channels: Sequence[int], width: int, groups: int | None) -> None:
        super().__init__()
        self.channels = list(channels)
        self.linear = nn.Linear(channels[0], width)
        self.added = nn.ModuleList(nn.Linear(part, width) for part in channels[1:])
        self.norm = RowGroupNorm(groups, width) if groups else None
        for linear in (self.linear, *self.added):
            nn.init.xavier_uniform_(cast(nn.Linear, linear).weight)
            nn.init.zeros_(cast(nn.Linear, linear).bias)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Features [B, T, C] -> [B, T, D]."""
        first, *others = x.split(self.channels, 2)
        out: Tensor = self.linear(first)
        for linear, part in zip(self.added, others, strict=True):
            out = out + linear(part)
        return out if self.norm is None else self.norm(out)


class ConvEmbedding(nn.Module):
    """Convolutions with normalisation and ReLU that project features to the model's width (paper: "two consecutive 1D
    CNNs followed by ReLU"), plus an optional sinusoid position table. Padding is zeroed after each convolution, and
    after the norm if `cleared`. `streams`: channels and width of each of several kinds of features that are joined,
    which a linear map each projects first (TransGMC).
    """

    positions: Tensor | None

    def __init__(
        self,
        channels: int,
        width: int,
        *,
        layers: int,
        kernel: int,
        table_length: int | None,
        streams: Sequence[tuple[int, int]] = (),
        cleared: bool = False,
    ) -> None:
        super().__init__()
        self.cleared = cleared
        self.channels = [part for part, _ in streams]
        self.projections = nn.ModuleList(nn.Linear(a, b) for a, b in streams)
        channels = width if streams else channels
        sizes = [channels] + [width] * layers
        self.convs = nn.ModuleList(RowConv1d(a, b, kernel) for a, b in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(ChannelNorm(width) for _ in range(layers))
        table = None if table_length is None else sinusoid_table(table_length, width)
        self.register_buffer("positions", table, persistent=False)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Features [B, T, C], mask bool [B, T, 1] (None: everything is valid) -> [B, T, D]."""
        if self.channels:
            parts = zip(self.projections, x.split(self.channels, 2), strict=True)
            x = torch.cat([apply_mask(project(part), mask) for project, part in parts], 2)
        for conv, norm in zip(self.convs, self.norms, strict=True):
            x = F.relu(cast(ChannelNorm, norm).rows(apply_mask(conv(x), mask)))
            x = apply_mask(x, mask) if self.cleared else x
        if self.positions is not None:
            x = x + apply_mask(resize_table(self.positions, x.shape[1]).transpose(1, 2).to(x.dtype), mask)
        return x


def convolve_rows(x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: int = 1, groups: int = 1) -> Tensor:
    """Rows [B, T, C] convolved with [O, C / groups, k] -> [B, T / stride, O].

    Viewed as images of height 1, rows are in the "channels last" format, which needs no copy.
    """
    picture, padding = x.transpose(1, 2).unsqueeze(2), (0, weight.shape[2] // 2)
    out = F.conv2d(picture, weight.unsqueeze(2), bias, (1, stride), padding, groups=groups)
    return out.squeeze(2).transpose(1, 2)


def max_pool_rows(x: Tensor) -> Tensor:
    """Rows [B, T, D], T even -> [B, T / 2, D]: maxima of three neighbouring cells, every other cell."""
    picture = x.transpose(1, 2).unsqueeze(2)
    return F.max_pool2d(picture, (1, 3), (1, 2), (0, 1)).squeeze(2).transpose(1, 2)


def depthwise_rows(x: Tensor, weight: Tensor, bias: Tensor | None, *, stride: int = 1) -> Tensor:
    """Rows [B, T, D] convolved channel by channel with [D, 1, k] -> [B, T / stride, D]."""
    taps = weight.shape[2]
    if taps == stride == 1:
        scale = weight[:, 0, 0].to(x.dtype)
        return x * scale if bias is None else torch.addcmul(bias.to(x.dtype), x, scale)
    return convolve_rows(x, weight, bias, stride=stride, groups=weight.shape[0])


def apply_mask(x: Tensor, mask: Tensor | None) -> Tensor:
    """Zero the invalid cells of [B, D, T] or rows [B, T, D]; mask bool [B, 1, T] or [B, T, 1], None: all is valid."""
    return x if mask is None else x * mask.to(x.dtype)


def resize_table(table: Tensor, length: int) -> Tensor:
    """The first cells of a table [1, D, T]; for a longer sequence all of them, linear between neighbours."""
    if length > table.shape[-1]:
        return F.interpolate(table, length, mode="linear", align_corners=False)
    return table[..., :length]


def sinusoid_table(length: int, width: int) -> Tensor:
    """Sinusoid position table (Vaswani et al. 2017) divided by sqrt(width), float32 [1, width, length]."""
    channel = torch.arange(width, dtype=torch.float64)
    rate = torch.pow(10000.0, -2.0 * torch.div(channel, 2, rounding_mode="floor") / width)
    angle = rate[:, None] * torch.arange(length, dtype=torch.float64)
    table = torch.where((channel % 2 == 0)[:, None], angle.sin(), angle.cos())
    return (table.float() / width**0.5)[None]
