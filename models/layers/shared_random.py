"""Random samples that do not depend on how a batch is split between processes or forward passes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class BatchPart:
    """The videos [first, first + n) of a batch of `total` in a forward pass of n videos."""

    first: int
    total: int


def draw(sampler: Callable[..., Tensor], like: Tensor, shape: tuple[int, ...], part: BatchPart | None) -> Tensor:
    """`sampler` (torch.rand, torch.randn) of [B, *shape] on the device of `like` [B, ...].

    With a part, the full batch is sampled and the part's videos are returned.
    """
    videos = like.shape[0]
    if part is None:
        return sampler(videos, *shape, device=like.device)
    return sampler(part.total, *shape, device=like.device)[part.first : part.first + videos]
