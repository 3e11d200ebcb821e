"""Pyramid geometry: padding, levels packed into one sequence, and the point that each packed cell stands for.

Shapes: B videos, C or D channels, T cells of the input grid, T_l = T / 2**l cells of level l, S cells of the packed
pyramid; sequences are rows, [B, T, C]. Time is measured in level-0 grid cells; point i of level l stands at i * 2**l,
without a half-cell shift.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tal_cli.models.recipe.architecture import ModelConfig


@dataclass(frozen=True)
class PyramidLayout:
    """Where each level lies in a packed sequence: one after the other, `gap` empty cells between two.

    The gaps let one convolution run over all levels as if each were alone with zeros around it.
    """

    lengths: tuple[int, ...]
    gap: int

    @property
    def starts(self) -> tuple[int, ...]:
        """First packed cell of each level."""
        starts = [0]
        for length in self.lengths[:-1]:
            starts.append(starts[-1] + length + self.gap)
        return tuple(starts)

    @property
    def total(self) -> int:
        """Packed cells S, gaps included."""
        return self.starts[-1] + self.lengths[-1]

    def pack(self, levels: Sequence[Tensor]) -> Tensor:
        """Levels [B, T_l, ...] -> packed [B, S, ...] with zeros in the gaps."""
        if len(levels) == 1:
            return levels[0]
        gap = levels[0].new_zeros(len(levels[0]), self.gap, *levels[0].shape[2:])
        pieces = [piece for level in levels for piece in (level, gap)]
        return torch.cat(pieces[:-1], dim=1)

    def split(self, packed: Tensor) -> list[Tensor]:
        """Packed [B, S, ...] -> views [B, T_l, ...], one per level."""
        return cut(packed, self.starts, self.lengths)

    def inside(self, device: torch.device) -> Tensor:
        """bool [S]: True in a level, False in a gap."""
        return self.pack([torch.ones(1, length, dtype=torch.bool, device=device) for length in self.lengths])[0]

    def spread(self, values: Sequence[float], device: torch.device, dtype: torch.dtype = torch.float32) -> Tensor:
        """One value per level -> [S] (0 in the gaps)."""
        pairs = zip(self.lengths, values, strict=True)
        return self.pack([torch.full((1, length), value, dtype=dtype, device=device) for length, value in pairs])[0]

    def level_index(self, device: torch.device) -> Tensor:
        """Which level each cell is of, int64 [S] (0 in the gaps)."""
        return self.spread(range(len(self.lengths)), device, torch.int64)


@dataclass(frozen=True)
class Points:
    """The point of every packed cell [S]: its time and level stride (grid cells) and its level's packed bounds."""

    time: Tensor  # float32
    stride: Tensor  # float32, 0 in a gap
    first: Tensor  # int64, packed index of the level's first cell
    last: Tensor  # int64, packed index of the level's last cell


def cut(packed: Tensor, starts: Sequence[int], lengths: Sequence[int]) -> list[Tensor]:
    """Views [B, length, ...] of packed [B, S, ...] from rising `starts` on that do not overlap.

    One split, so that the backward pass is one concatenation and not, for each view, a sum with mostly zeros.
    """
    sizes, position = [], 0
    for start, length in zip(starts, lengths, strict=True):
        sizes += [start - position, length]
        position = start + length
    return list(packed.split([*sizes, packed.shape[1] - position], 1)[1::2])


def pyramid_points(layout: PyramidLayout, device: torch.device) -> Points:
    """Points of a packed pyramid whose level l has stride 2**l."""
    stride = layout.spread([1 << level for level in range(len(layout.lengths))], device)
    first = layout.spread(layout.starts, device, torch.int64)
    ends = [start + length - 1 for start, length in zip(layout.starts, layout.lengths, strict=True)]
    last = layout.spread(ends, device, torch.int64)
    index = torch.arange(layout.total, device=device)
    return Points(time=(index - first).float() * stride, stride=stride, first=first, last=last)


def level_masks(mask_BT: Tensor, config: ModelConfig) -> list[Tensor]:
    """Validity per level, bool [B, T_l, 1]: cell i of level l is valid when input cell i * 2**l is; or, of encoders
    whose masks are pooled, when one of the three cells is that are pooled to it."""
    masks = [mask_BT[..., None]]
    for _ in range(config.levels - 1):
        even, odd = masks[-1][:, ::2], masks[-1][:, 1::2]
        if config.encoder.pooled_masks:
            even = even | odd | F.pad(odd[:, :-1], (0, 0, 1, 0))
        masks.append(even)
    return masks


def padded_length(config: ModelConfig, length: int) -> int:
    """Length that a sequence is padded to: `pad_length`, or the next `length_multiple` when it is longer.

    Results inside the valid part depend on the padded length (global filter, group normalisation and average pooling
    see the padding), so released weights need the published rule.
    """
    if length <= config.pad_length:
        return config.pad_length
    return -(-length // config.length_multiple) * config.length_multiple


def pad_batch(sequences: Sequence[Tensor], length: int) -> tuple[Tensor, Tensor]:
    """Feature sequences [T_i, C] -> features [B, length, C] padded with zeros, and their validity, bool [B, length].

    Raises ValueError when a sequence is longer than `length`.
    """
    first = sequences[0]
    rows = first.new_zeros(len(sequences), length, first.shape[1])
    mask = torch.zeros(len(sequences), length, dtype=torch.bool, device=first.device)
    for number, sequence in enumerate(sequences):
        if len(sequence) > length:
            raise ValueError(f"a sequence of {len(sequence)} grid cells does not fit into {length}")
        rows[number, : len(sequence)] = sequence
        mask[number, : len(sequence)] = True
    return rows, mask
