"""Whether features are what a detector was trained on: checked before a forward pass, not after a bad result."""

from __future__ import annotations

from tal_cli.extractors.features.contract import FeatureContract, shown
from tal_cli.models.recipe.features import FeatureSpec

UNKNOWN = "unknown"
UNSAID = {None, UNKNOWN}
ALWAYS_SAID = ("extractor", "channels", "window", "stride", "sampling_rate", "max_rate")


def differences(wanted: FeatureSpec, found: FeatureContract) -> list[str]:
    """What a detector expects and features do not give, one `name: wanted X, found Y` each."""
    return [
        f"{name}: wanted {shown(getattr(wanted, name))}, found {shown(getattr(found, name))}"
        for name in FeatureSpec.model_fields
        if getattr(wanted, name) != getattr(found, name)
        and (name in ALWAYS_SAID or UNSAID.isdisjoint((getattr(wanted, name), getattr(found, name))))
    ]


def of_recipe(spec: FeatureSpec) -> FeatureContract:
    """The contract that features without one are taken to follow: what the recipe says, nothing about pictures."""
    return FeatureContract(
        extractor=spec.extractor,
        weights_sha256=spec.weights_sha256,
        sampling_rate=spec.sampling_rate,
        max_rate=spec.max_rate,
        window=spec.window,
        stride=spec.stride,
        alignment=spec.alignment or "center",
        resize=spec.resize or UNKNOWN,
        crop=spec.crop or UNKNOWN,
        value_range=spec.value_range or UNKNOWN,
        layer=spec.layer or UNKNOWN,
        pooling=spec.pooling or UNKNOWN,
        channels=spec.channels,
    )
