"""R(2+1)D-34 (Tran et al. 2018) in the form used by TSP (Alwassel et al. 2021, "Temporally-Sensitive Pretraining").

Names as in TSP's files: `features.` holds the network, `fc1.` and `fc2.` (or `fc.`) the heads. Unlike torchvision's, a
block counts the middle width of its factored convolutions for each of them, and batch norms have eps 1e-3.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from tal_cli.extractors.backbones.blueprint import WindowBlueprint
from tal_cli.extractors.features.contract import FeatureContract

CHANNELS = 512
EPS = 1e-3
STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))  # width and blocks


def middle(inputs: int, outputs: int) -> int:
    """Channels between the two parts of a factored 3x3x3 convolution, so that it has as many weights as the full one
    (section 3.5 of the network's paper)."""
    return inputs * outputs * 27 // (inputs * 9 + 3 * outputs)


def norm(channels: int) -> nn.BatchNorm3d:
    return nn.BatchNorm3d(channels, eps=EPS)


def factored(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """3x3 over space, then 3 over time, with norm and ReLU between."""
    inner = middle(inputs, outputs)
    return nn.Sequential(
        nn.Conv3d(inputs, inner, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False),
        norm(inner),
        nn.ReLU(inplace=True),
        nn.Conv3d(inner, outputs, (3, 1, 1), (stride, 1, 1), (1, 0, 0), bias=False),
    )


class Block(nn.Module):
    """A residual block of two factored convolutions."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Sequential(factored(inputs, outputs, stride), norm(outputs), nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(factored(outputs, outputs, 1), norm(outputs))
        self.downsample = None
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride, bias=False), norm(outputs))

    def forward(self, features: Tensor) -> Tensor:
        base = features if self.downsample is None else self.downsample(features)
        return F.relu_(self.conv2(self.conv1(features)) + base)


class Features(nn.Module):
    """[B, 3, T, H, W] -> [B, 512, T / 8, H / 16, W / 16]."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv3d(3, 45, (1, 7, 7), (1, 2, 2), (0, 3, 3), bias=False),
            norm(45),
            nn.ReLU(inplace=True),
            nn.Conv3d(45, 64, (3, 1, 1), padding=(1, 0, 0), bias=False),
            norm(64),
            nn.ReLU(inplace=True),
        )
        inputs = 64
        for index, (width, blocks) in enumerate(STAGES):
            first = Block(inputs, width, 2 if index else 1)
            stage = nn.Sequential(first, *(Block(width, width, 1) for _ in range(blocks - 1)))
            self.add_module(f"layer{index + 1}", stage)
            inputs = width

    def forward(self, windows: Tensor) -> Tensor:
        features = windows
        for stage in self.children():
            features = stage(features)
        return features


class Tsp(nn.Module):
    """[B, 3, T, H, W] -> [B, 512], the mean over time and space."""

    def __init__(self) -> None:
        super().__init__()
        self.features = Features()

    def forward(self, windows: Tensor) -> Tensor:
        features: Tensor = self.features(windows)
        return features.mean((2, 3, 4))


def network(contract: FeatureContract) -> Tsp:
    return Tsp()


HEADS = ("fc.", "fc1.", "fc2.")
TSP = WindowBlueprint(network, ignored=HEADS, window_bytes=160 << 20)
