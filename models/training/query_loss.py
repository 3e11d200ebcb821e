"""The loss of a query decoder (Liu et al. 2022, TadTR, section 3.5): every layer's queries are matched with the
segments of their video at least cost, and learn what they are matched with; all others learn that they have no class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tal_cli.models.predictions import Queries
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import QuerySettings
from tal_cli.models.training.loss_terms import EPSILON, Losses, Tally, focal_loss
from tal_cli.models.training.matching import match


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


@dataclass(frozen=True)
class LayerTerms:
    """Sums of one layer's loss terms, before weights: of classes over all queries, of segments over matched ones."""

    classes: Tensor
    segments: Tensor
    overlap: Tensor


def query_targets(
    queries: Queries, segments: Sequence[Tensor], labels: Sequence[Tensor], edge: float
) -> list[QueryTargets]:
    """Targets of every video, from segments [n, 2] in grid cells."""
    targets = []
    for segment, label, count in zip(segments, labels, queries.counts, strict=True):
        start, end = ((segment.to(count.device, torch.float32) + edge) / count).unbind(-1)
        targets.append(QueryTargets(torch.stack(((start + end) / 2, end - start), -1), label.to(count.device)))
    return targets


def matching_cost(logits: Tensor, segments: Tensor, target: QueryTargets, settings: QuerySettings) -> Tensor:
    """What every query costs as a match of every segment of its video [Q, n], given its logits [Q, C] and segment."""
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


@torch.no_grad()
def match_layer(queries: Queries, layer: int, targets: Sequence[QueryTargets], settings: QuerySettings) -> Matches:
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


def known_segments(
    segments: Sequence[Tensor], labels: Sequence[Tensor], reviewed_BTK: Tensor | None
) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    """The segments [n, 2] in grid cells, and their labels, at whose centre the truth is known of their class (bool
    [B, T, K], None: all)."""
    if reviewed_BTK is None:
        return segments, labels
    kept = []
    for reviewed, segment, label in zip(reviewed_BTK, segments, labels, strict=True):
        cell = segment.mean(1).round().long().clamp(0, len(reviewed) - 1).to(reviewed.device)
        kept.append(reviewed[cell, label.to(reviewed.device).clamp(max=reviewed.shape[1] - 1)].to(segment.device))
    own, names = ([item[known] for item, known in zip(items, kept, strict=True)] for items in (segments, labels))
    return own, names


def known_at(queries: Queries, layer: int, reviewed_BTK: Tensor | None) -> Tensor | None:
    """Where the truth is known (bool [B, T, K], None: everywhere) at the centres of a layer's segments, [B, Q, K]."""
    if reviewed_BTK is None:
        return None
    cell = (queries.segments[layer, :, :, :1].detach() * queries.counts[:, None, None]).long()
    return reviewed_BTK.gather(1, cell.clamp(0, reviewed_BTK.shape[1] - 1).expand(-1, -1, reviewed_BTK.shape[2]))


def layer_terms(queries: Queries, layer: int, matches: Matches, known_BQK: Tensor | None = None) -> LayerTerms:
    """The loss terms of a layer's queries; those that are not matched learn to be nothing only where the truth is
    known."""
    logits = queries.logits[layer]
    wanted = torch.zeros_like(logits)
    wanted[matches.video, matches.query, matches.label] = 1
    loss = focal_loss(logits, wanted)
    if known_BQK is not None:
        loss = loss * ((wanted > 0) | known_BQK)
    predicted = queries.segments[layer][matches.video, matches.query]
    return LayerTerms(
        classes=loss.sum(),
        segments=F.l1_loss(predicted, matches.segment, reduction="sum"),
        overlap=(1 - paired_iou(bounds(predicted), bounds(matches.segment))).sum(),
    )


def quality_error(
    queries: Queries, targets: Sequence[QueryTargets], known_BQK: Tensor | None = None, *, shared: bool
) -> Tensor:
    """Sum over queries of the difference between the predicted and the true IoU of their last segments with the best
    segment of their video, or (`shared`, as published) of any video of the batch; only where any truth is known."""
    assert queries.quality is not None
    found = bounds(queries.segments[-1].detach())
    segments = [target.segments for target in targets]
    each = [torch.cat(segments)] * len(segments) if shared else segments
    best = [
        pairwise_iou(own, bounds(others)).amax(1) if len(others) else own.new_zeros(len(own))
        for own, others in zip(found, each, strict=True)
    ]
    error = (torch.sigmoid(queries.quality) - torch.stack(best)).abs()
    return error.sum() if known_BQK is None else (error * known_BQK.any(-1)).sum()


def bounds(segments: Tensor) -> Tensor:
    """Centres and widths [..., 2] -> starts and ends."""
    centre, width = segments.unbind(-1)
    return torch.stack((centre - 0.5 * width, centre + 0.5 * width), -1)


def paired_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of starts and ends, [..., 2] each -> [...]."""
    inner = (torch.minimum(a[..., 1], b[..., 1]) - torch.maximum(a[..., 0], b[..., 0])).clamp(min=0)
    union = (a[..., 1] - a[..., 0]) + (b[..., 1] - b[..., 0]) - inner
    return inner / union.clamp(min=EPSILON)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """IoU of every one of [n, 2] with every one of [m, 2] -> [n, m]."""
    return paired_iou(a[:, None], b[None])


def query_loss(
    queries: Queries,
    config: ModelConfig,
    segments: Sequence[Tensor],
    labels: Sequence[Tensor],
    tally: Tally | None,
    reviewed_BTK: Tensor | None,
) -> Losses:
    """Loss of queries against segments [n, 2] in grid cells and labels [n] of every video, see `batch_loss`.

    Sums over all layers, divided by the number of segments; the quality of the last layer's by that of queries.
    """
    settings = config.decoder
    assert isinstance(settings, QuerySettings)
    segments, labels = known_segments(segments, labels, reviewed_BTK)
    counts = query_counts(settings, labels)
    segments_all, _, queries_all = (max(count, 1.0) for count in (counts if tally is None else tally(counts)).tolist())
    targets = query_targets(queries, segments, labels, settings.edge)
    matches = [match_layer(queries, layer, targets, settings) for layer in range(len(queries.logits))]
    terms = [
        layer_terms(queries, layer, matched, known_at(queries, layer, reviewed_BTK))
        for layer, matched in enumerate(matches)
    ]
    classes = [settings.class_weight * term.classes / segments_all for term in terms]
    boundaries = [
        (settings.segment_weight * term.segments + settings.iou_weight * term.overlap) / segments_all for term in terms
    ]
    if queries.quality is not None:
        known = known_at(queries, -1, reviewed_BTK)
        error = quality_error(queries, targets, known, shared=config.variant == "released")
        classes[-1] = classes[-1] + settings.actionness_weight * error / queries_all
    classification, regression = torch.stack(classes).sum(), torch.stack(boundaries).sum()
    return Losses(
        total=classification + regression,
        classification=classification,
        regression=regression,
        refined_classification=classes[-1],
        refined_regression=boundaries[-1],
        coarse_classification=classification - classes[-1],
        coarse_regression=regression - boundaries[-1],
        positives=len(matches[-1].query),
    )


def query_counts(settings: QuerySettings, labels: Sequence[Tensor]) -> Tensor:
    """The counts of `Tally`: segments, segments, queries."""
    segments = sum(len(label) for label in labels)
    return torch.tensor([segments, segments, settings.queries * len(labels)], dtype=torch.float64)
