"""The features that a detector reads, according to its recipe, and their contract. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tal_cli.extractors.features.contract import FeatureContract, shown
from tal_cli.models.recipe.strict import Positive, Rate, Strict, Width

UNKNOWN = "unknown"
UNSAID = {None, UNKNOWN}
FRAMING = ("window", "stride", "sampling_rate", "max_rate")
PREPARATION = ("alignment", "resize", "crop", "value_range", "chunk", "overlap")
ALWAYS_SAID = ("extractor", "channels", *FRAMING)


class FeatureSpec(Strict):
    """The required feature sequence: one vector of `channels` per `stride` frames, each covering `window` frames.

    The fields of a feature contract; those from `alignment` on may be unspecified (None) and are then not compared.
    """

    extractor: str
    channels: Width
    window: Positive
    stride: Positive
    sampling_rate: Rate | None = None  # frames/s resampled to first
    max_rate: Rate | None = None  # frames/s, decimated to at most this
    alignment: str | None = None
    resize: str | None = None
    crop: str | None = None
    value_range: str | None = None
    layer: str | None = None
    pooling: str | None = None
    weights_sha256: str | None = None
    chunk: Positive | None = None  # frames of a pass that gives several rows
    overlap: Annotated[int, Field(ge=0)] | None = None  # frames it shares with the next

    @classmethod
    def of(cls, contract: FeatureContract) -> FeatureSpec:
        """The settings of features made under a contract."""
        return cls(**{name: getattr(contract, name) for name in cls.model_fields})

    def contract(self) -> FeatureContract:
        """The contract assumed for features without one: `unknown` for fields that the recipe does not specify."""
        said = self.model_dump()
        return FeatureContract(
            **{
                **said,
                "alignment": self.alignment or "center",
                **{name: said[name] or UNKNOWN for name in ("resize", "crop", "value_range", "layer", "pooling")},
            }
        )

    def differences(self, found: FeatureContract) -> list[str]:
        """What a detector expects and features do not give, one `name: wanted X, found Y` each.

        Fields that either side leaves unspecified are not compared, except extractor, channels and framing.
        """
        return [
            f"{name}: wanted {shown(getattr(self, name))}, found {shown(getattr(found, name))}"
            for name in FeatureSpec.model_fields
            if getattr(self, name) != getattr(found, name)
            and (name in ALWAYS_SAID or UNSAID.isdisjoint((getattr(self, name), getattr(found, name))))
        ]

    def framing(self) -> dict[str, object]:
        """Settings of the extractor under which windows, steps and frames are the recipe's."""
        said = {name: getattr(self, name) for name in (*FRAMING, *PREPARATION)}
        return {name: value for name, value in said.items() if name in FRAMING or value not in UNSAID}
