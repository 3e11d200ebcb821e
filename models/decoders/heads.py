"""Convolutional heads that run over all pyramid levels at once, on the packed sequence (see `PyramidLayout`)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.layers import ChannelNorm, RowConv1d, RowOutput


@dataclass(frozen=True)
class PackedMasks:
    """Validity of packed cells in the features' type, 1 or 0.

    valid [B, S, 1] is 1 where a level holds a valid cell; padded [B, S, 1] is 1 at cells inside a level that are
    invalid, None when there are none.
    """

    valid: Tensor
    padded: Tensor | None


class HeadTrunk(nn.Module):
    """Convolution, channel norm and ReLU, repeated, without biases.

    The published heads zero invalid cells after each convolution and before the norm, which leaves ReLU(norm's bias)
    there; the gaps between levels, on the other hand, must be zero. Both come out of one pass over the data.
    """

    def __init__(self, channels: int, width: int, *, layers: int, kernel: int) -> None:
        super().__init__()
        sizes = [channels] + [width] * layers
        self.convs = nn.ModuleList(RowConv1d(a, b, kernel) for a, b in itertools.pairwise(sizes))
        self.norms = nn.ModuleList(ChannelNorm(width) for _ in range(layers))

    def forward(self, x: Tensor, masks: PackedMasks) -> Tensor:
        """Packed rows [B, S, D] with zero gaps -> packed rows [B, S, width] with zero gaps."""
        for conv, norm in zip(self.convs, self.norms, strict=True):
            norm = cast(ChannelNorm, norm)
            x = F.relu(norm.rows(conv(x)), inplace=True)
            x = x * masks.valid if torch.is_grad_enabled() else x.mul_(masks.valid)
            if masks.padded is not None:
                x = torch.addcmul(x, F.relu(norm.bias).to(x.dtype), masks.padded)
        return x


class ClassHead(nn.Module):
    """Trunk and one output per class, whose bias starts at the prior probability (Lin et al. 2017)."""

    def __init__(self, channels: int, width: int, classes: int, *, layers: int, kernel: int, prior: float) -> None:
        super().__init__()
        self.trunk = HeadTrunk(channels, width, layers=layers - 1, kernel=kernel)
        self.output = RowOutput(width, classes, kernel)
        assert self.output.bias is not None
        nn.init.constant_(self.output.bias, math.log(prior / (1 - prior)))

    def forward(self, x: Tensor, masks: PackedMasks) -> Tensor:
        """Packed rows [B, S, D] -> logits [B, classes, S], 0 at invalid cells."""
        logits: Tensor = self.output(self.trunk(x, masks)) * masks.valid.transpose(1, 2)
        return logits


class OffsetHead(nn.Module):
    """Trunk and the relative-boundary logits of both sides, non-negative and scaled per level."""

    def __init__(self, channels: int, width: int, *, bins: int, levels: int, layers: int, kernel: int) -> None:
        super().__init__()
        self.trunk = HeadTrunk(channels, width, layers=layers - 1, kernel=kernel)
        self.output = RowOutput(width, 2 * (bins + 1), kernel)
        self.level_scale = nn.Parameter(torch.ones(levels))

    def forward(self, x: Tensor, masks: PackedMasks, level: Tensor) -> Tensor:
        """Packed rows [B, S, D], level index int64 [S] -> [B, 2 (bins + 1), S], 0 at invalid cells."""
        logits = self.output(self.trunk(x, masks))
        return F.relu(logits * masks.valid.transpose(1, 2) * self.level_scale[level])
