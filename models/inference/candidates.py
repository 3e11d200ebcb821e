"""Predictions to candidates: score cut, best points per level, decoded boundaries, shortest duration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal_cli.models.inference.device_nms import DeviceCandidates
from tal_cli.models.layers.pyramid import pyramid_points
from tal_cli.models.predictions import Predictions, decode_distances
from tal_cli.models.recipe.inference import InferenceConfig


@dataclass(frozen=True)
class GridSegments:
    """Segments found in one sequence, by falling score. Times are in grid cells and may reach beyond the sequence."""

    labels: NDArray[np.int64]  # [n]
    starts: NDArray[np.float64]  # [n]
    ends: NDArray[np.float64]  # [n]
    scores: NDArray[np.float32]  # [n], in [0, 1]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Core:
    """The cells [first, end) of a chunk whose points it answers for; neighbours answer for the others."""

    first: int
    end: int


def find_candidates(
    predictions: Predictions, config: InferenceConfig, core: Core | None = None, video: int = 0
) -> DeviceCandidates:
    """Candidates of one video of the batch, level after level, by falling score within a level.

    `core` keeps only points inside it (grid cells). Starts and ends are in grid cells.
    """
    cells, labels, scores = _select(predictions, config, core, video)
    distances = decode_distances(predictions, torch.full_like(cells, video), cells, labels).refined
    points = pyramid_points(predictions.layout, cells.device)
    time, stride = points.time[cells], points.stride[cells]
    starts, ends = time - distances[:, 0] * stride, time + distances[:, 1] * stride
    return DeviceCandidates(labels, starts, ends, scores).take(ends - starts > config.min_duration)


def _select(
    predictions: Predictions, config: InferenceConfig, core: Core | None, video: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Packed cells, labels and scores of the best entries of every level above the score cut."""
    layout = predictions.layout
    classes = predictions.refined.shape[2]
    scores = torch.sigmoid(predictions.refined[video].float()) * predictions.valid[video][:, None]
    cells_found, labels_found, scores_found = [], [], []
    for level, start in enumerate(layout.starts):
        first, end = 0, layout.lengths[level]
        if core is not None:
            first, end = (-(-edge // (1 << level)) for edge in (core.first, min(core.end, end << level)))
        values = scores[start + first : start + end].flatten()
        index = (values > config.pre_nms_threshold).nonzero()[:, 0]
        index = index[_largest(values[index], config.pre_nms_top_k)]
        cells_found.append(start + first + torch.div(index, classes, rounding_mode="floor"))
        labels_found.append(index % classes)
        scores_found.append(values[index])
    return torch.cat(cells_found), torch.cat(labels_found), torch.cat(scores_found)


def _largest(values: Tensor, limit: int) -> Tensor:
    """Where the `limit` largest values [n] lie, by falling value, equal ones in their order."""
    if len(values) <= limit:
        return values.sort(descending=True, stable=True).indices
    enough = (values >= values.topk(limit, sorted=False).values.min()).nonzero()[:, 0]
    return enough[values[enough].sort(descending=True, stable=True).indices[:limit]]
