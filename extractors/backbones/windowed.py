"""Adapter for backbones that take windows, such as action recognition networks, instead of a run of frames."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tal_cli.extractors.backbones.preprocessing import Preparation
from tal_cli.extractors.features.contract import FeatureContract


def unfold_windows(frames: Tensor, window: int, stride: int) -> Tensor:
    """frames [N, C, H, W] -> windows [B, C, window, H, W], a view: frames that windows share are stored once."""
    return frames.unfold(0, window, stride).permute(0, 1, 4, 2, 3)


class WindowedBackbone(nn.Module):
    """A network on windows as a Backbone: each frame is prepared once, then unfolded into windows without a copy.

    network: [B, C, window, H, W] -> [B, channels], in evaluation mode. window_bytes: see `Backbone`. Raises ValueError
    if the contract's preprocessing does not parse.
    """

    lookahead = 0

    def __init__(self, contract: FeatureContract, network: nn.Module, *, window_bytes: int) -> None:
        super().__init__()
        self.contract = contract
        self.network = network
        self.window_bytes = window_bytes
        self.preparation = Preparation.of(contract)

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """The frame size (width, height) requested from the decoder."""
        return self.preparation.frame_size(width, height)

    def prepare(self, frames: Tensor) -> Tensor:
        """uint8 [n, H, W, 3] -> float32 [n, C, h, w]."""
        return self.preparation(frames)

    def forward(self, prepared: Tensor, times: Tensor) -> Tensor:
        """float32 [N, C, h, w] and float64 [N] seconds -> float32 [B, channels]."""
        features: Tensor = self.network(unfold_windows(prepared, self.contract.window, self.contract.stride))
        return features.float()

    def to(self, device: str | torch.device) -> WindowedBackbone:  # type: ignore[override]
        """Move the network; the memory format of its weights stays."""
        return super().to(device)
