"""Query decoder (Liu et al. 2022, TadTR, section 3.3 and 3.4): learned queries look for one segment each.

A layer: self-attention among queries, deformable attention to the pyramid around each query's reference, feed-forward,
each with a norm after it. The first reference is a centre that a query's position alone predicts; with `refine` a layer
corrects its reference, detached, and the next one looks there. Centres and widths are in [0, 1] of the valid sequence.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.layers.common import Dropout
from tal_cli.models.layers.deformable import BINS, DeformableAttention, pool_regions
from tal_cli.models.layers.feed_forward import FeedForward, Head, SlowLinear
from tal_cli.models.layers.pyramid import PyramidLayout
from tal_cli.models.predictions import Predictions, Queries, QueryBoundaries
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import QueriesSettings, QuerySettings

SURROUNDINGS = 1.5  # length of the region whose features tell a segment's quality, in lengths of the segment
START_WIDTH = -2.0  # bias of the first layer's width: queries start with short segments
EPSILON = 1e-5  # of the inverse of the sigmoid


class PostNormLayer(nn.Module):
    """What layers of all query decoders have in common: residuals and norms around whatever queries attend to."""

    def __init__(self, config: ModelConfig, settings: QueriesSettings) -> None:
        super().__init__()
        width = config.width
        self.self_dropout, self.cross_dropout = Dropout(settings.dropout), Dropout(settings.dropout)
        self.self_norm, self.cross_norm, self.ffn_norm = (nn.LayerNorm(width) for _ in range(3))
        self.ffn = FeedForward(width, settings.ffn_width, settings.dropout)

    def met(self, x: Tensor, among: Tensor) -> Tensor:
        """Queries [B, Q, D] after what they learned from each other."""
        out: Tensor = self.self_norm(x + self.self_dropout(among))
        return out

    def informed(self, x: Tensor, seen: Tensor) -> Tensor:
        """Queries [B, Q, D] after what they saw of the sequence, and the feed-forward."""
        x = self.cross_norm(x + self.cross_dropout(seen))
        out: Tensor = self.ffn_norm(x + self.ffn(x))
        return out


class QueryLayer(PostNormLayer):
    """One layer of the decoder."""

    def __init__(self, config: ModelConfig, settings: QuerySettings) -> None:
        super().__init__(config, settings)
        width = config.width
        self.self_attention = nn.MultiheadAttention(width, settings.heads, batch_first=True)
        self.cross_attention = DeformableAttention(
            width, heads=settings.heads, levels=config.levels, points=settings.points
        )

    def forward(
        self,
        x: Tensor,
        position: Tensor,
        reference: Tensor,
        rows: Tensor,
        lengths: list[int],
        mask: Tensor | None,
    ) -> Tensor:
        """Queries and their positions [B, Q, D], references [B, Q, 1 or 2] in [0, 1] of the padded sequence, rows of
        all levels [B, S, D] -> [B, Q, D]."""
        placed = x + position
        among, _ = self.self_attention(placed, placed, x, need_weights=False)
        x = self.met(x, among)
        return self.informed(x, self.cross_attention(x + position, reference, rows, lengths, mask))


class QueryDecoder(nn.Module):
    """Pyramid of features to one segment and its class logits per query and layer."""

    def __init__(self, config: ModelConfig, settings: QuerySettings) -> None:
        super().__init__()
        self.settings = settings
        width = config.width
        self.queries = nn.Parameter(torch.randn(settings.queries, 2 * width))  # position, then content
        self.reference = SlowLinear(width, 1)
        self.layers = nn.ModuleList(QueryLayer(config, settings) for _ in range(settings.layers))
        own = settings.layers if settings.refine else 1  # heads; a single one is shared by all layers
        self.class_heads = nn.ModuleList(nn.Linear(width, config.classes) for _ in range(own))
        self.segment_heads = nn.ModuleList(Head((width, width, width, 2)) for _ in range(own))
        self.actionness = Head((width * BINS, width, width, 1)) if settings.actionness else None
        self._initialise(config.class_prior)

    def _initialise(self, prior: float) -> None:
        nn.init.xavier_uniform_(self.reference.weight)
        nn.init.zeros_(self.reference.bias)
        for head in self.class_heads:
            nn.init.constant_(cast(nn.Linear, head).bias, math.log(prior / (1 - prior)))
        for number, head in enumerate(self.segment_heads):
            last = cast(Head, head).last
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
            if number == 0:
                nn.init.constant_(last.bias[1:], START_WIDTH)

    def forward(self, levels: list[Tensor], masks: list[Tensor | None], valid: list[Tensor]) -> Predictions:
        """levels as rows [B, T_l, D]; masks bool [B, T_l, 1], None if all are valid; valid: the masks, never None."""
        known = [mask for mask in masks if mask is not None]
        mask = torch.cat(known, 1) if known else None
        counts = valid[0].sum((1, 2)).float()  # of valid cells
        logits, segments = self.decode(levels, mask, counts / levels[0].shape[1])
        quality = None
        if self.actionness is not None:
            quality = self.actionness(self.pool(levels[0], segments[-1]).flatten(2)).float()[None, None, ..., 0]
        return query_predictions(Queries(logits, segments, quality, counts), self.settings.edge)

    def decode(self, levels: list[Tensor], mask: Tensor | None, ratio: Tensor) -> tuple[Tensor, Tensor]:
        """Class logits float32 [layers, B, Q, C] and centres and widths [layers, B, Q, 2]; ratio [B]: the valid part
        of the padded sequence."""
        lengths, rows = [level.shape[1] for level in levels], torch.cat(levels, 1)
        videos = rows.shape[0]
        position, x = self.queries[None].expand(videos, -1, -1).to(rows.dtype).chunk(2, -1)
        reference = torch.sigmoid(self.reference(position).float())
        logits, segments = [], []
        for number, layer in enumerate(self.layers):
            x = layer(x, position, reference * ratio[:, None, None], rows, lengths, mask)
            head = min(number, len(self.class_heads) - 1)
            logits.append(self.class_heads[head](x).float())
            segments.append(corrected(self.segment_heads[head](x).float(), reference))
            if self.settings.refine:
                reference = segments[-1].detach()
        return torch.stack(logits), torch.stack(segments)

    def pool(self, rows: Tensor, segments: Tensor) -> Tensor:
        """Features [B, Q, D, BINS] in and around segments [B, Q, 2], of the first level's rows [B, T, D]."""
        return pool_regions(rows, regions_around(segments, rows.shape[1]))


def corrected(change: Tensor, reference: Tensor) -> Tensor:
    """Centres and widths [B, Q, 2] after a change of their logits; references [B, Q, 1 or 2], without a width 1."""
    inside = reference.clamp(0, 1)
    logit = torch.log(inside.clamp(min=EPSILON) / (1 - inside).clamp(min=EPSILON))
    return torch.sigmoid(change + F.pad(logit, (0, 2 - logit.shape[-1])))


def logit_of(log_score: Tensor) -> Tensor:
    """The logit of a score in (0, 1) whose logarithm is given."""
    return log_score - torch.log(-torch.expm1(log_score.clamp(max=-1e-7)))


def regions_around(segments: Tensor, length: int) -> Tensor:
    """Segments [B, Q, 2] as starts and ends of the regions around them, in cells of the padded sequence, as published:
    also where a part of it is padding."""
    centre, width = segments.detach().unbind(-1)
    reach = width * (SURROUNDINGS / 2)
    return (torch.stack((centre - reach, centre + reach), -1) * length).clamp(0, length)


def query_predictions(queries: Queries, edge: float, *, clamped: bool = False, exclusive: bool = False) -> Predictions:
    """The last layer's queries as predictions; a query's score is that of its class times its qualities.

    clamped: segments end where the sequence does. exclusive: classes exclude each other, and the last one is none.
    """
    logits = queries.logits[-1]
    if exclusive:
        logits = logit_of(logits.log_softmax(-1)[..., :-1])
    refined = logits
    if queries.quality is not None:
        refined = logit_of(F.logsigmoid(logits) + F.logsigmoid(queries.quality[-1]).sum(0)[..., None])
    centre, width = queries.segments[-1].unbind(-1)
    sides = [centre + side * width for side in (-0.5, 0.5)]
    starts, ends = ((side.clamp(0, 1) if clamped else side) * queries.counts[:, None] - edge for side in sides)
    return Predictions(
        layout=PyramidLayout((logits.shape[1],), 0),
        valid=torch.ones(logits.shape[:2], dtype=torch.bool, device=logits.device),
        coarse=logits,
        refined=refined,
        boundaries=QueryBoundaries(starts, ends),
        queries=queries,
    )
