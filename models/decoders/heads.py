"""Convolutional heads that run over all pyramid levels at once, on the packed sequence (see `PyramidLayout`)."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.layers.common import ChannelNorm, RowConv1d, RowOutput
from tal_cli.models.layers.pyramid import PyramidLayout
from tal_cli.models.recipe.architecture import ModelConfig


@dataclass(frozen=True)
class PackedMasks:
    """Validity of packed cells; `valid` and `padded` in the features' type, 1 or 0."""

    inside: Tensor  # bool [B, S]: in a level and not padding
    valid: Tensor  # [B, S, 1], the same
    padded: Tensor | None  # [B, S, 1]: in a level but padding; None where there is none, or where it is zeroed too


def pack_masks(
    layout: PyramidLayout, valid: list[Tensor], dtype: torch.dtype, config: ModelConfig, *, clean: bool
) -> PackedMasks:
    """Masks of a packed pyramid; valid: bool [B, T_l, 1] per level; `clean`: padding is zeroed or there is none."""
    clean = clean or config.padding == "cleared"
    packed = layout.pack(valid)
    padded = None if clean else (layout.inside(packed.device)[:, None] & ~packed).to(dtype)
    return PackedMasks(inside=packed[..., 0], valid=packed.to(dtype), padded=padded)


def packing_gap(*kernels: int) -> int:
    """Cells between packed levels: as many as the widest kernel reaches, and even, so that levels start at even
    packed cells."""
    return 2 * (max(kernels) // 4 + 1)


class HeadTrunk(nn.Module):
    """Convolution, channel norm and ReLU, repeated, without biases.

    The published heads zero invalid cells after each convolution and before the norm, which leaves ReLU(norm's bias)
    there; the gaps between levels, on the other hand, must be zero. Both are done in one pass over the data.
    """

    def __init__(self, config: ModelConfig, kernel: int) -> None:
        super().__init__()
        width, layers = config.head_width, config.head_layers - 1  # without the output layer
        sizes = [config.width] + [width] * layers
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

    def __init__(self, config: ModelConfig, kernel: int) -> None:
        super().__init__()
        self.trunk = HeadTrunk(config, kernel)
        self.output = RowOutput(config.head_width, config.classes, kernel)
        prior = config.class_prior
        assert self.output.bias is not None
        nn.init.constant_(self.output.bias, math.log(prior / (1 - prior)))

    def forward(self, x: Tensor, masks: PackedMasks) -> Tensor:
        """Packed rows [B, S, D] -> logits [B, S, classes], 0 at invalid cells."""
        logits: Tensor = self.output(self.trunk(x, masks)) * masks.valid
        return logits


class OffsetHead(nn.Module):
    """Trunk and the relative-boundary logits of both sides, non-negative and scaled per level; without bins the
    distances themselves."""

    def __init__(self, config: ModelConfig, bins: int) -> None:
        super().__init__()
        self.trunk = HeadTrunk(config, config.head_kernel)
        self.output = RowOutput(config.head_width, 2 * (bins + 1), config.head_kernel)
        self.level_scale = nn.Parameter(torch.ones(config.levels))

    def forward(self, x: Tensor, masks: PackedMasks, layout: PyramidLayout) -> Tensor:
        """Packed rows [B, S, D] -> [B, S, 2 (bins + 1)], 0 at invalid cells."""
        logits = self.output(self.trunk(x, masks))
        scale = self.level_scale[layout.level_index(x.device)]
        return F.relu(logits * masks.valid * scale[:, None])
