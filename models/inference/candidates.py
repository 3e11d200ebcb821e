"""Predictions to candidates: score cut, best points per level, decoded boundaries, shortest duration."""

from __future__ import annotations

import torch
from torch import Tensor

from tal_cli.models.inference.nms import ScoredSegments
from tal_cli.models.layers.pyramid import pyramid_points
from tal_cli.models.predictions import Predictions, decode_distances
from tal_cli.models.recipe.inference import InferenceConfig


def find_candidates(
    predictions: Predictions, config: InferenceConfig, core: range | None = None, video: int = 0
) -> ScoredSegments:
    """Candidates of one video of the batch, level after level, by falling score within a level.

    `core` keeps only points at these grid cells. Selected on the predictions' device and copied to the host.
    """
    cells, labels, scores = _select(predictions, config, core, video)
    distances = decode_distances(predictions, torch.full_like(cells, video), cells, labels).refined
    points = pyramid_points(predictions.layout, cells.device)
    time, stride = points.time[cells], points.stride[cells]
    starts, ends = time - distances[:, 0] * stride, time + distances[:, 1] * stride
    kept = (ends - starts > config.min_duration) | (config.min_duration == 0)
    return ScoredSegments(*(values[kept].cpu().numpy() for values in (labels, starts, ends, scores)))


def _select(
    predictions: Predictions, config: InferenceConfig, core: range | None, video: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Packed cells, labels and scores of the best entries of every level above the score cut."""
    layout = predictions.layout
    classes = predictions.refined.shape[2]
    scores = torch.sigmoid(predictions.refined[video].float()) * predictions.valid[video][:, None]
    cells_found, labels_found, scores_found = [], [], []
    for level, start in enumerate(layout.starts):
        first, end = 0, layout.lengths[level]
        if core is not None:
            first, end = (-(-edge // (1 << level)) for edge in (core.start, min(core.stop, end << level)))
        values = scores[start + first : start + end]
        if config.classes_per_point is not None:
            values = _best_classes(values, config.classes_per_point)
        values = values.flatten()
        index = (values > config.pre_nms_threshold).nonzero()[:, 0]
        index = index[_largest(values[index], config.pre_nms_top_k)]
        cells_found.append(start + first + torch.div(index, classes, rounding_mode="floor"))
        labels_found.append(index % classes)
        scores_found.append(values[index])
    cells, labels, found = torch.cat(cells_found), torch.cat(labels_found), torch.cat(scores_found)
    if config.top_k_of == "pyramid":
        best = _largest(found, config.pre_nms_top_k)
        cells, labels, found = cells[best], labels[best], found[best]
    return cells, labels, found


def _best_classes(scores: Tensor, count: int) -> Tensor:
    """Scores [n, C] with all but the `count` best classes of each row at -1, below any threshold."""
    best = scores.topk(min(count, scores.shape[1]), dim=1)
    return torch.full_like(scores, -1.0).scatter(1, best.indices, best.values)


def _largest(values: Tensor, limit: int) -> Tensor:
    """Where the `limit` largest values [n] lie, by falling value, equal ones in their order."""
    if len(values) <= limit:
        return values.sort(descending=True, stable=True).indices
    enough = (values >= values.topk(limit, sorted=False).values.min()).nonzero()[:, 0]
    return enough[values[enough].sort(descending=True, stable=True).indices[:limit]]
