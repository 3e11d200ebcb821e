"""Queries of points: what their segments are, what they see, and what their loss is divided by."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tal_cli.models.decoders.query.points import PointFeatures, span
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.layers.pyramid import pad_batch
from tal_cli.models.recipe.decoders import PointSettings, QuerySettings
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.training.loss import LossNormalizer, batch_loss
from tal_cli.models.training.query_loss import cells_within, supervised_layers

LENGTH = 16
SEGMENTS = [torch.tensor([[1.0, 4.0], [5.0, 12.0], [9.0, 15.0]]), torch.tensor([[2.0, 10.0]])]
LABELS = [torch.tensor([0, 1, 1]), torch.tensor([2])]


@pytest.fixture
def recipe() -> Recipe:
    decoder = "{name: points, queries: 5, layers: 3, heads: 2, ffn_width: 16, query_points: 6}"
    assignments = [
        *("model.width=16", "model.classes=3", "model.streams=[[3, 16], [5, 16]]", "features.channels=8"),
        *(f"model.pad_length={LENGTH}", f"model.decoder={decoder}"),
    ]
    return override(load_recipe("pointtad-multithumos-i3d"), parse_overrides(assignments))


@pytest.mark.parametrize(("count", "outer"), [(5, 3), (9, 6), (10, 6), (21, 14)])
def test_the_last_third_of_the_points_samples_alone(count: int, outer: int) -> None:
    points = torch.linspace(0.9, 0.1, count)
    first, last = float(points[outer - 1]), 0.9
    torch.testing.assert_close(span(points), torch.tensor([(first + last) / 2, last - first]))


def test_points_that_are_alike_do_not_move_as_one() -> None:
    points = torch.full((1, 6), 0.5, requires_grad=True)
    span(points)[0, 0].backward()  # the centre's gradient
    assert points.grad is not None and points.grad.tolist() == [[1, 0, 0, 0, 0, 0]]


def test_samples_lie_between_the_middles_of_the_first_and_the_last_valid_cell(recipe: Recipe) -> None:
    settings = recipe.model.decoder
    assert isinstance(settings, PointSettings)
    features = PointFeatures(recipe.model, settings)
    for linear in (features.edge_offsets, features.inner_offsets):
        torch.nn.init.zeros_(linear.weight)
        torch.nn.init.zeros_(linear.bias)
    rows = torch.arange(8.0)[None, :, None].expand(1, 8, 16).clone()
    rows[:, 5:] = 1000.0
    points = torch.tensor([[[-1.0, 0.0, 0.25, 0.6, 1.0, 7.0]]])
    seen = features(torch.randn(1, 1, 16), points, [rows], torch.tensor([[5.0]]))
    torch.testing.assert_close(seen[0, 0, :, 0], torch.tensor([0.0, 0.0, 1.0, 2.4, 4.0, 4.0]))


def test_cells_of_a_segment_are_those_its_ends_lie_in_and_all_between() -> None:
    found = cells_within([torch.tensor([[1.2, 3.4], [2.0, 2.2], [4.0, 9.0]])], [torch.tensor([0, 0, 1])],
                         torch.zeros(1, 6, 2), 0.5)  # fmt: skip
    assert found[0].T.tolist() == [[0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 1, 1]]


def test_as_many_layers_learn_as_the_settings_say() -> None:
    assert supervised_layers(QuerySettings(), 4) == supervised_layers(PointSettings(), 4) == [0, 1, 2, 3]
    assert supervised_layers(PointSettings(supervised=1), 4) == [0, 3]
    assert supervised_layers(PointSettings(supervised=9), 2) == [0, 1]
    assert supervised_layers(PointSettings(supervised=0), 2) == [1]


def test_losses_of_parts_add_up_to_that_of_the_batch(recipe: Recipe) -> None:
    torch.manual_seed(0)
    detector = TemporalDetector.from_recipe(recipe).eval()
    rows = [torch.randn(LENGTH, 8), torch.randn(11, 8)]

    def total(videos: list[int], counts: Tensor | None) -> Tensor:
        batch, mask = pad_batch([rows[video] for video in videos], LENGTH)
        told = None if counts is None else lambda own: counts
        segments, labels = [SEGMENTS[video] for video in videos], [LABELS[video] for video in videos]
        return batch_loss(
            detector, batch, mask, segments, labels, LossNormalizer(1.0), recipe.training, tally=told
        ).total.detach()

    whole = torch.tensor([4.0, 4.0, 10.0], dtype=torch.float64)
    torch.testing.assert_close(total([0], whole) + total([1], whole), total([0, 1], None))
    assert total([0], None) != total([0], whole)


def test_nothing_is_learned_of_what_is_not_known(recipe: Recipe) -> None:
    torch.manual_seed(0)
    detector = TemporalDetector.from_recipe(recipe).eval()
    batch, mask = pad_batch([torch.randn(LENGTH, 8)], LENGTH)
    nowhere = torch.zeros(1, LENGTH, 1, dtype=torch.bool)
    losses = batch_loss(detector, batch, mask, SEGMENTS[:1], LABELS[:1], LossNormalizer(1.0), recipe.training,
                        reviewed_BTK=nowhere)  # fmt: skip
    assert losses.total == 0 and losses.positives == 0
