"""Which points learn which segment: center sampling, regression ranges, shortest segment first (paper: "center
sampling", after Zhang et al. 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.pyramid import Points

SAME_LENGTH = 1e-3  # grid cells; segments this close to the shortest one all label a point


@dataclass(frozen=True)
class Targets:
    """Targets of B videos at S packed cells."""

    classes: Tensor  # float32 [B, C, S], 1 where a class is to be found
    distances: Tensor  # float32 [B, S, 2], to start and end in cells of the level; meaningful where a class is set


def assign_targets(
    points: Points,
    ranges: tuple[Tensor, Tensor],
    segments: Sequence[Tensor],
    labels: Sequence[Tensor],
    *,
    classes: int,
    radius: float | None,
) -> Targets:
    """Targets for all points of all videos at once.

    ranges: lowest and highest distance to a boundary [S] (grid cells) that a point's level is responsible for.
    segments: per video float [n, 2] in grid cells; labels: per video int64 [n]. radius: a segment is learnt within
    this many strides of its centre; None: everywhere inside it.
    """
    device = points.time.device
    padded, label, present = _pad_ground_truth(segments, labels, device)
    start, end = padded[:, :, 0, None], padded[:, :, 1, None]  # [B, n, 1]
    left, right = points.time - start, end - points.time  # [B, n, S]
    inner_left, inner_right = left, right
    if radius is not None:
        centre, reach = 0.5 * (start + end), radius * points.stride
        inner_left = points.time - torch.maximum(centre - reach, start)
        inner_right = torch.minimum(centre + reach, end) - points.time
    furthest = torch.maximum(left, right)
    chosen = (torch.minimum(inner_left, inner_right) > 0) & (furthest >= ranges[0]) & (furthest <= ranges[1])
    chosen &= present[:, :, None] & (points.stride > 0)
    length = torch.where(chosen, end - start, torch.inf)
    shortest, index = length.min(dim=1)  # [B, S]
    matches = chosen & (length <= shortest[:, None] + SAME_LENGTH)
    one_hot = torch.nn.functional.one_hot(label, classes).to(torch.float32)  # [B, n, C]
    found = torch.einsum("bns,bnc->bcs", matches.to(torch.float32), one_hot).clamp_(max=1.0)
    distances = (
        torch.stack((left.gather(1, index[:, None])[:, 0], right.gather(1, index[:, None])[:, 0]), dim=-1)
        / points.stride.clamp(min=1)[:, None]
    )
    return Targets(classes=found, distances=distances)


def _pad_ground_truth(
    segments: Sequence[Tensor], labels: Sequence[Tensor], device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Ragged ground truth -> segments [B, n, 2], labels [B, n], presence [B, n] with n >= 1."""
    most = max(1, *(len(label) for label in labels))
    padded = torch.zeros(len(segments), most, 2, device=device)
    label = torch.zeros(len(segments), most, dtype=torch.int64, device=device)
    present = torch.zeros(len(segments), most, dtype=torch.bool, device=device)
    for index, (segment, names) in enumerate(zip(segments, labels, strict=True)):
        if len(names):
            padded[index, : len(names)] = segment.to(device, torch.float32)
            label[index, : len(names)] = names.to(device)
            present[index, : len(names)] = True
    return padded, label, present
