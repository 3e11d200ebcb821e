"""SlowFast: the EPIC-KITCHENS-100 features, the Kinetics-400 weights, and the network behind the HACS features."""

from __future__ import annotations

from tal_cli.extractors.catalog.entry import BackboneEntry
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.files.weights import WeightsSource

EPIC_PAGE = "https://github.com/epic-kitchens/epic-kitchens-slowfast"
ZOO = "https://github.com/facebookresearch/pytorchvideo/blob/main/docs/source/model_zoo.md"
ORIGINAL_ZOO = "https://github.com/facebookresearch/SlowFast/blob/main/MODEL_ZOO.md"
CHANNELS = 2304
VALUES = "0..1 mean 0.45 0.45 0.45 std 0.225 0.225 0.225"
POOLING = "mean over each pathway"
CHOICES = {"pooling": ("mean over the head's windows",)}
ORDER = "Channels: slow pathway 2048, then fast pathway 256."
HACS_NOTE = (
    "The HACS features of TCANet come from a SlowFast R101; their frame rate, frame size and weights are not published."
    " These are the Kinetics-400 weights, with windows of 32 frames at 15 frames per second, as detectors on those"
    " features count time."
)


def contract(
    name: str, rate: float | None, stride: int, pixels: int, values: str = VALUES, rounding: str = "round-up"
) -> FeatureContract:
    """32 frames, global average pooling of both pathways."""
    return FeatureContract(
        extractor=name,
        weights_sha256=None,
        sampling_rate=rate,
        max_rate=None,
        window=32,
        stride=stride,
        alignment="center",
        resize="bilinear short 256",
        crop=f"center {pixels}x{pixels} {rounding}",
        value_range=values,
        layer="s5",
        pooling=POOLING,
        channels=CHANNELS,
    )


def kinetics(file: str, url: str, page: str) -> WeightsSource:
    """A file of Kinetics-400 weights."""
    return WeightsSource(file=file, url=url, page=page, licence="Apache-2.0 (repository)")


def pytorchvideo(name: str) -> WeightsSource:
    """A file of pytorchvideo's model zoo."""
    url = f"https://dl.fbaipublicfiles.com/pytorchvideo/model_zoo/kinetics/{name}.pyth"
    return kinetics(f"pytorchvideo_{name}.pyth", url, ZOO)


ENTRIES = (
    BackboneEntry(
        name="slowfast-epic",
        description="SlowFast R50 8x8 trained on EPIC-KITCHENS-100: the EPIC features",
        contract=contract("slowfast-epic", 30.0, 16, 256, f"BGR {VALUES}"),
        blueprint="tal_cli.extractors.backbones.slowfast:SLOWFAST_R50_8X8",
        weights=(
            WeightsSource(
                file="slowfast_epic100.pyth",
                url="https://www.dropbox.com/s/uxb6i2xkn91xqzi/SlowFast.pyth?dl=1",
                page=EPIC_PAGE,
                licence="CC BY-NC-SA 4.0 (repository)",
            ),
        ),
        choices=CHOICES,
        notes=(
            "Published features: windows of 32 frames at 30 frames per second, stride 16, 32 x 256 x 256 values, global"
            " average pooling.",
            "The training code reads frames as blue, green, red and never reorders them; which order the published"
            " features were made with is not published. `--set value_range=...` without BGR takes the other.",
            ORDER,
        ),
    ),
    BackboneEntry(
        name="slowfast-r50-8x8",
        description="SlowFast R50 8x8 trained on Kinetics-400",
        contract=contract("slowfast-r50-8x8", 15.0, 16, 224),
        blueprint="tal_cli.extractors.backbones.slowfast:SLOWFAST_R50_8X8",
        weights=(pytorchvideo("SLOWFAST_8x8_R50"),),
        choices=CHOICES,
        notes=("32 frames, every second one of 30 per second, as it was trained.", ORDER),
    ),
    BackboneEntry(
        name="slowfast-r50-4x16",
        description="SlowFast R50 4x16 trained on Kinetics-400",
        contract=contract("slowfast-r50-4x16", 15.0, 16, 224),
        blueprint="tal_cli.extractors.backbones.slowfast:SLOWFAST_R50_4X16",
        weights=(
            kinetics(
                "pyslowfast_SLOWFAST_4x16_R50.pkl",
                "https://dl.fbaipublicfiles.com/pyslowfast/model_zoo/kinetics400/SLOWFAST_4x16_R50.pkl",
                ORIGINAL_ZOO,
            ),
        ),
        choices=CHOICES,
        notes=("32 frames, every second one of 30 per second, as it was trained.", ORDER),
    ),
    BackboneEntry(
        name="slowfast-r101-8x8",
        description="SlowFast R101 8x8 trained on Kinetics-400, the network of the HACS features",
        contract=contract("slowfast-r101-8x8", 15.0, 8, 256),
        blueprint="tal_cli.extractors.backbones.slowfast:SLOWFAST_R101_8X8",
        weights=(pytorchvideo("SLOWFAST_8x8_R101"),),
        choices=CHOICES,
        notes=(HACS_NOTE, ORDER),
    ),
)
