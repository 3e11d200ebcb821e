"""Queries matched with the segments of their video, each segment with the query for which that costs least."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tal_cli.models.predictions import Queries
from tal_cli.models.recipe.decoders import PointSettings, QueriesSettings, QuerySettings
from tal_cli.models.training.loss_terms import EPSILON
from tal_cli.models.training.matching import match

UNION = 1e-6  # added to a union by ReAct


@dataclass(frozen=True)
class QueryTargets:
    """Segments of one video: centre and width in [0, 1] of the valid sequence, float32 [n, 2]; labels int64 [n]."""

    segments: Tensor
    labels: Tensor


@dataclass(frozen=True)
class Matches:
    """The matched queries of all videos, one entry each: int64 [M] of video, query and label; segments [M, 2]."""

    video: Tensor
    query: Tensor
    label: Tensor
    segment: Tensor


def query_targets(
    queries: Queries, segments: Sequence[Tensor], labels: Sequence[Tensor], settings: QueriesSettings
) -> list[QueryTargets]:
    """Targets of every video, from segments [n, 2] in grid cells; ReAct and PointTAD cut them to it."""
    targets = []
    for segment, label, count in zip(segments, labels, queries.counts, strict=True):
        times = (segment.to(count) + settings.edge) / count
        start, end = (times if isinstance(settings, QuerySettings) else times.clamp(0, 1)).unbind(-1)
        targets.append(QueryTargets(torch.stack(((start + end) / 2, end - start), -1), label.to(count.device)))
    return targets


@torch.no_grad()
def match_layer(queries: Queries, layer: int, targets: Sequence[QueryTargets], settings: QueriesSettings) -> Matches:
    """One layer's queries matched with the segments of their videos."""
    video: list[int] = []
    query: list[int] = []
    label, segment = [], []
    for number, target in enumerate(targets):
        logits, segments = queries.logits[layer, number], queries.segments[layer, number]
        own, columns = match(matching_cost(logits, segments, target, settings))
        video += [number] * len(own)
        query += own
        label.append(target.labels[columns])
        segment.append(target.segments[columns])
    device = queries.logits.device
    videos, rows = (torch.tensor(values, dtype=torch.int64, device=device) for values in (video, query))
    return Matches(videos, rows, torch.cat(label), torch.cat(segment))


def matching_cost(logits: Tensor, segments: Tensor, target: QueryTargets, settings: QueriesSettings) -> Tensor:
    """What every query costs as a match of every segment of its video [Q, n], given its logits [Q, C] and segment."""
    if not isinstance(settings, QuerySettings):
        return exclusive_cost(logits, segments, target, settings)
    score = torch.sigmoid(logits)
    positive = 0.25 * (1 - score) ** 2 * -torch.log(score + EPSILON)
    negative = 0.75 * score**2 * -torch.log(1 - score + EPSILON)
    distance = torch.cdist(segments, target.segments, p=1)
    overlap = pairwise_iou(bounds(segments), bounds(target.segments))
    return (
        settings.class_cost * (positive - negative)[:, target.labels]
        + settings.segment_cost * distance
        - settings.iou_cost * overlap
    )


def exclusive_cost(logits: Tensor, segments: Tensor, target: QueryTargets, settings: QueriesSettings) -> Tensor:
    """As `matching_cost`, by the formulas of ReAct and PointTAD: of probabilities over all classes, and of segments in
    [0, 1], whose distance is that of starts and ends or, in PointTAD, of centres and widths as predicted."""
    found, wanted = bounds(segments).clamp(0, 1), bounds(target.segments)
    if isinstance(settings, PointSettings):
        overlap = pairwise_iou(found, wanted, extra=EPSILON)
        distance = torch.cdist(segments, target.segments, p=1)
    else:
        overlap = pairwise_iou(found, wanted, extra=UNION)
        distance = torch.cdist(found, wanted, p=1)
    probability = logits.softmax(-1)[:, target.labels]
    return settings.segment_cost * distance - settings.class_cost * probability - settings.iou_cost * overlap


def bounds(segments: Tensor) -> Tensor:
    """Centres and widths [..., 2] -> starts and ends."""
    centre, width = segments.unbind(-1)
    return torch.stack((centre - 0.5 * width, centre + 0.5 * width), -1)


def paired_iou(a: Tensor, b: Tensor, *, extra: float = 0.0) -> Tensor:
    """IoU of starts and ends, [..., 2] each -> [...]; `extra` is added to the union."""
    inner = (torch.minimum(a[..., 1], b[..., 1]) - torch.maximum(a[..., 0], b[..., 0])).clamp(min=0)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - inner
    return inner / (union + extra).clamp(min=EPSILON)


def pairwise_iou(a: Tensor, b: Tensor, *, extra: float = 0.0) -> Tensor:
    """IoU of every one of [n, 2] with every one of [m, 2] -> [n, m]; `extra` is added to the union."""
    return paired_iou(a[:, None], b[None], extra=extra)
