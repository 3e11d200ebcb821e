"""Neck between encoder and decoder: mixes levels and normalises each. Rows [B, T_l, D] throughout."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from tal_cli.models.layers.common import ChannelNorm, DepthwiseRowConv1d, RowGroupNorm, apply_mask
from tal_cli.models.recipe.architecture import ModelConfig

NORM_GROUPS = 4  # of TemporalMaxer's group norm


class TopDown(nn.Module):
    """Feature pyramid network (Lin et al. 2017) of TriDet's and ActionFormer's code: a linear map per level, each level
    adds its upper neighbour at double length (nearest), then a depth-wise convolution of kernel 3, all without bias."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width, levels = config.width, range(config.levels)
        self.lateral = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in levels)
        self.smooth = nn.ModuleList(DepthwiseRowConv1d(width, 3, bias=False) for _ in levels)

    def forward(self, levels: list[Tensor], masks: list[Tensor | None]) -> list[Tensor]:
        """Rows [B, T_l, D] per level, masks bool [B, T_l, 1] or None -> rows of the same shapes."""
        mixed = [
            apply_mask(lateral(level), mask) for lateral, level, mask in zip(self.lateral, levels, masks, strict=True)
        ]
        for upper in range(len(mixed) - 1, 0, -1):
            mixed[upper - 1] = mixed[upper - 1] + mixed[upper].repeat_interleave(2, dim=1)
        return [apply_mask(conv(level), mask) for conv, level, mask in zip(self.smooth, mixed, masks, strict=True)]


class Fusion(nn.Module):
    """Neck of TransGMC's and TFFormer's code: a level adds its linear map times a gate, which starts at one over the
    number of levels, and times every other cell of the level below."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Linear(config.width, config.width, bias=False) for _ in range(config.levels))
        self.gates = nn.Parameter(torch.full((config.levels,), 1 / config.levels))

    def forward(self, levels: list[Tensor], masks: list[Tensor | None]) -> list[Tensor]:
        """Rows [B, T_l, D] per level, masks bool [B, T_l, 1] or None -> rows of the same shapes."""
        mixed = []
        for level, (lateral, rows) in enumerate(zip(self.lateral, levels, strict=True)):
            change = apply_mask(lateral(rows), masks[level])
            if level:
                change = change * levels[level - 1][:, ::2]
            mixed.append(torch.addcmul(rows, change, self.gates[level].to(rows.dtype)))
        return mixed


class NoNorm(nn.Module):
    """Rows unchanged."""

    def rows(self, x: Tensor) -> Tensor:
        """[B, T, D] -> the same."""
        return x


class RowNorm(Protocol):
    """A norm of rows."""

    def rows(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""


# name of the norm -> (factory(width), whether all levels share one)
NORMS: dict[str, tuple[Callable[[int], nn.Module], bool]] = {
    "layer": (ChannelNorm, False),
    "shared": (ChannelNorm, True),
    "group": (lambda width: RowGroupNorm(NORM_GROUPS, width, affine=False), False),
    "none": (lambda width: NoNorm(), False),
}
NECKS: dict[str, Callable[[ModelConfig], nn.Module | None]] = {
    "identity": lambda config: None,
    "fpn": TopDown,
    "fusion": Fusion,
}


def create_neck(config: ModelConfig) -> nn.Module | None:
    """The module that mixes levels (see `TopDown`); None if the recipe's neck has none."""
    return NECKS[config.neck.name](config)


def create_norms(config: ModelConfig) -> nn.ModuleList:
    """One norm per level, or a single one that they share."""
    factory, shared = NORMS[config.neck.norm]
    return nn.ModuleList(factory(config.width) for _ in range(1 if shared else config.levels))


def apply_norms(norms: nn.ModuleList, levels: list[Tensor]) -> list[Tensor]:
    """Rows [B, T_l, D] per level -> rows under their norms."""
    each = [cast(RowNorm, norms[min(level, len(norms) - 1)]) for level in range(len(levels))]
    return [norm.rows(level) for norm, level in zip(each, levels, strict=True)]
