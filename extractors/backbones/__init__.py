"""Backbones: small RGB frames in, one feature vector per window out. Listing them imports no torch.

A new backbone is one module here and one line in BACKBONES.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Protocol

from extractors.contract import FeatureContract

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class WeightsMissing(Exception):
    """A backbone needs trained weights that were not given. `remedy` says how to get them."""

    def __init__(self, backbone: str, remedy: str) -> None:
        super().__init__(f"the backbone {backbone} needs trained weights")
        self.backbone = backbone
        self.remedy = remedy


class WeightsError(Exception):
    """A file that does not hold the weights of this backbone."""


class Backbone(Protocol):
    """What extraction asks of a backbone.

    Called with frames uint8 [N, H, W, 3] RGB and times float64 [N] seconds, N = window + (B - 1) * stride, it gives
    float32 [B, channels]. frame_size maps the upright video's (width, height) to that of the frames it wants.
    """

    contract: FeatureContract

    def frame_size(self, width: int, height: int) -> tuple[int, int]: ...

    def to(self, device: str | torch.device) -> object: ...

    def __call__(self, frames: Tensor, times: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class BackboneEntry:
    """name; module and factory under `extractors.backbones`; one line of description; whether it needs weights.

    A factory that needs weights takes the path of their file, another one takes nothing.
    """

    name: str
    module: str
    factory: str
    description: str
    needs_weights: bool


BACKBONES = (
    BackboneEntry("tiny", "tiny", "Tiny", "what camera and edit do to the picture, measured; needs no weights", False),
    BackboneEntry("r3d_18", "r3d", "ResNet3d18", "torchvision's 3D ResNet-18 trained on Kinetics-400", True),
)


def list_backbones() -> tuple[BackboneEntry, ...]:
    """All backbones, in the order in which they are shown."""
    return BACKBONES


def create_backbone(name: str, weights: str | os.PathLike[str] | None = None) -> Backbone:
    """A backbone by name, ready to run on the CPU.

    Raises ValueError for an unknown name, WeightsMissing where weights are needed and not given (they are never made
    up), WeightsError where the file does not fit.
    """
    entry = next((entry for entry in BACKBONES if entry.name == name), None)
    if entry is None:
        raise ValueError(f"unknown extractor {name!r}; there are {', '.join(entry.name for entry in BACKBONES)}")
    factory = getattr(import_module(f"{__name__}.{entry.module}"), entry.factory)
    backbone: Backbone = factory(weights) if entry.needs_weights else factory()
    return backbone
