"""What a decoder predicts, and relative boundary bins decoded to distances (paper: "Trident-head"; Shi et al. 2023).

Only the entries that are asked for are decoded: training needs the positives, inference the candidates.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from models.pyramid import PyramidLayout, pyramid_points


@dataclass(frozen=True)
class Predictions:
    """Everything predicted for B videos at the S packed cells of the pyramid (C classes, N bins)."""

    layout: PyramidLayout
    valid: Tensor  # bool [B, 1, S]: inside a level and not padding
    coarse: Tensor  # [B, C, S] class logits before refinement
    refined: Tensor  # [B, C, S] class logits after refinement: scores are their sigmoid
    factor: Tensor  # [B, C, S] raw refinement factor
    offsets: Tensor  # [B, 2 (N + 1), S] centre-offset logits of the start, then of the end bins
    starts: Tensor  # [B, C, S] start boundary logits
    ends: Tensor  # [B, C, S] end boundary logits
    start_shift: Tensor  # [B, C or 1, S] correction added to the start
    end_shift: Tensor  # [B, C or 1, S] correction added to the end
    shift_in_level_cells: bool  # corrections are in cells of the level (True) or of level 0 (False)


@dataclass(frozen=True)
class Distances:
    """Distances [n, 2] from a point to start and end, in cells of the point's level, before and after refinement."""

    coarse: Tensor
    refined: Tensor


def decode_distances(predictions: Predictions, video: Tensor, cell: Tensor, label: Tensor) -> Distances:
    """Distances at n entries given as int64 [n] indices of video, packed cell and class.

    Each side's distance is the expected bin under softmax(boundary logits around the point + the point's own offset
    logits). Boundary logits outside the level count as 0, as published. Refined distances are clamped at 0.
    """
    points = pyramid_points(predictions.layout, cell.device)
    sides = predictions.offsets[video, :, cell].float().unflatten(1, (2, -1))
    bins = torch.arange(sides.shape[-1], device=cell.device)
    backward = cell[:, None] - bins.flip(0)
    forward = cell[:, None] + bins
    in_level = backward >= points.first[cell][:, None]
    near_start = predictions.starts[video[:, None], label[:, None], backward.clamp(min=0)].float() * in_level
    in_level = forward <= points.last[cell][:, None]
    last = predictions.layout.total - 1
    near_end = predictions.ends[video[:, None], label[:, None], forward.clamp(max=last)].float() * in_level
    left = torch.softmax(near_start + sides[:, 0], dim=-1) @ bins.flip(0).float()
    right = torch.softmax(near_end + sides[:, 1], dim=-1) @ bins.float()
    coarse = torch.stack((left, right), dim=-1)

    shared = predictions.start_shift.shape[1] == 1
    target = torch.zeros_like(label) if shared else label
    shift = torch.stack(
        (-predictions.start_shift[video, target, cell], predictions.end_shift[video, target, cell]), dim=-1
    ).float()
    if not predictions.shift_in_level_cells:
        shift = shift / points.stride[cell][:, None]
    return Distances(coarse=coarse, refined=(coarse + shift).clamp(min=0))
