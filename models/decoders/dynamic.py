"""Heads that aggregate features dynamically (Yang et al. 2024, DyFADet): what a cell reads of the cells around it, and
of the levels above and below, is gated by what is there. As published, features picked per channel are squared.
"""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.decoders.heads import ClassHead, OffsetHead, pack_masks, packing_gap
from tal_cli.models.layers.common import ChannelNorm, DepthwiseRowConv1d, RowConv1d, RowOutput, apply_mask
from tal_cli.models.layers.pyramid import PyramidLayout
from tal_cli.models.predictions import PlainBoundaries, Predictions
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import DynamicSettings


def shifted(x: Tensor, kernel: int) -> Tensor:
    """Rows [B, T, D] -> what lies at each of `kernel` cells around, zero outside, [B, T, D, kernel]."""
    return F.pad(x, (0, 0, kernel // 2, kernel // 2)).unfold(1, kernel, 1)


def gate(x: Tensor, threshold: float) -> Tensor:
    """0 where x is negative, then rising to 1, most quickly at the threshold."""
    return ((torch.tanh(x - threshold) + math.tanh(threshold)) / (1 + math.tanh(threshold))).clamp(min=0)


def start_at(gate: nn.Conv1d, value: float) -> None:
    """Adds to the biases of a gate's convolution."""
    assert gate.bias is not None
    with torch.no_grad():
        gate.bias.add_(value)


class GatedShifts(nn.Module):
    """Squares of neighbouring cells, gated per channel, through a linear map and a norm."""

    def __init__(self, width: int, settings: DynamicSettings) -> None:
        super().__init__()
        self.kernel, self.threshold = settings.kernel, settings.threshold
        self.gate = DepthwiseRowConv1d(width, self.kernel)
        start_at(self.gate, settings.gate_start)
        self.linear = nn.Linear(width * self.kernel, width)
        self.norm = ChannelNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Rows [B, T, D] -> [B, T, D], zero at invalid cells; mask bool [B, T, 1], None: all valid."""
        open_at = apply_mask(gate(self.gate(x), self.threshold), mask)
        picked = shifted(x * x, self.kernel) * open_at[..., None]
        return apply_mask(self.norm.rows(self.linear(picked.flatten(2))), mask)


class MixedShifts(nn.Module):
    """Neighbouring cells times weights made of them all, the same for each of a channel's, under one gate for all."""

    def __init__(self, width: int, outputs: int, settings: DynamicSettings) -> None:
        super().__init__()
        self.kernel, self.threshold = settings.kernel, settings.threshold
        self.weights = RowConv1d(width * self.kernel, width, self.kernel, bias=True)
        self.weights_norm = ChannelNorm(width)
        self.gate = RowOutput(width * self.kernel, 1, self.kernel)
        start_at(self.gate, settings.gate_start)
        self.linear = nn.Linear(width * self.kernel, outputs)
        self.norm = ChannelNorm(outputs)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Rows [B, T, D] -> [B, T, O], zero at invalid cells; mask bool [B, T, 1], None: all valid."""
        around = shifted(x, self.kernel)
        flat = around.flatten(2)
        weights = self.weights_norm.rows(self.weights(flat)) * apply_mask(gate(self.gate(flat), self.threshold), mask)
        return apply_mask(self.norm.rows(self.linear((around * weights[..., None]).flatten(2))), mask)


class DynamicStage(nn.Module):
    """A level and, resampled, those above and below it, mixed."""

    def __init__(self, width: int, outputs: int, levels: int, settings: DynamicSettings) -> None:
        super().__init__()
        self.own_scale = nn.Parameter(torch.ones(1))
        self.mix = MixedShifts(width, outputs, settings)
        self.below, self.above = (GatedShifts(width, settings) if levels > 1 else None for _ in range(2))
        self.scale = nn.Parameter(torch.zeros(1)) if levels > 1 else None  # of the neighbours

    def forward(self, levels: list[Tensor], masks: list[Tensor | None]) -> list[Tensor]:
        """Rows [B, T_l, D] per level, masks bool [B, T_l, 1] or None -> [B, T_l, O], zero at invalid cells."""
        mixed = [level * self.own_scale.to(level.dtype) for level in levels]
        if self.below is not None and self.above is not None and self.scale is not None:
            for lower, upper in itertools.pairwise(range(len(levels))):
                scale = self.scale.to(levels[lower].dtype)
                mixed[upper] = mixed[upper] + scale * self.below(levels[lower], masks[lower])[:, ::2]
                down = self.above(levels[upper], masks[upper]).repeat_interleave(2, dim=1)
                mixed[lower] = mixed[lower] + scale * down
        return [F.relu(self.mix(level, mask)) for level, mask in zip(mixed, masks, strict=True)]


class DynamicTrunk(nn.ModuleList):
    """The stages of one head."""

    def __init__(self, config: ModelConfig, settings: DynamicSettings) -> None:
        sizes = [config.width] + [config.head_width] * (config.head_layers - 1)
        super().__init__(DynamicStage(a, b, config.levels, settings) for a, b in itertools.pairwise(sizes))

    def forward(self, levels: list[Tensor], masks: list[Tensor | None]) -> list[Tensor]:
        """Rows [B, T_l, D] per level, masks bool [B, T_l, 1] or None -> [B, T_l, head width] per level."""
        for stage in self:
            levels = cast(DynamicStage, stage)(levels, masks)
        return levels


class DynamicDecoder(nn.Module):
    """Pyramid of features to class logits and one pair of distances per point."""

    def __init__(self, config: ModelConfig, settings: DynamicSettings) -> None:
        super().__init__()
        self.config = config
        self.class_trunk, self.offset_trunk = (DynamicTrunk(config, settings) for _ in range(2))
        last = config.model_copy(update={"head_layers": 1, "width": config.head_width})
        self.classes, self.offsets = ClassHead(last, config.head_kernel), OffsetHead(last, bins=0)
        self.gap = packing_gap(config.head_kernel)

    def forward(self, levels: list[Tensor], masks: list[Tensor | None], valid: list[Tensor]) -> Predictions:
        """levels as rows [B, T_l, D]; masks bool [B, T_l, 1], None if all are valid; valid: the masks, never None."""
        layout = PyramidLayout(tuple(level.shape[1] for level in levels), self.gap)
        packed_masks = pack_masks(layout, valid, levels[0].dtype, self.config, clean=True)
        logits = self.classes(layout.pack(self.class_trunk(levels, masks)), packed_masks)
        offsets = self.offsets(layout.pack(self.offset_trunk(levels, masks)), packed_masks, layout)
        return Predictions(
            layout=layout,
            valid=packed_masks.inside,
            coarse=logits,
            refined=logits,
            boundaries=PlainBoundaries(offsets),
        )
