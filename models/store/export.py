"""The detector as one function of tensors, for programs that have no `tal`: everything up to Soft-NMS.

Exchange formats know no complex numbers, and runtimes that know a Fourier transform compute it inexactly at lengths
that are no power of two. Here the transform is two matrix products with cosines and sines instead: the same numbers,
about a fifth more arithmetic at the published lengths. A graph whose length stays open can neither ask whether it is
below some number, nor divide time into blocks of which a short sequence has one, nor take as many steps as there are
cells; so windowed attention goes place by place, a selective scan by groups and doublings.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.encoders.gmg import FREQUENCY_KERNEL, SHRINK, GlobalFilter, PaperGlobalFilter
from tal_cli.models.encoders.mamba import BidirectionalMamba
from tal_cli.models.encoders.transformer import NEVER, Attention
from tal_cli.models.layers.common import ConvEmbedding
from tal_cli.models.layers.pyramid import pyramid_points
from tal_cli.models.predictions import decode_distances

GROUP = 16  # steps of a selective scan that are taken one after the other
DOUBLINGS = 16  # of what is scanned at once, beginning with a group: good for 2 ** 20 cells


class ExportedDetector(nn.Module):
    """A copy of a detector whose output is every proposal.

    forward(features float32 [1, C, T], length int64 [1]) -> scores [S, K] in [0, 1], starts [S, K] and ends [S, K] in
    grid cells, for S cells of the pyramid and K classes, all zero at cells that propose nothing. The first `length`
    cells are features, the others zeros up to T, which `pyramid.padded_length` gives. What is left to do: keep
    scores above a threshold, Soft-NMS, grid cells to seconds.
    """

    def __init__(self, detector: TemporalDetector) -> None:
        super().__init__()
        self.detector = copy.deepcopy(detector).eval().requires_grad_(False)
        for module in list(self.detector.modules()):
            if isinstance(module, Attention):
                module.attend = attention_by_place
            elif isinstance(module, BidirectionalMamba):
                module.scan = scan_by_doubling
            elif isinstance(module, ConvEmbedding):
                module.resize = table_by_place
            for name, child in module.named_children():
                if isinstance(child, GlobalFilter):
                    setattr(module, name, RealGlobalFilter(child))
                elif isinstance(child, PaperGlobalFilter):
                    setattr(module, name, RealPaperGlobalFilter(child))

    def forward(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mask = torch.arange(features.shape[2], device=features.device)[None] < length
        predictions = self.detector(features.transpose(1, 2), mask)
        cells, classes = predictions.valid.shape[1], self.detector.config.classes
        cell = torch.arange(cells, device=features.device)[:, None].expand(cells, classes).flatten()
        label = torch.arange(classes, device=features.device).expand(cells, classes).flatten()
        distances = decode_distances(predictions, torch.zeros_like(cell), cell, label).refined
        points = pyramid_points(predictions.layout, features.device)
        time, stride = points.time[:, None], points.stride[:, None]
        # Between two levels there is no stride to divide by.
        valid = predictions.valid[0][:, None]
        starts = torch.where(valid, time - distances[:, 0].view(cells, classes) * stride, 0.0)
        ends = torch.where(valid, time + distances[:, 1].view(cells, classes) * stride, 0.0)
        return torch.sigmoid(predictions.refined[0]) * valid, starts, ends


class RealGlobalFilter(nn.Module):
    """`GlobalFilter` without complex numbers."""

    def __init__(self, filter: GlobalFilter) -> None:
        super().__init__()
        self.filter = filter

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, D, T] -> [B, D, T]."""
        cosines, sines = fourier_basis(x.shape[-1], x.device)
        real, imaginary = transform(x, cosines, sines)
        hidden = _multiply(real, imaginary, self.filter.weight_in, self.filter.bias_in)
        gate = _multiply(F.relu(hidden[0]), F.relu(hidden[1]), self.filter.weight_out, self.filter.bias_out)
        gate_real, gate_imaginary = (F.softshrink(part, SHRINK) for part in gate)
        return invert(
            real * gate_real - imaginary * gate_imaginary,
            real * gate_imaginary + imaginary * gate_real,
            cosines,
            sines,
        )


class RealPaperGlobalFilter(nn.Module):
    """`PaperGlobalFilter` without complex numbers."""

    def __init__(self, filter: PaperGlobalFilter) -> None:
        super().__init__()
        self.filter = filter

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, D, T] -> [B, D, T]."""
        cosines, sines = fourier_basis(x.shape[-1], x.device)
        real, imaginary = transform(x, cosines, sines)
        parts = torch.stack((real, imaginary), dim=2).flatten(1, 2)
        gate = _convolve(self.filter.conv_out, F.relu(_convolve(self.filter.conv_in, parts))).unflatten(1, (-1, 2))
        gate_real, gate_imaginary = gate[:, :, 0], gate[:, :, 1]
        return invert(
            real * gate_real - imaginary * gate_imaginary,
            real * gate_imaginary + imaginary * gate_real,
            cosines,
            sines,
        )


def fourier_basis(length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of a real sequence's frequencies, float32 [length // 2 + 1, length], orthonormal."""
    cell = torch.arange(length, device=device)
    frequency = torch.arange(length // 2 + 1, device=device)
    # Whole turns are dropped while numbers are whole, so that long sequences lose no digits.
    # As a tensor, the length stays open in an exported graph.
    cells = torch.full((), length, dtype=torch.int64, device=device)
    angle = (frequency[:, None] * cell).remainder(cells).float() / cells.float() * (2 * torch.pi)
    scale = cells.float().rsqrt()
    return angle.cos() * scale, angle.sin() * scale


def transform(x: Tensor, cosines: Tensor, sines: Tensor) -> tuple[Tensor, Tensor]:
    """[B, D, T] -> real and imaginary part of its orthonormal spectrum, [B, D, T // 2 + 1] each."""
    return x @ cosines.t(), -(x @ sines.t())


def invert(real: Tensor, imaginary: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """The real sequence [B, D, T] of a spectrum; frequencies between the first and the middle one stand for two."""
    frequency = torch.arange(cosines.shape[0], device=real.device)
    alone = (frequency == 0) | (2 * frequency == cosines.shape[1])
    count = torch.where(alone, 1.0, 2.0)
    return (real * count) @ cosines - (imaginary * count) @ sines


def table_by_place(table: Tensor, length: int) -> Tensor:
    """`tal_cli.models.layers.common.resize_table`, whichever of table [1, D, T] and sequence is longer."""
    known = table.shape[-1]
    cells = torch.arange(length, device=table.device)
    share = (known / torch.full((), length, dtype=torch.int64, device=table.device).float()).clamp(max=1)
    place = ((cells.float() + 0.5) * share - 0.5).clamp(0, known - 1)
    before = place.long()
    after = (before + 1).clamp(max=known - 1)
    return table[..., before] + (table[..., after] - table[..., before]) * (place - before)


def attention_by_place(
    q: Tensor, k: Tensor, v: Tensor, window: int, mask: Tensor | None, positions: Tensor | None
) -> Tensor:
    """`tal_cli.models.encoders.transformer.windowed_attention`, a shifted product per place in the window."""
    reach, length = window // 2, q.shape[1]
    keys, values = (F.pad(part, (0, 0, 0, 0, reach, reach)) for part in (k, v))
    valid = torch.ones_like(q[:, :, 0, :1]) if mask is None else mask.to(q.dtype)
    outside = (1 - F.pad(valid, (0, 0, reach, reach))) * NEVER  # [B, T + 2 reach, 1]
    places = [slice(first, first + length) for first in range(window)]
    scores = torch.stack([(q * keys[:, place]).sum(-1) for place in places], -1) * q.shape[3] ** -0.5
    scores = scores + torch.stack([outside[:, place] for place in places], -1)  # [B, T, H, window]
    weights = (scores if positions is None else scores + positions).softmax(-1)
    return torch.stack([weights[..., n, None] * values[:, place] for n, place in enumerate(places)]).sum(0)


def scan_by_doubling(x: Tensor, delta: Tensor, decay: Tensor, inputs: Tensor, outputs: Tensor, skip: Tensor) -> Tensor:
    """`selective_scan` of sequences of up to 2 ** 20 cells, all in memory at once."""
    kept = torch.exp(delta[:, :, None] * decay.t())  # [B, T, N, D]
    added = (delta * x)[:, :, None] * inputs[..., None]
    return (_recurrence(kept, added) * outputs[..., None]).sum(2) + x * skip


def _recurrence(kept: Tensor, added: Tensor) -> Tensor:
    """h_t = kept_t h_(t-1) + added_t from zero, over time, [B, T, N, D] -> [B, T, N, D]."""
    length = added.shape[1]
    groups = length // GROUP + 2  # one more than needed, for a graph cannot leave a size of one open
    cell = torch.arange(groups * GROUP, device=added.device).unflatten(0, (groups, GROUP))
    kept, added = (F.pad(values, (0, 0, 0, 0, 0, 2 * GROUP))[:, cell] for values in (kept, added))
    factors, states = [kept[:, :, 0]], [added[:, :, 0]]
    for step in range(1, GROUP):
        factors.append(kept[:, :, step] * factors[-1])
        states.append(kept[:, :, step] * states[-1] + added[:, :, step])
    factor, state = factors[-1], states[-1]
    for doubling in range(DOUBLINGS):
        state = factor * _earlier(state, 1 << doubling) + state
        factor = factor * _earlier(factor, 1 << doubling)
    entering = _earlier(state, 1)
    found = torch.stack([own * entering + end for own, end in zip(factors, states, strict=True)], 2)
    return found.flatten(1, 2)[:, torch.arange(length, device=found.device)]


def _earlier(values: Tensor, steps: int) -> Tensor:
    """What was there so many steps before, zeros at the beginning; over dimension 1 of [B, T, N, D]."""
    place = torch.arange(values.shape[1], device=values.device) - steps
    return values[:, place.clamp(min=0)] * (place >= 0)[:, None, None]


def _multiply(real: Tensor, imaginary: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Complex multiplication and addition with a number [D, 2] per channel."""
    (a, b), (c, d) = weight.float().unbind(1), bias.float().unbind(1)
    return (
        real * a[:, None] - imaginary * b[:, None] + c[:, None],
        real * b[:, None] + imaginary * a[:, None] + d[:, None],
    )


def _convolve(conv: nn.Conv1d, x: Tensor) -> Tensor:
    bias = cast(Tensor, conv.bias)
    return F.conv1d(x, conv.weight, bias, padding=FREQUENCY_KERNEL // 2, groups=conv.groups)
