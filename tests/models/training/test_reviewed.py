"""Partly labelled videos: what was not reviewed is neither an instance nor background."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.layers.pyramid import pad_batch
from tal_cli.models.recipe.architecture import DECODERS
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.recipe.training import CenterAssignment
from tal_cli.models.training.loss import LossNormalizer, batch_loss, count_points
from tal_cli.models.training.loss_terms import Losses

LENGTH, CHANNELS, CLASSES = 64, 8, 5
ASSIGNMENTS = ("center", "cost")
OBJECTIVES = ("released", "paper")
Truth = tuple[list[tuple[float, float]], list[int]]
INSIDE: Truth = ([(3.0, 6.0), (10.0, 21.0), (16.0, 30.0)], [0, 2, 1])
OUTSIDE: Truth = ([(34.0, 38.0), (41.0, 60.0)], [1, 1])


def recipe_of(decoder: str, *assignments: str) -> Recipe:
    shape = [
        "model.width=16", "model.head_width=16", f"model.classes={CLASSES}", "model.levels=3",
        f"features.channels={CHANNELS}", f"model.pad_length={LENGTH}", "training.drop_path=0", "training.input_noise=0",
        "model.encoder=max_pool", f"model.decoder={decoder}",
    ]  # fmt: skip
    return override(load_recipe("thumos-i3d"), parse_overrides([*shape, *assignments]))


def detector_of(recipe: Recipe) -> TemporalDetector:
    torch.manual_seed(0)
    return TemporalDetector.from_recipe(recipe).train()


def rows_of(length: int = LENGTH) -> tuple[Tensor, Tensor]:
    whole = torch.randn(LENGTH, CHANNELS, generator=torch.Generator().manual_seed(0))
    return pad_batch([whole[:length]], LENGTH)


def reviewed(*ranges: tuple[int, int]) -> Tensor:
    cells = torch.zeros(1, LENGTH, 1, dtype=torch.bool)
    for start, end in ranges:
        cells[:, start:end] = True
    return cells


def loss(
    detector: TemporalDetector, recipe: Recipe, truth: Truth, seen: Tensor | None, length: int = LENGTH
) -> tuple[Losses, list[Tensor], float]:
    """The loss, every gradient, and the loss norm after it."""
    detector.zero_grad()
    segments, labels = torch.tensor(truth[0]).reshape(-1, 2), torch.tensor(truth[1], dtype=torch.int64)
    normalizer = LossNormalizer(5.0)
    found = batch_loss(detector, *rows_of(length), [segments], [labels], normalizer, recipe.training, reviewed_BTK=seen)
    found.total.backward()
    gradients = [item.grad.clone() for item in detector.parameters() if item.grad is not None]
    return found, gradients, normalizer.value


def assert_same(first: tuple[Losses, list[Tensor], float], second: tuple[Losses, list[Tensor], float]) -> None:
    assert torch.equal(first[0].total, second[0].total) and first[0].positives == second[0].positives
    assert first[2] == second[2] and all(torch.equal(a, b) for a, b in zip(first[1], second[1], strict=True))


@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_unseen_truth_changes_no_bit(decoder: str, objective: str) -> None:
    recipe = recipe_of(decoder, f"training.objective={objective}")
    detector = detector_of(recipe)
    seen = reviewed((0, 32))
    both = (INSIDE[0] + OUTSIDE[0], INSIDE[1] + OUTSIDE[1])
    known = loss(detector, recipe, INSIDE, seen)
    assert known[0].positives > 0
    assert_same(known, loss(detector, recipe, both, seen))
    assert loss(detector, recipe, both, None)[0].total != known[0].total
    assert_same(loss(detector, recipe, both, None), loss(detector, recipe, both, reviewed((0, LENGTH))))


@pytest.mark.parametrize("decoder", ["actionformer", "{name: trident, bins: 2}"])
@pytest.mark.parametrize("assignment", ASSIGNMENTS)
def test_a_window_alone_gives_the_same_bits(decoder: str, assignment: str) -> None:
    """What lies beyond the receptive field of what was reviewed might as well not be in the video."""
    recipe = recipe_of(decoder, f"training.assignment={assignment}", "model.head_layers=1", "model.embedding_layers=1")
    detector = detector_of(recipe)
    truth: Truth = (INSIDE[0][:2], INSIDE[1][:2])
    seen = reviewed((0, 24))
    alone = loss(detector, recipe, truth, seen, length=56)
    assert alone[0].positives > 0
    assert_same(alone, loss(detector, recipe, truth, seen))


@pytest.mark.parametrize("decoder", [name for name in DECODERS if name not in ("query", "relational", "points")])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_unseen_points_have_no_gradient(decoder: str, objective: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = recipe_of(decoder, f"training.objective={objective}")
    detector = detector_of(recipe)
    kept: list[Tensor] = []
    forward = detector.forward

    def watched(rows: Tensor, mask: Tensor) -> object:
        predictions = forward(rows, mask)
        predictions.refined.retain_grad()
        kept.append(predictions.refined)
        return predictions

    monkeypatch.setattr(detector, "forward", watched)
    loss(detector, recipe, INSIDE, reviewed((8, 20), (40, 50)))
    gradient = kept[0].grad
    assert gradient is not None
    finest = gradient[0, :LENGTH].abs().sum(1)
    unseen = ~reviewed((8, 20), (40, 50))[0, :, 0]
    assert not finest[unseen].any() and finest[8:20].all() and finest[40:50].all()


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_label_that_was_not_looked_for_is_no_background(objective: str) -> None:
    recipe = recipe_of("actionformer", f"training.objective={objective}")
    detector = detector_of(recipe)
    seen = reviewed((0, LENGTH)).repeat(1, 1, CLASSES)
    seen[:, :, 1] = False
    found, _, _ = loss(detector, recipe, (INSIDE[0][:2], INSIDE[1][:2]), seen)
    (bias,) = (item.grad for _, item in detector.named_parameters() if item.shape == (CLASSES,))
    assert (
        found.positives > 0 and bias is not None and [bool(value) for value in bias] == [True, False, True, True, True]
    )


@pytest.mark.parametrize("classes", [1, CLASSES])
def test_counts_of_a_batch_are_those_of_its_loss(classes: int) -> None:
    recipe = recipe_of("actionformer")
    seen = reviewed((5, 18), (33, 47)).repeat(1, 1, classes)
    if classes > 1:
        seen[:, :9, 2] = True
    truth = (INSIDE[0] + OUTSIDE[0], INSIDE[1] + OUTSIDE[1])
    segments, labels = [torch.tensor(truth[0])], [torch.tensor(truth[1])]
    counted: list[list[float]] = []

    def tally(counts: Tensor) -> Tensor:
        counted.append(counts.tolist())
        return counts

    batch_loss(detector_of(recipe), *rows_of(), segments, labels, LossNormalizer(5.0), recipe.training, tally, seen)
    before = count_points(recipe.model, rows_of()[1], segments, labels, CenterAssignment(), seen)
    assert counted == [before.tolist()] and counted[0][0] > 0
