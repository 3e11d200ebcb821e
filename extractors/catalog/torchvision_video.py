"""torchvision's video networks, trained on Kinetics-400, with the sampling and preprocessing of their published scores.

Facts: the weights' own transforms and notes in `torchvision.models.video`.
"""

from __future__ import annotations

from dataclasses import dataclass

from tal_cli.extractors.catalog.entry import BackboneEntry, Classifier
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.files.weights import WeightsSource

KINETICS = "mean 0.43216 0.394666 0.37645 std 0.22803 0.22145 0.216989"
HALVES = "mean 0.45 0.45 0.45 std 0.225 0.225 0.225"
IMAGENET = "mean 0.485 0.456 0.406 std 0.229 0.224 0.225"
PAGE = "https://docs.pytorch.org/vision/stable/models.html#video-classification"
NOTE = "Rate, window and preprocessing are those of its published accuracy; no detector was published on it."


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """fps: frames per second. window: frames. size: of frames after resizing. crop: pixels. values: normalisation."""

    fps: float
    window: int
    size: str
    crop: int
    values: str


RESNETS = Sampling(fps=15.0, window=16, size="171x128", crop=112, values=KINETICS)
MVITS = Sampling(fps=7.5, window=16, size="short 256", crop=224, values=HALVES)
SWINS = Sampling(fps=15.0, window=32, size="short 256", crop=224, values=IMAGENET)
S3D = Sampling(fps=15.0, window=128, size="256x256", crop=224, values=KINETICS)


def entry(name: str, what: str, file: str, channels: int, sampling: Sampling, layer: str = "head") -> BackboneEntry:
    """One network; the digits that its file's name ends in begin its SHA-256. layer: its classifier."""
    return BackboneEntry(
        name=name,
        description=f"torchvision's {what} trained on Kinetics-400",
        contract=FeatureContract(
            extractor=name,
            weights_sha256=None,
            sampling_rate=sampling.fps,
            max_rate=None,
            window=sampling.window,
            stride=sampling.window // 4,
            alignment="center",
            resize=f"bilinear 8-bit {sampling.size}",
            crop=f"center {sampling.crop}x{sampling.crop} round-even",
            value_range=f"0..1 {sampling.values}",
            layer="input of the classifier",
            pooling="the network's own",
            channels=channels,
        ),
        blueprint=f"tal_cli.extractors.backbones.torchvision_video:{name.upper()}",
        weights=(
            WeightsSource(
                file=file,
                url=f"https://download.pytorch.org/models/{file}",
                page=PAGE,
                licence="BSD-3-Clause (torchvision)",
                sha256=file.rpartition("-")[2].removesuffix(".pth"),
            ),
        ),
        classifier=Classifier(layer=layer, classes="kinetics-400"),
        notes=(NOTE,),
    )


ENTRIES = (
    entry("r3d_18", "3D ResNet-18", "r3d_18-b3b3357e.pth", 512, RESNETS, "fc"),
    entry("mc3_18", "mixed-convolution ResNet-18", "mc3_18-a90a0ba3.pth", 512, RESNETS, "fc"),
    entry("r2plus1d_18", "R(2+1)D-18", "r2plus1d_18-91a641e6.pth", 512, RESNETS, "fc"),
    entry("s3d", "S3D", "s3d-d76dad2f.pth", 1024, S3D, "classifier.1"),
    entry("mvit_v1_b", "MViT-B", "mvit_v1_b-dbeb1030.pth", 768, MVITS, "head.1"),
    entry("mvit_v2_s", "MViTv2-S", "mvit_v2_s-ae3be167.pth", 768, MVITS, "head.1"),
    entry("swin3d_t", "Video Swin-T", "swin3d_t-7615ae03.pth", 768, SWINS),
    entry("swin3d_s", "Video Swin-S", "swin3d_s-da41c237.pth", 768, SWINS),
    entry("swin3d_b", "Video Swin-B", "swin3d_b_1k-24f7c7c6.pth", 1024, SWINS),
)
