"""Backbones: frames in, one feature vector per window out. Declared in `extractors.catalog`, built here.

Importing this loads no torch; making a backbone does.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Protocol, TypeAlias

from extractors.catalog import ENTRIES, BackboneEntry, find
from extractors.contract import FeatureContract
from extractors.weights import WeightsError, WeightsMissing

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "Backbone",
    "BackboneEntry",
    "WeightsError",
    "WeightsMissing",
    "create_backbone",
    "find",
    "list_backbones",
]

# A weights file, or what is in one.
Weights: TypeAlias = "str | os.PathLike[str] | Mapping[str, Tensor]"


class Backbone(Protocol):
    """What extraction asks of a backbone.

    `prepare` turns frames uint8 [n + lookahead, H, W, 3] RGB, on the backbone's device, into n prepared frames [n, ...].
    It looks at each frame alone, or at it and the `lookahead` frames after it, so that frames can be prepared in pieces
    of any size, once each, and be shared by the windows they are in.
    Called with N prepared frames and their times float64 [N] seconds, N = window + (B - 1) * stride, a backbone gives
    float32 [B, channels], in one forward pass that takes about `window_bytes` of memory per window.
    `frame_size` maps the upright video's (width, height) to that of the frames it wants from the decoder, and raises
    ValueError for a video whose pictures it cannot use.
    """

    contract: FeatureContract
    lookahead: int
    window_bytes: int

    def frame_size(self, width: int, height: int) -> tuple[int, int]: ...

    def to(self, device: str | torch.device) -> object: ...

    def prepare(self, frames: Tensor) -> Tensor: ...

    def __call__(self, prepared: Tensor, times: Tensor) -> Tensor: ...


def list_backbones() -> tuple[BackboneEntry, ...]:
    """All backbones, in the order in which they are shown."""
    return ENTRIES


def create_backbone(
    name: str,
    weights: Weights | Sequence[Weights] | None = None,
    settings: Mapping[str, object] | None = None,
) -> Backbone:
    """A backbone by name, ready to run on the CPU.

    weights: a file, or what is in one, for each that the backbone needs, in the catalog's order; those not given are
    looked for where downloads go. settings: fields of its contract that shall be different, see `FeatureContract`; what
    comes out says so in its contract.
    Raises ValueError for an unknown name and for settings that this backbone cannot have, WeightsMissing where weights
    are needed and not there (they are never made up), WeightsError where a file does not fit.
    """
    from extractors.backbones.blueprint import build

    entry = find(name)
    module, _, attribute = entry.blueprint.partition(":")
    blueprint = getattr(import_module(f"{__name__}.{module}"), attribute)
    single = weights is None or isinstance(weights, (str, os.PathLike, Mapping))
    given = [weights] if single else list(weights)  # type: ignore[list-item, arg-type]
    return build(entry, blueprint, entry.contract_with(settings or {}), given)
