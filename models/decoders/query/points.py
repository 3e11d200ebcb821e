"""Query decoder of points (Tan et al. 2022, PointTAD): a query is a set of points in time and their mixed features.

All but the last third of the points span the query's segment. A layer looks at the sequence around every point, with
offsets that the query as it came in chooses; queries attend to each other; each then makes the matrices that mix its
points' features, over channels and, side by side, over points. Points move by parts of half their segment's length,
and later layers pass gradients to earlier ones' points. Times are in [0, 1] of the valid sequence.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.decoders.query.decoder import PostNormLayer, query_predictions
from tal_cli.models.layers.common import Dropout, RowConv1d, apply_mask
from tal_cli.models.layers.deformable import interpolation
from tal_cli.models.predictions import Predictions, Queries
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import PointSettings

EDGE_POINTS = 4  # the first points, which have offsets of their own ("boundary" in the released code)
MIXED = 64  # channels between the two matrices that mix channels


def span(points: Tensor) -> Tensor:
    """Points [..., P] -> centre and length [..., 2] of the segment that all but the last third of them span."""
    outer = points[..., : points.shape[-1] - -(-points.shape[-1] // 3)]
    # Gradients go to one point even where several are alike, as all are at the start: else they would move as one.
    first, last = outer.min(-1).values, outer.max(-1).values
    return torch.stack(((first + last) / 2, last - first), -1)


class PointFeatures(nn.Module):
    """Features at points: the weighted sum of samples around each, all at one query's offsets from their point, which
    are one set for the first points and another for the rest."""

    def __init__(self, config: ModelConfig, settings: PointSettings) -> None:
        super().__init__()
        self.shape = (config.levels, settings.points)
        samples = config.levels * settings.points
        self.edge_offsets, self.inner_offsets, self.edge_weights, self.inner_weights = (
            nn.Linear(config.width, samples) for _ in range(4)
        )
        steps = torch.arange(1.0, settings.points + 1).repeat(config.levels)
        with torch.no_grad():
            for offsets in (self.edge_offsets, self.inner_offsets):
                offsets.bias.copy_(steps)
            for weights in (self.edge_weights, self.inner_weights):
                weights.bias.zero_()

    def forward(self, x: Tensor, points: Tensor, levels: list[Tensor], counts: Tensor) -> Tensor:
        """Queries [B, Q, D], points [B, Q, P], rows of all levels [B, T_l, D] and how many of each are valid, float32
        [B, levels] -> [B, Q, P, D]."""
        inner = points.shape[2] - EDGE_POINTS
        offsets = self._each(self.edge_offsets(x), self.inner_offsets(x), inner)
        weights = self._each(self.edge_weights(x), self.inner_weights(x), inner).flatten(3).softmax(-1)
        weights = weights.unflatten(3, self.shape)
        places = (points[..., None, None] + offsets / counts[:, None, None, :, None]).clamp(0, 1)
        matrices = []
        for number, level in enumerate(levels):
            positions = places[:, :, :, number] * (counts[:, number, None, None, None] - 1)
            matrices.append(interpolation(positions, weights[:, :, :, number], level.shape[1]))
        rows = torch.cat(levels, 1)
        return (torch.cat(matrices, -1).flatten(1, 2).to(rows.dtype) @ rows).unflatten(1, points.shape[1:])

    def _each(self, edge: Tensor, inner: Tensor, count: int) -> Tensor:
        """Values of the first points and of `count` others [B, Q, samples] -> float32 [B, Q, P, levels, samples]."""
        sets = [values.float().unflatten(2, self.shape)[:, :, None] for values in (edge, inner)]
        return torch.cat((sets[0].expand(-1, -1, EDGE_POINTS, -1, -1), sets[1].expand(-1, -1, count, -1, -1)), 2)


class Mixing(nn.Module):
    """Mixes the features of a query's points by matrices that the query makes."""

    def __init__(self, width: int, points: int) -> None:
        super().__init__()
        self.channel_matrices = nn.Linear(width, 2 * width * MIXED)
        self.point_matrix = nn.Linear(width, points * points)
        self.inner_norm, self.channel_norm, self.point_norm = (nn.LayerNorm(size) for size in (MIXED, width, points))
        self.out = nn.Linear(2 * width * points, width)
        self.out_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, features: Tensor) -> Tensor:
        """Queries [B, Q, D], features of their points [B, Q, P, D] -> [B, Q, D]."""
        points, width = features.shape[2:]
        first, second = self.channel_matrices(x).chunk(2, -1)
        over_points = self.point_matrix(x).unflatten(2, (points, points))
        channels = F.relu(self.inner_norm(features @ first.unflatten(2, (width, MIXED))))
        channels = F.relu(self.channel_norm(channels @ second.unflatten(2, (MIXED, width))))
        across = F.relu(self.point_norm(features.transpose(2, 3) @ over_points)).transpose(2, 3)
        joined = torch.cat((channels, across.to(channels.dtype)), -1).flatten(2)
        return F.relu(self.out_norm(self.out(joined)))


class PointLayer(PostNormLayer):
    """One layer of the decoder."""

    def __init__(self, config: ModelConfig, settings: PointSettings) -> None:
        super().__init__(config, settings)
        self.features = PointFeatures(config, settings)
        self.self_attention = nn.MultiheadAttention(config.width, settings.heads, batch_first=True)
        self.mixing = Mixing(config.width, settings.query_points)

    def forward(self, x: Tensor, points: Tensor, levels: list[Tensor], counts: Tensor) -> Tensor:
        """Queries [B, Q, D], points [B, Q, P], rows of all levels [B, T_l, D] and how many of each are valid, float32
        [B, levels] -> [B, Q, D]."""
        features = self.features(x, points, levels, counts)
        among, _ = self.self_attention(x, x, x, need_weights=False)
        x = self.met(x, among)
        return self.informed(x, self.mixing(x, features))


class NormedHead(nn.Module):
    """Linear maps without bias, each with a norm and ReLU, then one to the outputs."""

    def __init__(self, width: int, layers: int, outputs: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *itertools.chain.from_iterable(
                (nn.Linear(width, width, bias=False), nn.LayerNorm(width), nn.ReLU()) for _ in range(layers)
            )
        )
        self.last = nn.Linear(width, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., outputs]."""
        out: Tensor = self.last(self.body(x))
        return out


class DenseHead(nn.Module):
    """Class logits of each cell, of which the loss alone makes use."""

    def __init__(self, width: int, classes: int, dropout: float) -> None:
        super().__init__()
        self.hidden = RowConv1d(width, width // 2, 3, bias=True)
        self.dropout = Dropout(dropout)
        self.last = nn.Linear(width // 2, classes)

    def forward(self, x: Tensor) -> Tensor:
        """Rows [B, T, D] -> [B, T, C]."""
        out: Tensor = self.last(self.dropout(self.hidden(x)))
        return out


class PointDecoder(nn.Module):
    """Pyramid of features to one segment and its class logits per query and layer, and those of each cell."""

    def __init__(self, config: ModelConfig, settings: PointSettings) -> None:
        super().__init__()
        self.settings = settings
        width, layers = config.width, range(settings.layers)
        self.queries = nn.Parameter(torch.randn(settings.queries, width))
        self.points = nn.Parameter(torch.full((settings.queries, settings.query_points), 0.5))
        self.layers = nn.ModuleList(PointLayer(config, settings) for _ in layers)
        self.class_heads = nn.ModuleList(NormedHead(width, 1, config.classes + 1) for _ in layers)
        self.point_heads = nn.ModuleList(NormedHead(width, 3, settings.query_points) for _ in layers)
        for module in (self.layers, self.class_heads, self.point_heads):
            for parameter in module.parameters():
                if parameter.ndim > 1:
                    nn.init.xavier_uniform_(parameter)
        self.dense = DenseHead(width, config.classes, settings.dense_dropout)

    def forward(self, levels: list[Tensor], masks: list[Tensor | None], valid: list[Tensor]) -> Predictions:
        """levels as rows [B, T_l, D]; masks bool [B, T_l, 1], None if all are valid; valid: the masks, never None."""
        counts = torch.stack([mask.sum((1, 2)) for mask in valid], 1).float()
        logits, points = self.decode(levels, counts)
        dense = self.dense(apply_mask(levels[0], masks[0])).float()
        queries = Queries(torch.stack(logits), span(torch.stack(points)), None, counts[:, 0], dense=dense)
        return query_predictions(queries, self.settings.edge, clamped=True, exclusive=True)

    def decode(self, levels: Sequence[Tensor], counts: Tensor) -> tuple[list[Tensor], list[Tensor]]:
        """Class logits [B, Q, C + 1] and points [B, Q, P] of every layer, float32; counts: valid cells of each level,
        float32 [B, levels]."""
        x = self.queries.expand(len(counts), -1, -1).to(levels[0].dtype)
        points = self.points.float().expand(len(counts), -1, -1)
        logits, moved = [], []
        for layer, class_head, point_head in zip(self.layers, self.class_heads, self.point_heads, strict=True):
            x = layer(x, points, list(levels), counts)
            points = points + point_head(x).float() * span(points)[..., 1:] / 2
            logits.append(class_head(x).float())
            moved.append(points)
        return logits, moved
