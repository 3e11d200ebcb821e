"""Assignment of least total cost, against all assignments there are."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor

from tal_cli.models.predictions import Queries
from tal_cli.models.recipe.decoders import QuerySettings
from tal_cli.models.training.matching import match
from tal_cli.models.training.query_loss import known_at, layer_terms
from tal_cli.models.training.query_matching import QueryTargets, match_layer

SETTINGS = QuerySettings()


def cheapest(cost: Tensor) -> float:
    small, large = sorted(cost.shape)
    wide = cost if cost.shape[0] == small else cost.t()
    return min(
        sum(float(wide[row, column]) for row, column in enumerate(columns))
        for columns in itertools.permutations(range(large), small)
    )


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (3, 5), (6, 6), (2, 7)])
def test_no_assignment_costs_less(shape: tuple[int, int]) -> None:
    for seed in range(20):
        cost = torch.randn(shape, generator=torch.Generator().manual_seed(seed))
        rows, columns = match(cost)
        assert rows == sorted(set(rows)) and len(set(columns)) == len(rows) == min(shape)
        assert float(cost[rows, columns].sum()) == pytest.approx(cheapest(cost), abs=1e-5)


def test_equal_costs_and_nothing_to_match() -> None:
    assert match(torch.zeros(3, 3))[0] == [0, 1, 2]
    assert match(torch.zeros(4, 0)) == match(torch.zeros(0, 4)) == ([], [])


def test_costs_that_are_not_finite_end() -> None:
    rows, columns = match(torch.tensor([[float("nan"), float("inf")], [1.0, float("nan")]]))
    assert (rows, columns) == ([0, 1], [1, 0])


def test_a_query_learns_to_be_nothing_only_where_the_truth_is_known() -> None:
    queries = Queries(
        logits=torch.zeros(1, 1, 2, 1),
        segments=torch.tensor([[[[0.25, 0.2], [0.75, 0.2]]]]),
        quality=None,
        counts=torch.tensor([8.0]),
    )
    reviewed = torch.zeros(1, 8, 1, dtype=torch.bool)
    reviewed[:, :4] = True
    nothing = match_layer(queries, 0, [QueryTargets(torch.zeros(0, 2), torch.zeros(0, dtype=torch.int64))], SETTINGS)
    everywhere = layer_terms(queries, 0, nothing, None).classes
    partly = layer_terms(queries, 0, nothing, known_at(queries, 0, reviewed)).classes
    torch.testing.assert_close(partly, everywhere / 2)
    found = [QueryTargets(torch.tensor([[0.75, 0.2]]), torch.tensor([0]))]
    matches = match_layer(queries, 0, found, SETTINGS)
    assert matches.query.tolist() == [1]
    learned = layer_terms(queries, 0, matches, known_at(queries, 0, reviewed))
    torch.testing.assert_close(learned.classes, layer_terms(queries, 0, matches, None).classes)
