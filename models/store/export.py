"""The detector as one function of tensors, for programs without `tal`: everything up to Soft-NMS.

Exchange formats lack complex numbers, and runtimes with a Fourier transform compute it inexactly at lengths
that are not a power of two. Here the transform is two matrix products with cosines and sines instead: the same numbers,
about a fifth more operations at the published lengths.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import tal_cli.models.layers.selective_scan  # noqa: F401  defines its operator
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.encoders.gmg import SHRINK, GlobalFilter, PaperGlobalFilter
from tal_cli.models.layers.pyramid import pyramid_points
from tal_cli.models.predictions import decode_everywhere


class ExportedDetector(nn.Module):
    """A copy of a detector whose output is every proposal.

    forward(features float32 [1, C, T], length int64 [1]) -> scores [S, K] in [0, 1], starts [S, K] and ends [S, K] in
    grid cells, for S cells of the pyramid and K classes, all zero at cells that propose nothing. The first `length`
    cells are features, the others zeros. Callers then keep scores above a threshold, apply Soft-NMS, and convert grid
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
        mask = torch.arange(features.shape[2], device=features.device)[None] < length
        predictions = self.detector(features.transpose(1, 2), mask)
        distances = decode_everywhere(predictions).refined[0]  # [S, K, 2] or [S, 2]
        if not predictions.per_class:
            distances = distances[:, None].expand(-1, self.detector.config.classes, -1)
        points = pyramid_points(predictions.layout, features.device)
        time, stride = points.time[:, None], points.stride[:, None]
        # Between two levels there is no stride to divide by.
        valid = predictions.valid[0][:, None]
        starts = torch.where(valid, time - distances[..., 0] * stride, 0.0)
        ends = torch.where(valid, time + distances[..., 1] * stride, 0.0)
        return torch.sigmoid(predictions.refined[0]) * valid, starts, ends


class RealGlobalFilter(nn.Module):
    """`GlobalFilter` without complex numbers."""

    def __init__(self, filter: GlobalFilter) -> None:
        super().__init__()
        self.filter = filter

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, D, T] -> [B, D, T]."""
        basis = fourier_basis(x.shape[-1], x.device)
        real, imaginary = transform(x, *basis)
        hidden = _multiply_add(real, imaginary, self.filter.weight_in, self.filter.bias_in)
        gate = _multiply_add(F.relu(hidden[0]), F.relu(hidden[1]), self.filter.weight_out, self.filter.bias_out)
        return invert(*_multiply(real, imaginary, *(F.softshrink(part, SHRINK) for part in gate)), *basis)


class RealPaperGlobalFilter(nn.Module):
    """`PaperGlobalFilter` without complex numbers."""

    def __init__(self, filter: PaperGlobalFilter) -> None:
        super().__init__()
        self.filter = filter

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, D, T] -> [B, D, T]."""
        basis = fourier_basis(x.shape[-1], x.device)
        real, imaginary = transform(x, *basis)
        parts = torch.stack((real, imaginary), dim=2).flatten(1, 2)
        gate = self.filter.conv_out(F.relu(self.filter.conv_in(parts))).unflatten(1, (-1, 2))
        return invert(*_multiply(real, imaginary, *gate.unbind(2)), *basis)


def fourier_basis(length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of a real sequence's frequencies, float32 [length // 2 + 1, length], orthonormal."""
    cell = torch.arange(length, device=device)
    frequency = torch.arange(length // 2 + 1, device=device)
    # Full turns are dropped in integer arithmetic, so that long sequences lose no digits.
    angle = (frequency[:, None] * cell).remainder(length).float() * (2 * math.pi / length)
    return angle.cos() * length**-0.5, angle.sin() * length**-0.5


def transform(x: Tensor, cosines: Tensor, sines: Tensor) -> tuple[Tensor, Tensor]:
    """[B, D, T] -> real and imaginary part of its orthonormal spectrum, [B, D, T // 2 + 1] each."""
    return x @ cosines.t(), -(x @ sines.t())


def invert(real: Tensor, imaginary: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    """The real sequence [B, D, T] of a spectrum; frequencies between the first and the middle one stand for two."""
    frequency = torch.arange(cosines.shape[0], device=real.device)
    count = torch.where((frequency == 0) | (2 * frequency == cosines.shape[1]), 1.0, 2.0)
    return (real * count) @ cosines - (imaginary * count) @ sines


def scan_by_doubling(x: Tensor, delta: Tensor, decay: Tensor, inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """`tal::selective_scan` in operators that exchange formats have, with the states of all cells in memory at once.

    After each round, which doubles `reach`, a state holds what the last `reach` cells added. The second output, needed
    by the backward pass alone, is empty.
    """
    kept = torch.exp(delta[:, :, None] * decay.t())  # [B, T, N, D]
    states = (delta * x)[:, :, None] * inputs[..., None]
    reach, length = 1, x.shape[1]
    while reach < length:
        states = states + kept * _delayed(states, reach)
        kept = kept * _delayed(kept, reach)
        reach *= 2
    return (states * outputs[..., None]).sum(2), x.new_empty(0)


def _delayed(values: Tensor, cells: int) -> Tensor:
    """Values shifted by that many cells, zeros at the beginning; over dimension 1 of [B, T, N, D]."""
    return F.pad(values[:, :-cells], (0, 0, 0, 0, cells, 0))


def _multiply(real: Tensor, imaginary: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """(real + i imaginary) (a + i b)."""
    return real * a - imaginary * b, real * b + imaginary * a


def _multiply_add(real: Tensor, imaginary: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Complex multiplication and addition with a number [D, 2] per channel."""
    (a, b), (c, d) = weight[..., None].unbind(1), bias[..., None].unbind(1)
    product = _multiply(real, imaginary, a, b)
    return product[0] + c, product[1] + d


# Replacements of our custom operators in an exported graph.
DECOMPOSITIONS: dict[torch._ops.OperatorBase, Callable[..., object]] = {
    torch.ops.tal.selective_scan.default: scan_by_doubling
}
