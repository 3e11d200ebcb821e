"""Backbones on optical flow, alone or beside RGB (two-stream)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tal_cli.extractors.backbones.blueprint import State, as_released
from tal_cli.extractors.backbones.interface import Backbone
from tal_cli.extractors.backbones.motion.optical_flow import create_flow, quantise
from tal_cli.extractors.backbones.preprocessing import channels_first, crop, resize, rounded, scale
from tal_cli.extractors.backbones.windowed import WindowedBackbone
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.preprocessing_spec import Crop, Flow


class FlowBackbone(WindowedBackbone):
    """A network on windows of optical flow: frames are resized, flow is estimated between neighbours, quantised to
    8 bits, cropped and scaled. The network takes 2 channels, motion to the right and down.

    Raises the errors of `create_flow` if the contract's flow method is not available.
    """

    lookahead = 1

    def __init__(self, contract: FeatureContract, network: nn.Module, *, window_bytes: int) -> None:
        super().__init__(contract, network, window_bytes=window_bytes)
        assert contract.flow is not None
        self.flow = Flow.parse(contract.flow)
        self.estimator = create_flow(self.flow)

    def to(self, device: str | torch.device) -> FlowBackbone:  # type: ignore[override]
        self.estimator.to(device)
        super().to(device)
        return self

    def resized(self, frames: Tensor) -> Tensor:
        """uint8 [n, H, W, 3] -> uint8 [n, 3, h, w], the input of flow estimation."""
        images = resize(channels_first(frames), self.preparation.resize)
        return images if images.dtype == torch.uint8 else rounded(images)

    def motion(self, images: Tensor) -> Tensor:
        """uint8 [n + 1, 3, h, w] -> float32 [n, 2, h', w'], cropped and scaled."""
        levels = quantise(self.estimator(images.permute(0, 2, 3, 1).contiguous()), self.flow)
        return scale(crop(levels, self.preparation.crop), self.preparation.values)

    def prepare(self, frames: Tensor) -> Tensor:
        """uint8 [n + 1, H, W, 3] -> float32 [n, 2, h, w]."""
        return self.motion(self.resized(frames))


class TwoStreamBackbone(FlowBackbone):
    """Two networks on the same windows, one on RGB and one on flow; their features side by side, RGB first.

    Prepared frames have 5 channels: RGB, then flow.
    """

    def __init__(
        self, contract: FeatureContract, appearance: nn.Module, motion: nn.Module, *, window_bytes: int
    ) -> None:
        if Crop.parse(contract.crop).size is None:
            raise ValueError(f"crop={contract.crop}: both streams, RGB and flow, must be cropped to the same size")
        super().__init__(contract, Streams(appearance, motion), window_bytes=window_bytes)

    def prepare(self, frames: Tensor) -> Tensor:
        """uint8 [n + 1, H, W, 3] -> float32 [n, 5, h, w]."""
        images = self.resized(frames)
        colours = scale(crop(images[:-1], self.preparation.crop), self.preparation.values)
        return torch.cat((colours, self.motion(images)), 1)


class Streams(nn.Module):
    """[B, 5, T, H, W] -> the features of the first three channels, then those of the other two."""

    def __init__(self, appearance: nn.Module, motion: nn.Module) -> None:
        super().__init__()
        self.appearance, self.motion = appearance, motion

    def forward(self, windows: Tensor) -> Tensor:
        return torch.cat((self.appearance(windows[:, :3]), self.motion(windows[:, 3:])), 1)


@dataclass(frozen=True)
class FlowBlueprint:
    """One network on flow; the fields as WindowBlueprint's, network called with the number of input channels."""

    network: Callable[[FeatureContract, int], nn.Module]
    window_bytes: int
    ignored: tuple[str, ...] = ()
    released: Callable[[State], Mapping[str, Tensor]] = as_released
    finish: Callable[[nn.Module], nn.Module] = lambda network: network

    def networks(self, contract: FeatureContract) -> Sequence[nn.Module]:
        return (self.network(contract, 2),)

    def assemble(self, contract: FeatureContract, networks: Sequence[nn.Module]) -> Backbone:
        return FlowBackbone(contract, self.finish(networks[0]), window_bytes=self.window_bytes)


@dataclass(frozen=True)
class TwoStreamBlueprint(FlowBlueprint):
    """The same network twice: weights on RGB, then weights on flow."""

    def networks(self, contract: FeatureContract) -> Sequence[nn.Module]:
        return self.network(contract, 3), self.network(contract, 2)

    def assemble(self, contract: FeatureContract, networks: Sequence[nn.Module]) -> Backbone:
        appearance, motion = map(self.finish, networks)
        return TwoStreamBackbone(contract, appearance, motion, window_bytes=self.window_bytes)
