"""torchvision's 3D ResNet-18 (Tran et al. 2018, "A Closer Look at Spatiotemporal Convolutions", R3D), Kinetics-400."""

from __future__ import annotations

import os

from torch import nn

from extractors.backbones.windowed import WindowedBackbone, load_weights
from extractors.contract import FeatureContract

WEIGHTS_URL = "https://download.pytorch.org/models/r3d_18-b3b3357e.pth"


class ResNet3d18(WindowedBackbone):
    """r3d_18 up to its global average pooling: 512 channels per window of 16 frames.

    Preprocessing is that of the published weights: 171x128 (aspect ignored), centre crop 112x112, Kinetics mean and
    standard deviation; the resize is the decoder's area average in place of bilinear sampling.
    Raises WeightsMissing, WeightsError.
    """

    def __init__(self, weights: str | os.PathLike[str] | None) -> None:
        from torchvision.models.video import r3d_18

        network = r3d_18(weights=None)
        remedy = f"download {WEIGHTS_URL} and give the file as --weights FILE"
        digest = load_weights(network, weights, "r3d_18", remedy)
        network.fc = nn.Identity()
        contract = FeatureContract(
            extractor="r3d_18",
            weights_sha256=digest,
            sampling_rate=None,
            max_rate=None,
            window=16,
            stride=4,
            alignment="center",
            resize="area 171x128",
            crop="center 112x112",
            value_range="0..1, Kinetics mean and std",
            layer="avgpool",
            pooling="mean over time and space",
            channels=512,
        )
        super().__init__(
            contract,
            network,
            resize=(171, 128),
            crop=(112, 112),
            mean=(0.43216, 0.394666, 0.37645),
            std=(0.22803, 0.22145, 0.216989),
        )
