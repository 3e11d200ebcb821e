"""Fully connected networks of each row: the feed-forward of a transformer's layer, and a head of several layers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.layers.common import Dropout


class SlowLinear(nn.Linear):
    """A linear map to places in time, which learns at a lower rate than all else (Zhu et al. 2021)."""


class FeedForward(nn.Module):
    """Two linear maps with ReLU between, and dropout after either."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.inner_dropout, self.outer_dropout = Dropout(dropout), Dropout(dropout)
        for linear in (self.inner, self.outer):
            nn.init.xavier_uniform_(linear.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] -> [..., width]."""
        out: Tensor = self.outer_dropout(self.outer(self.inner_dropout(F.relu(self.inner(x)))))
        return out


class Head(nn.Module):
    """Linear maps of these sizes with ReLU between them."""

    def __init__(self, sizes: Sequence[int]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(a, b) for a, b in itertools.pairwise(sizes))

    @property
    def last(self) -> nn.Linear:
        """The map to the outputs."""
        return cast(nn.Linear, self.layers[-1])

    def forward(self, x: Tensor) -> Tensor:
        """[..., sizes[0]] -> [..., sizes[-1]]."""
        for number, layer in enumerate(self.layers):
            x = layer(x if number == 0 else F.relu(x))
        return x
