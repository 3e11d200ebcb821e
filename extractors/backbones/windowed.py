"""For backbones that take windows, as action recognition networks do, instead of a run of frames."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import torch
from torch import Tensor, nn

from extractors.backbones import WeightsError, WeightsMissing
from extractors.contract import FeatureContract


def unfold_windows(frames: Tensor, window: int, stride: int) -> Tensor:
    """frames [N, C, H, W] -> windows [B, C, window, H, W], a view: frames that windows share are stored once."""
    return frames.unfold(0, window, stride).permute(0, 1, 4, 2, 3)


class WindowedBackbone(nn.Module):
    """A network on windows as a Backbone: frames are normalised once, then unfolded into windows without a copy.

    network: [B, 3, window, H, W] -> [B, channels]. mean, std: of RGB in 0..1. crop: (width, height) cut from the
    centre. windows_per_pass: bounds the activations' memory, whatever the caller's batch.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        contract: FeatureContract,
        network: nn.Module,
        *,
        resize: tuple[int, int],
        crop: tuple[int, int],
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
        windows_per_pass: int = 8,
    ) -> None:
        super().__init__()
        self.contract = contract
        self.network = network.eval().requires_grad_(False)
        self.resize, self.crop, self.windows_per_pass = resize, crop, windows_per_pass
        self.register_buffer("mean", torch.tensor(mean).view(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(3, 1, 1), persistent=False)

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """The size that the network was trained on, whatever the video's."""
        return self.resize

    def forward(self, frames: Tensor, times: Tensor) -> Tensor:
        """uint8 [N, H, W, 3] and float64 [N] seconds -> float32 [B, channels]."""
        left, top = ((frames.shape[2] - self.crop[0]) // 2, (frames.shape[1] - self.crop[1]) // 2)
        cut = frames[:, top : top + self.crop[1], left : left + self.crop[0]].permute(0, 3, 1, 2)
        pictures = (cut.float() / 255 - self.mean) / self.std
        windows = unfold_windows(pictures, self.contract.window, self.contract.stride)
        return torch.cat([self.network(some) for some in windows.split(self.windows_per_pass)])


def file_sha256(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def load_weights(network: nn.Module, weights: str | os.PathLike[str] | None, backbone: str, remedy: str) -> str:
    """Load a state dict (.safetensors, or a pickle read with weights_only=True) and give its file's SHA-256.

    Raises WeightsMissing (with remedy) where no file is given or there, WeightsError where it does not fit.
    """
    if weights is None or not Path(weights).is_file():
        raise WeightsMissing(backbone, remedy)
    try:
        if Path(weights).suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(weights)
        else:
            state = torch.load(weights, map_location="cpu", weights_only=True)
        network.load_state_dict(state)
    except Exception as error:  # unpickling and safetensors each raise their own kinds
        reason = " ".join(str(error).split())[:300]
        raise WeightsError(f"{os.fspath(weights)}: it does not hold the weights of {backbone} ({reason})") from None
    return file_sha256(weights)
