"""Backbones made to measure: by a person's options, or by what a detector was trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tal_cli.extractors.backbones import create_backbone
from tal_cli.extractors.backbones.interface import Backbone
from tal_cli.extractors.catalog import find
from tal_cli.extractors.errors import UsageError
from tal_cli.models.recipe.features import FeatureSpec


@dataclass(frozen=True, kw_only=True)
class Framing:
    """Which frames a window sees; None: what the extractor was made for.

    Attributes:
        window: frames per window.
        stride: frames from one window to the next.
        sampling_rate: frames per second that the video is resampled to first.
        max_rate: without sampling rate, frames per second at most.
    """

    window: int | None = None
    stride: int | None = None
    sampling_rate: float | None = None
    max_rate: float | None = None


def make_backbone(
    name: str,
    framing: Framing = Framing(),
    weights: Path | Sequence[Path] | None = None,
    settings: Mapping[str, object] | None = None,
) -> Backbone:
    """A backbone by name whose contract says the framing and the other settings asked for.

    Raises:
        UsageError: an unknown name, or settings that this backbone cannot have.
        WeightsMissing: it needs weights that are not given.
        WeightsError: the file does not hold its weights.
    """
    try:
        asked = {key: value for key, value in vars(framing).items() if value is not None}
        published = vars(find(name).contract)
        changes = {key: value for key, value in asked.items() if published[key] != value} | dict(settings or {})
        return create_backbone(name, weights, changes)
    except ValueError as error:
        raise UsageError(str(error)) from error


def backbone_for(spec: FeatureSpec) -> Backbone:
    """The backbone that a recipe's features come from, as far as it can be had; raises as `make_backbone`."""
    framing = Framing(window=spec.window, stride=spec.stride, sampling_rate=spec.sampling_rate, max_rate=spec.max_rate)
    return make_backbone(spec.extractor, framing)
