"""TSP: R(2+1)D-34 trained to tell actions from background."""

from __future__ import annotations

from tal_cli.extractors.catalog.entry import BackboneEntry
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.files.weights import WeightsSource

PAGE = "https://github.com/HumamAlwassel/TSP"
RELEASE = f"{PAGE}/releases/download/model_weights"
NOTE = (
    "The published features come from videos that were first re-encoded at 30 frames per second, of which every second"
    " one was taken; here 15 are picked by presentation time."
)


def entry(name: str, data: str, file: str, stride: int) -> BackboneEntry:
    """The weights of one data set; the digits that a file's name ends in begin its SHA-256."""
    return BackboneEntry(
        name=name,
        description=f"R(2+1)D-34 trained by TSP on {data}",
        contract=FeatureContract(
            extractor=name,
            weights_sha256=None,
            sampling_rate=15.0,
            max_rate=None,
            window=16,
            stride=stride,
            alignment="center",
            resize="bilinear 171x128",
            crop="center 112x112 round-even",
            value_range="0..1 mean 0.43216 0.394666 0.37645 std 0.22803 0.22145 0.216989",
            layer="layer4",
            pooling="mean over time and space",
            channels=512,
        ),
        blueprint="tal_cli.extractors.backbones.tsp:TSP",
        weights=(
            WeightsSource(
                file=file,
                url=f"{RELEASE}/{file}",
                page=f"{PAGE}/releases/tag/model_weights",
                licence="MIT (repository)",
                sha256=file.rpartition("-")[2].removesuffix(".pth"),
            ),
        ),
        notes=(NOTE,),
    )


ENTRIES = (
    entry(
        "tsp",
        "ActivityNet",
        "r2plus1d_34-tsp_on_activitynet-max_gvf-backbone_lr_0.0001-fc_lr_0.002-epoch_5-0d2cf854.pth",
        16,
    ),
    entry(
        "tsp-thumos",
        "THUMOS14",
        "r2plus1d_34-tsp_on_thumos14-max_gvf-backbone_lr_0.0001-fc_lr_0.004-epoch_4-e6a30b2f.pth",
        1,
    ),
)
