"""What a recipe says of the features that its detector reads. Imports no torch."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from tal_cli.models.recipe.strict import Positive, Strict


class FeatureSpec(Strict):
    """What the feature sequence must be: one vector of `channels` per `stride` frames, each seeing `window` frames.

    The fields of a feature contract; those from `alignment` on may be left unsaid (None) and are then not compared.
    """

    extractor: str
    channels: Positive
    window: Positive
    stride: Positive
    sampling_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None  # frames/s resampled to first
    max_rate: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None  # frames/s, decimated to at most this
    alignment: str | None = None
    resize: str | None = None
    crop: str | None = None
    value_range: str | None = None
    layer: str | None = None
    pooling: str | None = None
    weights_sha256: str | None = None
