"""Adapters for networks on windows or chunks, such as action recognition networks, that make Backbones of them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal_cli.extractors.backbones.preprocessing import Preparation
from tal_cli.extractors.features.contract import FeatureContract


def unfold_windows(frames: Tensor, window: int, stride: int) -> Tensor:
    """frames [N, C, H, W] -> windows [B, C, window, H, W], a view: frames that windows share are stored once."""
    return frames.unfold(0, window, stride).permute(0, 1, 4, 2, 3)


INTERPOLATED = ", interpolated"  # ends the pooling of rows that are read between time steps at coarser strides too


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


class DenseBackbone(nn.Module):
    """A network over chunks as a Backbone: each frame is computed about once, not once for every window that holds it.

    A window of the contract is the `stride` frames of one row with the frames around them that every pass has: rows
    near a chunk's edges, where the network sees less, are left out. Frames of the overlap beyond the window are
    context. network: [1, C, N, h, w] -> [1, channels, N / step], rounded up; a row of the contract is the mean over
    those of its `stride` frames, or lies between two of them, if the stride is a part of the step or pooling says so.
    window_bytes: see `Backbone`.
    """

    lookahead = 0

    def __init__(
        self,
        contract: FeatureContract,
        network: nn.Module,
        *,
        step: int,
        window_bytes: int,
    ) -> None:
        super().__init__()
        self.contract = contract
        self.network = network
        self.windows_per_pass = contract.rows
        self.window_bytes = window_bytes
        self.preparation = Preparation.of(contract)
        overlap = contract.overlap or 0
        self.context = (overlap - (contract.window - contract.stride)) // 2
        self.margin = overlap // (2 * contract.stride)
        self.step = step

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """The frame size (width, height) requested from the decoder."""
        return self.preparation.frame_size(width, height)

    def prepare(self, frames: Tensor) -> Tensor:
        """uint8 [n, H, W, 3] -> float32 [n, C, h, w]."""
        return self.preparation(frames)

    def forward(self, prepared: Tensor, times: Tensor) -> Tensor:
        """float32 [N, C, h, w] and float64 [N] seconds -> float32 [B, channels]."""
        return self.rows(prepared, self.margin)

    def rows(self, prepared: Tensor, margin: int) -> Tensor:
        """float32 [N, C, h, w] -> float32 [N / stride - 2 margin, channels], without the rows of either end."""
        return self.trimmed(self.network(prepared.transpose(0, 1)[None]), len(prepared), margin)

    def trimmed(self, made: Tensor, frames: int, margin: int) -> Tensor:
        """The network's rows [1, channels, N / step or more] of N frames as those of `rows`."""
        stride = self.contract.stride
        each = stride // self.step
        if stride < self.step or self.contract.pooling.endswith(INTERPOLATED):
            length = made.shape[2] * self.step // stride
            rows = F.interpolate(made.float(), length, mode="linear", align_corners=False)[0].T
        else:
            rows = made[0].T.float()[: frames // stride * each].unflatten(0, (-1, each)).mean(1)
        return rows[margin : frames // stride - margin]

    def to(self, device: str | torch.device) -> DenseBackbone:  # type: ignore[override]
        """Move the network; the memory format of its weights stays."""
        return super().to(device)
