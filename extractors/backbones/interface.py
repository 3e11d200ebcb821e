"""The interface of a backbone for extraction, and its description before it is built."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from tal_cli.extractors.catalog.entry import BackboneEntry
from tal_cli.extractors.features.contract import FeatureContract

if TYPE_CHECKING:
    import torch
    from torch import Tensor


class Backbone(Protocol):
    """The interface between extraction and a backbone.

    `prepare` turns frames uint8 [n + lookahead, H, W, 3] RGB, on the backbone's device, into n prepared ones [n, ...].
    It reads each frame alone, or with the `lookahead` frames after it, so that frames can be prepared in chunks
    of any size, once each, and be shared by all windows that contain them.
    Called with N prepared frames and their times float64 [N] seconds, N = window + (B - 1) * stride, a backbone gives
    float32 [B, channels], in one forward pass that takes about `window_bytes` of memory per window.
    A backbone may also have `windows_per_pass`, the number of windows that are always computed together (fewer at a
    video's end); without it, or with None, any number gives the same features. And it may have `context`, a number of
    frames on either side of a window that it sees as well, for which the video's first and last frame stand beyond its
    ends: N = window + 2 context + (B - 1) * stride.
    `frame_size` maps the upright video's (width, height) to the frame size requested from the decoder, and raises
    ValueError for a video whose frames it cannot use.
    """

    contract: FeatureContract
    lookahead: int
    window_bytes: int

    def frame_size(self, width: int, height: int, /) -> tuple[int, int]: ...

    def to(self, device: str | torch.device, /) -> object: ...

    def prepare(self, frames: Tensor, /) -> Tensor: ...

    def __call__(self, prepared: Tensor, times: Tensor, /) -> Tensor: ...


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A backbone before it is built: its entry, its contract with the weights' digests, and its weights in order."""

    entry: BackboneEntry
    contract: FeatureContract
    weights: tuple[Path | Mapping[str, Tensor], ...]
