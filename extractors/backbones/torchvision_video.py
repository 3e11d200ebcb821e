"""torchvision's video networks up to the input of their classifiers."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import video

from tal_cli.extractors.backbones.blueprint import WindowBlueprint
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.preprocessing_spec import Crop

MEGABYTE = 1 << 20


def network(name: str, head: str) -> nn.Module:
    """The network without its head. Built on the CPU, because files lack some of its tables and indices."""
    with torch.device("cpu"):
        made: nn.Module = getattr(video, name)(weights=None)
    setattr(made, head, nn.Identity())
    return made


def resnet(name: str) -> WindowBlueprint:
    """A video ResNet (Tran et al. 2018): 512 channels after the global average pool, windows of any length."""
    return WindowBlueprint(lambda contract: network(name, "fc"), ignored=("fc.",), window_bytes=120 * MEGABYTE)


def s3d(contract: FeatureContract) -> nn.Module:
    """S3D (Xie et al. 2018): 1024 channels, the mean over all positions of its 2 x 7 x 7 pool."""
    if contract.window < 14:
        raise ValueError(f"window={contract.window}: S3D takes at least 14 frames")
    return network("s3d", "classifier")


def mvit(name: str) -> WindowBlueprint:
    """A multiscale vision transformer (Fan et al. 2021, Li et al. 2022): 768 channels of its class token."""

    def fixed(contract: FeatureContract) -> nn.Module:
        if contract.window != 16 or Crop.parse(contract.crop).size != (224, 224):
            raise ValueError(
                f"{name} takes windows of 16 frames of 224x224 pixels only, the size of its position table"
            )
        return network(name, "head")

    return WindowBlueprint(fixed, ignored=("head.",), window_bytes=320 * MEGABYTE)


def swin(name: str) -> WindowBlueprint:
    """A video Swin transformer (Liu et al. 2022): the mean over its tokens; windows and images of any size."""
    return WindowBlueprint(lambda contract: network(name, "head"), ignored=("head.",), window_bytes=800 * MEGABYTE)


R3D_18 = resnet("r3d_18")
MC3_18 = resnet("mc3_18")
R2PLUS1D_18 = resnet("r2plus1d_18")
S3D = WindowBlueprint(s3d, ignored=("classifier.",), window_bytes=1200 * MEGABYTE)
MVIT_V1_B = mvit("mvit_v1_b")
MVIT_V2_S = mvit("mvit_v2_s")
SWIN3D_T = swin("swin3d_t")
SWIN3D_S = swin("swin3d_s")
SWIN3D_B = swin("swin3d_b")
