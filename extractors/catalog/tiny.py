"""The `camera` model's backbone."""

from __future__ import annotations

from tal_cli.extractors.catalog.entry import BackboneEntry
from tal_cli.extractors.features.contract import FeatureContract

ENTRIES = (
    BackboneEntry(
        name="tiny",
        description="camera motion and editing effects, measured; needs no weights",
        contract=FeatureContract(
            extractor="tiny",
            weights_sha256=None,
            sampling_rate=None,
            max_rate=36.0,
            window=16,
            stride=4,
            alignment="center",
            resize="area to about 8000 pixels, aspect kept",
            crop="none",
            value_range="0..1 RGB",
            layer="measures 2",
            pooling="frames of the window side by side",
            channels=516,
        ),
        blueprint="tal_cli.extractors.backbones.tiny:TINY",
        settable=("sampling_rate", "max_rate"),
    ),
)
