"""Query decoder with relational attention (Shi et al. 2022, ReAct).

A query attends to queries alike whose segments lie elsewhere: neither to duplicates of itself nor to what has nothing
to do with it. Its position only predicts the first reference. As released, relational attention returns its input as
well, which the layer then adds again, and deformable attention is asked with that sum, before its norm.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.decoders.query.decoder import START_WIDTH, PostNormLayer, corrected, query_predictions
from tal_cli.models.layers.deformable import DeformableAttention
from tal_cli.models.layers.feed_forward import Head, SlowLinear
from tal_cli.models.predictions import Predictions, Queries
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import RelationalSettings


class RelationAttention(nn.Module):
    """Multi-head attention among queries, without a map of its output, plus its input."""

    def __init__(self, width: int, heads: int, threshold: float) -> None:
        super().__init__()
        self.heads, self.threshold = heads, threshold
        self.query, self.key, self.value = (nn.Linear(width, width) for _ in range(3))
        for linear in (self.query, self.key, self.value):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, x: Tensor, reference: Tensor) -> Tensor:
        """Queries [B, Q, D], references [B, Q, 1 or 2] in [0, 1] of the padded sequence -> [B, Q, D]."""
        allowed = self.related(x, reference)[:, None] if reference.shape[2] == 2 else None
        q, k, v = (
            part(x).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (self.query, self.key, self.value)
        )
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=allowed)
        return out.transpose(1, 2).flatten(2) + x

    @torch.no_grad()
    def related(self, x: Tensor, reference: Tensor) -> Tensor:
        """Which pairs of queries attend to each other, bool [B, Q, Q]."""
        centre, width = reference.float().unbind(-1)
        start, end = ((centre + side * width).clamp(0, 1) for side in (-0.5, 0.5))
        inner = torch.minimum(end[:, :, None], end[:, None]) - torch.maximum(start[:, :, None], start[:, None])
        inner, length = inner.clamp(min=0), end - start
        overlap = inner / (length[:, :, None] + length[:, None] - inner + 1e-6)
        itself = torch.eye(x.shape[1], dtype=torch.bool, device=x.device)
        directions = F.normalize(x.float(), dim=-1)
        alike = directions @ directions.transpose(1, 2) > self.threshold
        return ((overlap <= self.threshold) & alike) | itself


class RelationalLayer(PostNormLayer):
    """One layer of the decoder."""

    def __init__(self, config: ModelConfig, settings: RelationalSettings) -> None:
        super().__init__(config, settings)
        width = config.width
        self.relation = RelationAttention(width, settings.heads, settings.relation_threshold)
        self.cross_attention = DeformableAttention(
            width, heads=settings.heads, levels=config.levels, points=settings.points, aligned=True
        )

    def forward(self, x: Tensor, reference: Tensor, rows: Tensor, lengths: list[int], mask: Tensor | None) -> Tensor:
        """Queries [B, Q, D], references [B, Q, 1 or 2] in [0, 1] of the padded sequence, rows of all levels
        [B, S, D] -> [B, Q, D]."""
        among = self.relation(x, reference)
        return self.informed(self.met(x, among), self.cross_attention(among, reference, rows, lengths, mask))


class RelationalDecoder(nn.Module):
    """Pyramid of features to one segment, its class logits and two qualities per query and layer."""

    def __init__(self, config: ModelConfig, settings: RelationalSettings) -> None:
        super().__init__()
        self.settings = settings
        width = config.width
        self.queries = nn.Parameter(torch.randn(settings.queries, 2 * width))  # content, then position
        self.reference = SlowLinear(width, 1)
        self.layers = nn.ModuleList(RelationalLayer(config, settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(width)
        self.class_heads = nn.ModuleList(nn.Linear(width, config.classes) for _ in range(settings.layers))
        self.segment_heads = nn.ModuleList(Head((width, width, width, 2)) for _ in range(settings.layers))
        self.overlap, self.centre = nn.Linear(width, 1), nn.Linear(width, 1)
        nn.init.xavier_uniform_(self.reference.weight)
        nn.init.zeros_(self.reference.bias)
        prior = config.class_prior
        for head in self.class_heads:
            nn.init.constant_(cast(nn.Linear, head).bias, math.log(prior / (1 - prior)))
        nn.init.constant_(cast(Head, self.segment_heads[0]).last.bias[1:], START_WIDTH)

    def forward(self, levels: list[Tensor], masks: list[Tensor | None], valid: list[Tensor]) -> Predictions:
        """levels as rows [B, T_l, D]; masks bool [B, T_l, 1], None if all are valid; valid: the masks, never None."""
        known = [mask for mask in masks if mask is not None]
        mask = torch.cat(known, 1) if known else None
        lengths, rows = [level.shape[1] for level in levels], torch.cat(levels, 1)
        counts = valid[0].sum((1, 2)).float()
        ratio = (counts / lengths[0])[:, None, None]
        content, position = self.queries[None].expand(len(rows), -1, -1).to(rows.dtype).chunk(2, -1)
        x, reference = content, torch.sigmoid(self.reference(position).float())
        hidden, segments = [], []
        for number, layer in enumerate(self.layers):
            x = layer(x, reference * ratio, rows, lengths, mask)
            hidden.append(x if number < len(self.layers) - 1 else self.norm(x))
            segments.append(corrected(self.segment_heads[number](hidden[-1]).float(), reference))
            reference = segments[-1].detach()
        logits = torch.stack([head(each).float() for head, each in zip(self.class_heads, hidden, strict=True)])
        stacked = torch.stack(hidden)
        quality = torch.stack([head(stacked).float().squeeze(-1) for head in (self.overlap, self.centre)], 1)

        def again(references: Tensor) -> Tensor:
            """Class logits of layers that are given references [B, Q, 2]."""
            x, found = content, []
            for number, layer in enumerate(self.layers):
                x = layer(x, references * ratio, rows, lengths, mask)
                last = self.norm(x) if number == len(self.layers) - 1 else x
                found.append(self.class_heads[number](last).float())
            return torch.stack(found)

        queries = Queries(logits, torch.stack(segments), quality, counts, again)
        return query_predictions(queries, self.settings.edge, clamped=True)
