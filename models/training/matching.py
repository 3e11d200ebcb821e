"""Assignment of least total cost (Kuhn 1955, by shortest augmenting paths as Jonker and Volgenant 1987)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from tal_cli.extractors.cpu import compiled

LARGE = 1e9


def match(cost: Tensor) -> tuple[list[int], list[int]]:
    """The pairs of rows and columns of a cost [Q, N] that cost least in all: min(Q, N) of them, by rising row.

    Costs that are not finite, of a training that diverges, count as very large ones.
    """
    values = np.nan_to_num(cost.detach().double().cpu().numpy(), nan=LARGE, posinf=LARGE, neginf=-LARGE)
    if not values.size:
        return [], []
    tall = values.shape[0] > values.shape[1]
    partner = compiled(_assign)(np.ascontiguousarray(values.T if tall else values))
    pairs = sorted((int(b), a) if tall else (a, int(b)) for a, b in enumerate(partner))
    return [row for row, _ in pairs], [column for _, column in pairs]


def _assign(cost: NDArray[np.float64]) -> NDArray[np.int64]:
    """The column of each row; there are at least as many columns. Rows are added one by one: each takes the column at
    the end of the cheapest path on which rows hand their columns over."""
    rows, columns = cost.shape
    row_price, column_price = np.zeros(rows), np.zeros(columns)
    owner = np.full(columns, -1, np.int64)
    partner = np.full(rows, -1, np.int64)
    for first in range(rows):
        shortest = np.full(columns, np.inf)
        previous = np.full(columns, -1, np.int64)
        done = np.zeros(columns, np.bool_)
        row, reached, end = first, 0.0, -1
        while end < 0:
            nearest, best = np.inf, -1
            for column in range(columns):
                if done[column]:
                    continue
                path = reached + cost[row, column] - row_price[row] - column_price[column]
                if path < shortest[column]:
                    shortest[column], previous[column] = path, row
                if shortest[column] < nearest:
                    nearest, best = shortest[column], column
            done[best] = True
            reached = nearest
            if owner[best] < 0:
                end = best
            else:
                row = owner[best]
        for column in range(columns):
            if done[column] and column != end:
                row_price[owner[column]] += reached - shortest[column]
                column_price[column] -= reached - shortest[column]
        row_price[first] += reached
        while end >= 0:
            row = previous[end]
            owner[end] = row
            following = partner[row]
            partner[row] = end
            end = following if row != first else -1
    return partner
