"""The loss of a query decoder (Liu et al. 2022, TadTR, section 3.5): every layer's queries are matched with the
segments of their video at least cost, and learn what they are matched with; all others learn that they have no class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from tal_cli.models.predictions import Queries
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import PointSettings, QueriesSettings, QuerySettings, RelationalSettings
from tal_cli.models.training.loss_terms import EPSILON, Losses, Tally, focal_loss
from tal_cli.models.training.query_matching import (
    UNION,
    Matches,
    QueryTargets,
    bounds,
    match_layer,
    paired_iou,
    pairwise_iou,
    query_targets,
)


@dataclass(frozen=True)
class Totals:
    """What a batch's loss is divided by: segments, those that are matched, queries, and videos."""

    segments: float
    matched: float
    queries: float
    videos: float

    @classmethod
    def of(cls, settings: QueriesSettings, counts: Tensor) -> Totals:
        """The totals of a batch with the counts of `Tally`."""
        segments, matched, queries = counts.tolist()
        return cls(max(segments, 1.0), matched, queries, queries / settings.queries)


@dataclass(frozen=True)
class LayerTerms:
    """Sums of one layer's loss terms, before weights: of classes over all queries, of segments over matched ones."""

    classes: Tensor
    segments: Tensor
    overlap: Tensor
    centre: Tensor | None = None  # of matched queries' predicted closeness of centres (ReAct)
    quality: Tensor | None = None  # of all queries' predicted IoU (ReAct)


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


def relational_terms(
    queries: Queries, layer: int, matches: Matches, targets: Sequence[QueryTargets], known_BQK: Tensor | None = None
) -> LayerTerms:
    """The loss terms of a layer's queries by ReAct's formulas: generalised IoU of segments in [0, 1], and the errors of
    both predicted qualities."""
    terms = layer_terms(queries, layer, matches, known_BQK)
    segments = queries.segments[layer]
    found, wanted = bounds(segments[matches.video, matches.query]).clamp(0, 1), bounds(matches.segment)
    hull = torch.maximum(found[:, 1], wanted[:, 1]) - torch.minimum(found[:, 0], wanted[:, 0])
    inner = (torch.minimum(found[:, 1], wanted[:, 1]) - torch.maximum(found[:, 0], wanted[:, 0])).clamp(min=0)
    union = (found[:, 1] - found[:, 0]) + (wanted[:, 1] - wanted[:, 0]) - inner
    overlap = (1 - inner / (union + UNION) + (hull - union) / (hull + UNION)).sum()
    assert queries.quality is not None
    predicted, centre = queries.quality[layer]
    apart = (segments[matches.video, matches.query, 0] - matches.segment[:, 0]).detach().abs() / matches.segment[:, 1]
    # As released, the error of the predicted IoU also moves the segments.
    best = torch.stack(
        [
            pairwise_iou(own, bounds(target.segments), extra=UNION).amax(1)
            if len(target.labels)
            else own.new_zeros(len(own))
            for own, target in zip(bounds(segments).clamp(0, 1), targets, strict=True)
        ]
    )
    at_matched = centre[matches.video, matches.query]
    closeness = F.binary_cross_entropy_with_logits(at_matched, torch.exp(-apart), reduction="sum")
    error = (torch.sigmoid(predicted) - best).abs()
    if known_BQK is not None:
        error = error * known_BQK.any(-1)
    return replace(terms, overlap=overlap, centre=closeness, quality=error.sum())


def point_terms(
    queries: Queries,
    layer: int,
    matches: Matches,
    settings: PointSettings,
    totals: Totals,
    known_BQK: Tensor | None = None,
) -> LayerTerms:
    """The loss terms of a layer's queries by PointTAD's formulas: the cross entropy over all classes and none, as a
    weighted mean times the number of segments, and the IoU of segments in [0, 1]."""
    logits = queries.logits[layer]
    nothing = logits.shape[-1] - 1
    wanted = torch.full(logits.shape[:2], nothing, device=logits.device)
    wanted[matches.video, matches.query] = matches.label
    weight = torch.where(wanted == nothing, settings.nothing_weight, 1.0)
    if known_BQK is not None:
        weight = weight * ((wanted < nothing) | known_BQK.all(-1))
    loss = F.cross_entropy(logits.transpose(1, 2), wanted, reduction="none") * weight
    weights = totals.matched + settings.nothing_weight * (totals.queries - totals.matched)
    predicted = queries.segments[layer][matches.video, matches.query]
    overlap = paired_iou(bounds(predicted).clamp(0, 1), bounds(matches.segment), extra=EPSILON)
    return LayerTerms(
        classes=loss.sum() * (totals.segments / weights),
        segments=F.l1_loss(predicted, matches.segment, reduction="sum"),
        overlap=(1 - overlap).sum(),
    )


def cells_within(segments: Sequence[Tensor], labels: Sequence[Tensor], like: Tensor, edge: float) -> Tensor:
    """Which classes every cell is of, of segments [n, 2] in grid cells and their labels: 0 or 1, shaped as `like`
    [B, T, C]. A segment's first and last cell are the ones its start and its end lie in."""
    wanted = torch.zeros_like(like)
    for video, (segment, label) in enumerate(zip(segments, labels, strict=True)):
        first, last = (segment.to(like.device) + edge).floor().unbind(-1)
        cells = torch.arange(like.shape[1], device=like.device)[:, None]
        inside = (cells >= first) & (cells <= last)
        wanted[video] = wanted[video].index_add(1, label.to(like.device), inside.to(like.dtype)).clamp(max=1)
    return wanted


def dense_loss(queries: Queries, wanted: Tensor, reviewed_BTK: Tensor | None = None) -> Tensor:
    """Sum over videos of the mean cross entropy of their cells' classes, where the truth is known; wanted [B, T, C]."""
    assert queries.dense is not None
    counts = queries.counts[:, None, None]
    valid = torch.arange(wanted.shape[1], device=wanted.device)[:, None] < counts
    loss = F.binary_cross_entropy_with_logits(queries.dense, wanted, reduction="none") * valid / counts
    return (loss if reviewed_BTK is None else loss * reviewed_BTK).sum() / wanted.shape[2]


def again_loss(queries: Queries, matches: Matches) -> Tensor:
    """Sum of the class loss of matched queries in all layers, run again with what they are matched with as references;
    all others look at the middle."""
    assert queries.again is not None
    references = torch.full_like(queries.segments[-1].detach(), 0.5)
    references[matches.video, matches.query] = matches.segment
    logits = queries.again(references)[:, matches.video, matches.query]
    return focal_loss(logits, F.one_hot(matches.label, logits.shape[-1]).expand_as(logits)).sum()


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
    error = (torch.sigmoid(queries.quality[-1, 0]) - torch.stack(best)).abs()
    return error.sum() if known_BQK is None else (error * known_BQK.any(-1)).sum()


def query_loss(
    queries: Queries,
    config: ModelConfig,
    segments: Sequence[Tensor],
    labels: Sequence[Tensor],
    tally: Tally | None,
    reviewed_BTK: Tensor | None,
    step: int | None = None,
) -> Losses:
    """Loss of queries against segments [n, 2] in grid cells and labels [n] of every video, see `batch_loss`.

    Sums over all layers, divided by the number of segments; the quality of the last layer's by that of queries.
    """
    settings = config.decoder
    assert isinstance(settings, QueriesSettings)
    segments, labels = known_segments(segments, labels, reviewed_BTK)
    counts = query_counts(settings, labels)
    totals = Totals.of(settings, counts if tally is None else tally(counts))
    targets = query_targets(queries, segments, labels, settings)
    classes, boundaries = [], []
    for layer in supervised_layers(settings, len(queries.logits)):
        matches = match_layer(queries, layer, targets, settings)
        known = known_at(queries, layer, reviewed_BTK)
        if isinstance(settings, RelationalSettings):
            terms = relational_terms(queries, layer, matches, targets, known)
        elif isinstance(settings, PointSettings):
            terms = point_terms(queries, layer, matches, settings, totals, known)
        else:
            terms = layer_terms(queries, layer, matches, known)
        classes.append(class_weight(settings, step) * terms.classes / totals.segments)
        boundary = settings.segment_weight * terms.segments + settings.iou_weight * terms.overlap
        boundaries.append(boundary / totals.segments)
        if isinstance(settings, RelationalSettings):
            assert terms.centre is not None and terms.quality is not None
            quality = terms.centre / totals.segments + terms.quality / totals.queries
            classes[-1] = classes[-1] + settings.quality_weight * quality
    if isinstance(settings, RelationalSettings):
        classes[-1] = classes[-1] + settings.again_weight * again_loss(queries, matches) / totals.segments
    elif isinstance(settings, PointSettings):
        assert queries.dense is not None
        wanted = cells_within(segments, labels, queries.dense, settings.edge)
        classes[-1] = classes[-1] + settings.dense_weight * dense_loss(queries, wanted, reviewed_BTK) / totals.videos
    elif isinstance(settings, QuerySettings) and queries.quality is not None:
        error = quality_error(queries, targets, known, shared=config.variant == "released")
        classes[-1] = classes[-1] + settings.quality_weight * error / totals.queries
    classification, regression = torch.stack(classes).sum(), torch.stack(boundaries).sum()
    return Losses(
        total=classification + regression,
        classification=classification,
        regression=regression,
        refined_classification=classes[-1],
        refined_regression=boundaries[-1],
        coarse_classification=classification - classes[-1],
        coarse_regression=regression - boundaries[-1],
        positives=len(matches.query),
    )


def class_weight(settings: QueriesSettings, step: int | None) -> float:
    """The weight of the classes' loss in a step (None: one after the decoder's `class_warmup`)."""
    begun = step is None or not isinstance(settings, RelationalSettings) or step >= settings.class_warmup
    return settings.class_weight if begun else 0.0


def query_counts(settings: QueriesSettings, labels: Sequence[Tensor]) -> Tensor:
    """The counts of `Tally`: segments, those that a query is matched with, queries."""
    each = [len(label) for label in labels]
    matched = sum(min(count, settings.queries) for count in each)
    return torch.tensor([sum(each), matched, settings.queries * len(each)], dtype=torch.float64)


def supervised_layers(settings: QueriesSettings, layers: int) -> list[int]:
    """The layers of a decoder that learn: the last one, and others as the settings say."""
    last = layers - 1
    most = settings.supervised if isinstance(settings, PointSettings) else None
    return [*range(last if most is None else min(most, last)), last]
