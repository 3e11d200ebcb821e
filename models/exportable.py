"""The detector as one function of tensors, for programs that have no `tal`: everything up to Soft-NMS.

Exchange formats know no complex numbers, and runtimes that know a Fourier transform compute it inexactly at lengths
that are no power of two. Here the transform is two matrix products with cosines and sines instead: the same numbers,
about a fifth more arithmetic at the published lengths.
"""

from __future__ import annotations

import copy
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.boundaries import decode_distances
from models.detector import TemporalDetector
from models.encoders.gmg import FREQUENCY_KERNEL, SHRINK, GlobalFilter, PaperGlobalFilter
from models.pyramid import pyramid_points


class ExportedDetector(nn.Module):
    """A copy of a detector whose output is every proposal.

    forward(features float32 [1, C, T], length int64 [1]) -> scores [S, K] in [0, 1], starts [S, K] and ends [S, K] in
    grid cells, for S cells of the pyramid and K classes. The first `length` cells are features, the others zeros up to
    T, which `models.pyramid.padded_length` gives. What is left to do: keep scores above a threshold, Soft-NMS, grid
    cells to seconds.
    """

    def __init__(self, detector: TemporalDetector) -> None:
        super().__init__()
        self.detector = copy.deepcopy(detector).eval().requires_grad_(False)
        for module in list(self.detector.modules()):
            for name, child in module.named_children():
                if isinstance(child, GlobalFilter):
                    setattr(module, name, RealGlobalFilter(child))
                elif isinstance(child, PaperGlobalFilter):
                    setattr(module, name, RealPaperGlobalFilter(child))

    def forward(self, features: Tensor, length: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mask = torch.arange(features.shape[2], device=features.device)[None, None] < length
        predictions = self.detector(features, mask)
        cells, classes = predictions.valid.shape[-1], self.detector.config.classes
        cell = torch.arange(cells, device=features.device)[:, None].expand(cells, classes).flatten()
        label = torch.arange(classes, device=features.device).expand(cells, classes).flatten()
        distances = decode_distances(predictions, torch.zeros_like(cell), cell, label).refined
        points = pyramid_points(predictions.layout, features.device)
        time, stride = points.time[:, None], points.stride[:, None]
        starts = time - distances[:, 0].view(cells, classes) * stride
        ends = time + distances[:, 1].view(cells, classes) * stride
        scores = torch.sigmoid(predictions.refined[0]) * predictions.valid[0]
        return scores.t(), starts, ends


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
