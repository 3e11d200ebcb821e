"""VideoMAE V2."""

from __future__ import annotations

from typing import Any

from harness.backbones.case import Case
from tal_cli.extractors.backbones.preprocessing import Preparation
from tal_cli.extractors.backbones.vit.layers import without_prefixes
from tal_cli.extractors.backbones.vit.videomae import VideoMAE, VideoMAEShape
from tal_cli.extractors.catalog import find


def check(case: Case) -> None:
    """Input, activations, features and logits; for the giant also the names of all its blocks."""
    config = case.facts["config"]
    shape = shape_of(config)
    size = config["img_size"]
    contract = find("videomaev2-b").contract.changed({"resize": f"bilinear {size}x{size}"})
    windows = Preparation.of(contract)(case.clip()).transpose(0, 1)[None]
    case.compare_input(windows)

    def make() -> VideoMAE:
        return VideoMAE(shape, frames=config["all_frames"], size=size, classes=config["num_classes"])

    network = case.load(make, without_prefixes)
    with case.watching(network):
        feature = network(windows)
    case.compare("feature", feature)
    case.compare("logits", network.head(feature))
    if "state_dict_full_depth_40" in case.facts:
        whole = VideoMAEShape(shape.width, 40, shape.heads, shape.hidden, shape.patch)
        case.compare_names(
            "names of 40 blocks",
            lambda: VideoMAE(whole, classes=config["num_classes"]),
            case.facts["state_dict_full_depth_40"],
        )


def shape_of(config: dict[str, Any]) -> VideoMAEShape:
    """The network that a recorded configuration describes."""
    width = config["embed_dim"]
    hidden = round(width * config["mlp_ratio"])
    return VideoMAEShape(width, config["depth"], config["num_heads"], hidden, config["patch_size"])
