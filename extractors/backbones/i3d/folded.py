"""I3D optimised for inference: the same function as `network.py`, computed in fewer and wider steps.

Batch norms are folded into their convolutions. Everything is channels-last, so that 1x1x1 convolutions are matrix
products, of which the three that read a block's input are one, and so that a max pool is a maximum along each axis in
turn: 9 values are read where the pool of 3 x 3 x 3 reads 27, and neighbours in memory together.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal_cli.extractors.backbones.i3d.network import (
    ONE,
    POOLS,
    THREE,
    InceptionI3d,
    Mixed,
    Triple,
    Unit,
    last_pool,
    padded,
    pads,
    pool,
)

LAST = torch.channels_last_3d


def folded(network: nn.Module) -> FoldedI3d:
    """The fast form of a loaded network, sharing no tensors with it; valid in evaluation mode only."""
    assert isinstance(network, InceptionI3d) and not network.training
    return FoldedI3d(network)


def fold(unit: Unit) -> tuple[Tensor, Tensor]:
    """Weight and bias of a unit's convolution with its batch norm folded in."""
    norm = unit.bn
    assert norm.running_var is not None and norm.running_mean is not None
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    return unit.conv3d.weight * scale.view(-1, 1, 1, 1, 1), norm.bias - norm.running_mean * scale


def constant(tensor: Tensor) -> nn.Parameter:
    return nn.Parameter(tensor, requires_grad=False)


class FoldedUnit(nn.Module):
    """A convolution with bias, then ReLU."""

    def __init__(self, unit: Unit) -> None:
        super().__init__()
        weight, bias = fold(unit)
        self.weight, self.bias = constant(weight.contiguous(memory_format=LAST)), constant(bias)
        self.kernel, self.stride, self.fixed = unit.kernel, unit.stride, unit.fixed

    def forward(self, features: Tensor) -> Tensor:
        around = pads(features.shape, self.kernel, self.stride, self.fixed)
        even = tuple(before for before, _ in around)
        if any(before != after for before, after in around):
            features, even = padded(features, around), (0, 0, 0)
        return F.relu_(F.conv3d(features, self.weight, self.bias, self.stride, even))


class Pointwise(nn.Module):
    """Several 1x1x1 convolutions of one input as one matrix product; their ReLU outputs are returned separately."""

    def __init__(self, *units: Unit) -> None:
        super().__init__()
        weights, biases = zip(*map(fold, units), strict=True)
        self.weight = constant(torch.cat(weights).flatten(1))
        self.bias = constant(torch.cat(biases))
        self.sizes = [len(bias) for bias in biases]

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        outputs = F.relu_(F.linear(features.permute(0, 2, 3, 4, 1), self.weight, self.bias))
        return outputs.permute(0, 4, 1, 2, 3).split(self.sizes, 1)


class FoldedMixed(nn.Module):
    """An Inception block."""

    def __init__(self, block: Mixed) -> None:
        super().__init__()
        self.entry = Pointwise(block.b0, block.b1a, block.b2a)
        self.b1b, self.b2b, self.b3b = FoldedUnit(block.b1b), FoldedUnit(block.b2b), Pointwise(block.b3b)
        self.fixed = block.b0.fixed

    def forward(self, features: Tensor) -> Tensor:
        first, second, third = self.entry(features)
        (pooled,) = self.b3b(quick_pool(features, THREE, ONE, self.fixed))
        return torch.cat((first, self.b1b(second), self.b2b(third), pooled), 1)


class FoldedI3d(nn.Module):
    """As InceptionI3d, without its classifier."""

    def __init__(self, network: InceptionI3d) -> None:
        super().__init__()
        self.fixed = network.fixed
        for name, block in network.named_children():
            if isinstance(block, Mixed):
                self.add_module(name, FoldedMixed(block))
            elif isinstance(block, Unit):
                self.add_module(name, FoldedUnit(block))
        self.eval()

    def forward(self, windows: Tensor) -> Tensor:
        return last_pool(self.positions(windows)).mean((2, 3, 4))

    def positions(self, frames: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, 1024, T / 8, H / 32, W / 32]: the output of Mixed_5c."""
        features = frames.contiguous(memory_format=LAST)
        for name, block in self.named_children():
            if name in POOLS:
                features = quick_pool(features, *POOLS[name], self.fixed)
            features = block(features)
        return features


class DenseI3d(nn.Module):
    """[B, C, T, H, W] -> [B, 1024, T / 8]: one row per 8 frames, the mean over positions of the image."""

    def __init__(self, network: FoldedI3d) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: Tensor) -> Tensor:
        return self.network.positions(frames).mean((3, 4))


def quick_pool(features: Tensor, kernel: Triple, stride: Triple, fixed: bool) -> Tensor:
    """`network.pool` of features that are not negative; on a GPU the library kernel is faster."""
    if features.device.type != "cpu":
        return pool(features, kernel, stride, fixed)
    around = pads(features.shape, kernel, stride, fixed)
    for axis, (window, step, (before, after)) in enumerate(zip(kernel, stride, around, strict=True), 2):
        if window > 1:
            rest = (features.shape[axis] + before + after - window) / step
            count = (math.ceil(rest) if fixed else int(rest)) + 1
            features = axis_max(features, axis, window, step, before, count)
    return features


def axis_max(features: Tensor, axis: int, window: int, step: int, before: int, count: int) -> Tensor:
    """`count` maxima of `window` values along one axis, every `step`, from `before` values ahead of the first on."""
    length = features.shape[axis]
    shape = (*features.shape[:axis], count, *features.shape[axis + 1 :])
    result = torch.empty(shape, dtype=features.dtype, memory_format=LAST).zero_()
    for shift in range(-before, window - before):
        first, last = max(0, math.ceil(-shift / step)), min(count - 1, (length - 1 - shift) // step)
        if first <= last:
            here = result.narrow(axis, first, last - first + 1)
            there = every(features, axis, first * step + shift, last * step + shift + 1, step)
            torch.maximum(here, there, out=here)
    return result


def every(features: Tensor, axis: int, start: int, stop: int, step: int) -> Tensor:
    """A view of every `step`-th value from start to stop along one axis."""
    place = (*(slice(None),) * axis, slice(start, stop, step))
    return features[place]
