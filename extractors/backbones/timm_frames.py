"""timm's image models on single frames; a window's feature is the mean (or maximum) of its frames'."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tal_cli.extractors.backbones.blueprint import State, as_released
from tal_cli.extractors.backbones.interface import Backbone
from tal_cli.extractors.backbones.preprocessing import Preparation
from tal_cli.extractors.catalog.timm_frames import MAX, image_model
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.preprocessing_spec import Crop
from tal_cli.extractors.files.weights import read_state

IMAGES_AT_ONCE = 16
LITE0_MODEL = "tf_efficientnet_lite0"


class FrameBackbone(nn.Module):
    """An image model as a Backbone: `prepare` computes each frame's features, a window pools those of its frames."""

    lookahead = 0

    def __init__(self, contract: FeatureContract, network: nn.Module) -> None:
        super().__init__()
        self.contract = contract
        self.network = network
        self.preparation = Preparation.of(contract)
        self.window_bytes = 8 * contract.window * contract.channels

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """The frame size (width, height) requested from the decoder."""
        return self.preparation.frame_size(width, height)

    def prepare(self, frames: Tensor) -> Tensor:
        """uint8 [n, H, W, 3] -> float32 [n, channels]."""
        return torch.cat([self.network(self.preparation(some)).float() for some in frames.split(IMAGES_AT_ONCE)])

    def forward(self, prepared: Tensor, times: Tensor) -> Tensor:
        """float32 [N, channels] -> float32 [B, channels]."""
        windows = prepared.unfold(0, self.contract.window, self.contract.stride)  # [B, channels, window]
        return windows.amax(-1) if self.contract.pooling == MAX else windows.mean(-1)


@dataclass(frozen=True)
class FrameBlueprint:
    """One image model of timm, by default that of the extractor's name.

    ignored: the prefixes of classifiers in timm's models.
    """

    model: str | None = None

    ignored: tuple[str, ...] = ("fc.", "head.", "head_dist.", "classifier.", "last_linear.", "classif.")
    released: Callable[[State], State] = as_released

    def networks(self, contract: FeatureContract) -> Sequence[nn.Module]:
        with torch.device("cpu"):  # tables that are in no file
            network = image_model(self.model or contract.extractor)
        described: dict[str, Any] = network.pretrained_cfg  # type: ignore[assignment]
        _, height, width = described["input_size"]
        if described.get("fixed_input_size") and Crop.parse(contract.crop).size != (width, height):
            raise ValueError(f"crop={contract.crop}: {contract.extractor} takes images of {width}x{height} pixels only")
        return (network,)

    def assemble(self, contract: FeatureContract, networks: Sequence[nn.Module]) -> Backbone:
        return FrameBackbone(contract, networks[0])


FRAMES = FrameBlueprint()
LITE0 = FrameBlueprint(LITE0_MODEL)


def efficientnet_lite0(path: Path) -> dict[str, Tensor]:
    """Tensors under timm's names from a published file of the same network, which has them in the same order.

    Raises WeightsError for a file that cannot be read, ValueError for tensors that do not fit.
    """
    import timm

    with torch.device("meta"):
        wanted = timm.create_model(LITE0_MODEL, pretrained=False).state_dict()
    given = read_state(path)
    if [value.shape for value in given.values()] != [value.shape for value in wanted.values()]:
        raise ValueError(f"its tensors are not those of timm's {LITE0_MODEL}")
    return dict(zip(wanted, given.values(), strict=True))
