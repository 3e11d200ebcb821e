"""TemporalMaxer's assignment by cost against its definition, also where boundaries differ between classes."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.layers.pyramid import PyramidLayout, pad_batch, pyramid_points
from tal_cli.models.predictions import PlainBoundaries, Predictions, decode_everywhere
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides
from tal_cli.models.recipe.training import CenterAssignment, CostAssignment
from tal_cli.models.training.assignment import match_centers, pad_ground_truth
from tal_cli.models.training.loss import LossNormalizer, batch_loss, batch_targets, point_ranges
from tal_cli.models.training.loss_terms import centred_diou_loss, focal_loss

SEGMENTS = [torch.tensor([[1.0, 9.0], [4.0, 31.0], [3.0, 12.0], [20.0, 26.0]]), torch.zeros(0, 2)]
LABELS = [torch.tensor([0, 1, 2, 1]), torch.zeros(0, dtype=torch.int64)]


def slow_cost(predictions: Predictions, settings: CostAssignment) -> Tensor:
    """[n, S] of the first video, entry by entry."""
    predictions = replace(predictions, coarse=predictions.coarse.detach())
    points = pyramid_points(predictions.layout, torch.device("cpu"))
    distances = decode_everywhere(predictions).coarse.detach()
    cost = torch.full((len(LABELS[0]), predictions.layout.total), torch.inf)
    for number, ((start, end), label) in enumerate(zip(SEGMENTS[0].tolist(), LABELS[0].tolist(), strict=True)):
        wanted = torch.zeros(predictions.coarse.shape[2])
        wanted[label] = 1
        for cell in predictions.valid[0].nonzero()[:, 0].tolist():
            left, right = float(points.time[cell]) - start, end - float(points.time[cell])
            if left < 0 or right < 0:
                continue
            found = distances[0, cell] if distances.ndim == 3 else distances[0, cell, label]
            target = torch.tensor([left, right]) / points.stride[cell]
            cost[number, cell] = settings.class_weight * focal_loss(
                predictions.coarse[0, cell], wanted
            ).sum() + settings.iou_weight * float(centred_diou_loss(found[None], target[None]))
    return cost


@pytest.mark.parametrize("decoder", ["actionformer", "trident"])
@pytest.mark.parametrize("keep", [1.0, 0.4])
def test_cost_assignment_is_what_its_definition_says(decoder: str, keep: float) -> None:
    shape = ["model.encoder=max_pool", f"model.decoder={decoder}", "model.width=16", "model.head_width=16"]
    shape += ["model.classes=3", "model.levels=3", "model.pad_length=32", "features.channels=8"]
    recipe = override(
        load_recipe("thumos-i3d"), parse_overrides([*shape, f"training.assignment={{name: cost, keep: {keep}}}"])
    )
    recipe = override(recipe, {"training.assignment.confuse_weight": 0.25, "training.input_noise": 0})
    assert isinstance(recipe.training.assignment, CostAssignment)
    torch.manual_seed(0)
    detector = TemporalDetector.from_recipe(recipe)
    batch, mask = pad_batch([torch.randn(32, 8), torch.randn(20, 8)], 32)
    predictions = detector(batch, mask)
    targets = batch_targets(predictions, recipe.model, SEGMENTS, LABELS, recipe.training.assignment)

    cost = slow_cost(predictions, recipe.training.assignment)
    around = cost < torch.inf
    best = torch.zeros(cost.shape[1], dtype=torch.bool)
    for number in range(len(cost)):
        best[cost[number].argsort()[: int(int(around[number].sum()) * keep)]] = True
    ranges = point_ranges(recipe.model, predictions.layout, torch.device("cpu"))
    truth = pad_ground_truth(SEGMENTS, LABELS, torch.device("cpu"))
    matches = match_centers(ranges, truth, CenterAssignment())[0][0] & around
    assert targets.weights is not None
    for cell in range(cost.shape[1]):
        assert set(targets.classes[0, cell].nonzero()[:, 0].tolist()) == set(LABELS[0][matches[:, cell]].tolist())
        confused = bool(around[:, cell].any()) and not bool(best[cell])
        assert float(targets.weights[0, cell]) == (0.25 if confused else 1.0)
        if matches[:, cell].any():
            segment = SEGMENTS[0][int(cost[:, cell].argmin())]
            time, stride = float(ranges.points.time[cell]), float(ranges.points.stride[cell])
            reach = (segment - time).abs() / stride
            assert targets.distances[0, cell].tolist() == pytest.approx(reach.tolist())
    assert matches.any() and not targets.classes[1].any()
    assert bool((targets.weights < 1).any()) == (keep < 1)

    losses = batch_loss(detector.train(), batch, mask, SEGMENTS, LABELS, LossNormalizer(5.0), recipe.training)
    losses.total.backward()
    assert torch.isfinite(losses.total)


def test_a_point_with_two_labels_and_one_pair_of_distances_counts_once() -> None:
    """Its class loss has both labels, its boundaries' loss and the normaliser one point."""
    shape = ["model.encoder=max_pool", "model.decoder=actionformer", "model.width=16", "model.head_width=16"]
    shape += ["model.classes=3", "model.levels=2", "model.pad_length=32", "features.channels=8"]
    recipe = override(load_recipe("thumos-i3d"), parse_overrides([*shape, "training.input_noise=0"]))
    torch.manual_seed(0)
    detector = TemporalDetector.from_recipe(recipe)
    batch, mask = pad_batch([torch.randn(32, 8)], 32)
    assert isinstance(detector(batch, mask).boundaries, PlainBoundaries)
    found = []
    for labels in ([1], [1, 2]):
        segments = torch.tensor([[10.0, 15.0]] * len(labels))
        losses = batch_loss(
            detector, batch, mask, [segments], [torch.tensor(labels)], LossNormalizer(5.0), recipe.training
        )
        found.append(losses)
    assert found[0].positives == found[1].positives
    torch.testing.assert_close(found[0].regression, found[1].regression)
    assert float(found[1].classification.detach()) != pytest.approx(float(found[0].classification.detach()))


def test_a_point_learns_the_labels_of_the_shortest_segment_or_of_all() -> None:
    recipe = override(load_recipe("thumos-i3d"), parse_overrides(["model.levels=1", "model.pad_length=32"]))
    ranges = point_ranges(recipe.model, PyramidLayout((32,), 0), torch.device("cpu"))
    truth = pad_ground_truth([torch.tensor([[8.0, 12.0], [9.0, 11.5]])], [torch.tensor([0, 1])], torch.device("cpu"))
    for labels, expected in (("shortest", [False, True]), ("all", [True, True])):
        settings = CenterAssignment.model_validate({"name": "center", "labels": labels})
        matches, shortest = match_centers(ranges, truth, settings)
        assert matches[0, :, 10].tolist() == expected and int(shortest[0, 10]) == 1
