"""A classifier of windows: what stands in a detector's place in models that need no training of their own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn


class WindowClassifier(nn.Module):
    """The last layer of an action recognition network, on features of windows [T, C] -> class scores [T, classes].

    It is linear and so commutes with averages: scores of averaged features are averaged scores.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.channels = channels
        self.linear = nn.Linear(channels, classes)

    def forward(self, rows: Tensor) -> Tensor:
        scores: Tensor = self.linear(rows)
        return scores


def group_matrix(groups: Mapping[str, Sequence[str]], class_names: Sequence[str]) -> Tensor:
    """float32 [classes, labels], 1 where a class belongs to a label; without groups every class is its own label."""
    if not groups:
        return torch.eye(len(class_names))
    index = {name: number for number, name in enumerate(class_names)}
    matrix = torch.zeros(len(class_names), len(groups))
    for label, names in enumerate(groups.values()):
        matrix[[index[name] for name in names], label] = 1
    return matrix
