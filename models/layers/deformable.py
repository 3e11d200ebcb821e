"""Attention to a few sampled places of a sequence instead of all its cells (Zhu et al. 2021, "Deformable DETR", over
time as in TadTR), and regions of it pooled to a fixed size. Rows [B, T, D] throughout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tal_cli.models.layers.common import apply_mask
from tal_cli.models.layers.feed_forward import SlowLinear

BINS = 16  # of a pooled region


class DeformableAttention(nn.Module):
    """Each query's weighted sum of values at `points` places per head and level, offset from its reference.

    A reference is a centre in [0, 1] of the padded sequence, from which offsets are cells; or a centre and a width, and
    offsets are half widths divided by the number of points. aligned: 0 and 1 are the middles of the first and the last
    cell, and offsets from a centre count in valid cells (ReAct).
    """

    def __init__(self, width: int, *, heads: int, levels: int, points: int, aligned: bool = False) -> None:
        super().__init__()
        self.aligned = aligned
        self.shape = (heads, levels, points)
        samples = heads * levels * points
        self.offsets, self.weights = SlowLinear(width, samples), nn.Linear(width, samples)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        self._initialise()

    def _initialise(self) -> None:
        """Each head looks to one side of the reference, each point one step further, all with equal weights."""
        heads, levels, points = self.shape
        side = torch.cos(torch.arange(heads) * (4 * math.pi / heads))
        steps = side[:, None, None] * torch.arange(1.0, points + 1)
        for module in (self.offsets, self.weights):
            nn.init.zeros_(module.weight)
            nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.offsets.bias.copy_(steps.expand(heads, levels, points).flatten())
        for module in (self.value, self.out):
            nn.init.xavier_uniform_(module.weight)
            nn.init.zeros_(module.bias)

    def forward(
        self, query: Tensor, reference: Tensor, rows: Tensor, lengths: Sequence[int], mask: Tensor | None
    ) -> Tensor:
        """Queries [B, Q, D], references [B, Q, 1 or 2], rows of all levels one after the other [B, S, D] with their
        validity (bool [B, S, 1], None: all) and lengths -> [B, Q, D]."""
        values = apply_mask(self.value(rows), mask).unflatten(2, (self.shape[0], -1)).transpose(1, 2)  # [B, H, S, d]
        locations, weights = self.places(query, reference, lengths, mask)
        matrices = []
        for level, length in enumerate(lengths):
            at = locations[:, :, :, level]
            positions = at * (length - 1) if self.aligned else at * length - 0.5
            matrices.append(interpolation(positions, weights[:, :, :, level], length))
        mixed = torch.cat(matrices, -1).transpose(1, 2).to(values.dtype) @ values
        out: Tensor = self.out(mixed.transpose(1, 2).flatten(2))
        return out

    def places(
        self, query: Tensor, reference: Tensor, lengths: Sequence[int], mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Where queries [B, Q, D] sample the sequence, in [0, 1] of it, and the weights there: float32 [B, Q, heads,
        levels, points] each."""
        offsets = self.offsets(query).float().unflatten(2, self.shape)
        weights = self.weights(query).float().unflatten(2, (self.shape[0], -1)).softmax(-1).unflatten(3, self.shape[1:])
        centre = reference[..., None, None, :1].float()
        if reference.shape[2] == 1:
            cells = torch.tensor(lengths, device=query.device)[:, None].float()
            if self.aligned and mask is not None:
                cells = cells * mask[:, : lengths[0]].float().mean(1)[:, :, None, None, None]
            return centre + offsets / cells, weights
        return centre + offsets / self.shape[2] * reference[..., None, None, 1:].float() * 0.5, weights


def interpolation(positions: Tensor, weights: Tensor, length: int) -> Tensor:
    """Matrices that take weighted sums of a sequence's values at positions, [..., n] each -> [..., length].

    Between two cells a value is linear, outside of all zero. Differentiable in positions and weights.
    """
    lower = positions.floor()
    share = positions - lower
    matrix = weights.new_zeros(*positions.shape[:-1], length)
    for cell, part in ((lower, 1 - share), (lower + 1, share)):
        inside = (cell >= 0) & (cell < length)
        index = cell.clamp(0, length - 1).long()
        matrix.scatter_add_(-1, index, weights * part * inside)
    return matrix


def pool_regions(rows: Tensor, regions: Tensor) -> Tensor:
    """Means of a sequence [B, T, D] in BINS equal parts of regions [B, Q, 2] (start, end, cells) -> [B, Q, D, BINS].

    RoIAlign over time: a bin is the mean of as many samples as it has cells, rounded up; a region is at least one cell
    long; beyond the last cell and one cell before the first there is nothing. No gradient reaches the regions.
    """
    length = rows.shape[1]
    start, end = regions.detach().float().unbind(-1)
    size = (end - start).clamp(min=1)
    count = (size / BINS).ceil()  # of samples in a bin
    sample = torch.arange(-(-length // BINS), device=rows.device)
    bins = torch.arange(BINS, device=rows.device)
    inside_bin = (sample + 0.5) / count[..., None]
    position = start[..., None, None] + (bins[:, None] + inside_bin[..., None, :]) * (size / BINS)[..., None, None]
    seen = (sample < count[..., None])[..., None, :] & (position >= -1) & (position <= length)
    weights = seen / count[..., None, None]
    matrix = interpolation(position.clamp(0, length - 1), weights, length)  # [B, Q, BINS, T]
    return (matrix.flatten(1, 2).to(rows.dtype) @ rows).unflatten(1, (-1, BINS)).transpose(2, 3)


def sine_positions(mask: Tensor, width: int) -> Tensor:
    """Sine table of validity bool [B, T, 1] -> float32 [B, T, width]: valid cells evenly over one full turn."""
    count = mask.cumsum(1, dtype=torch.float32)
    turn = count / (count[:, -1:] + 1e-6) * (2 * math.pi)
    channel = torch.arange(width, device=mask.device)
    rate = 10000.0 ** (2 * (channel // 2) / width)
    angle = turn / rate
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos())
