"""ReAct's first stage: what instances are compared with, and what learns from it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tal_cli.extractors.errors import RecipeError
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.training.contrast import choose, contrast_loss, random_parts
from tal_cli.models.training.loss import LossNormalizer, batch_loss

LENGTH = 24
SEGMENTS = [torch.tensor([[1.0, 9.0], [12.0, 20.0]]), torch.tensor([[3.0, 14.0]]), torch.tensor([[5.0, 8.0]])]
LABELS = [torch.tensor([0, 1]), torch.tensor([0]), torch.tensor([1])]


@pytest.fixture
def recipe() -> Recipe:
    return override(
        load_recipe("react-thumos-tsn"),
        parse_overrides(
            [
                *("model.width=16", "model.classes=2", "features.channels=8", f"model.pad_length={LENGTH}"),
                *("model.encoder.layers=1", "model.encoder.heads=2", "model.encoder.ffn_width=16"),
                *("model.decoder.heads=2", "model.decoder.layers=1", "model.decoder.ffn_width=16"),
                "model.decoder.contrast_parts=3",
            ]
        ),
    )


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.randn(3, LENGTH, 8), torch.ones(3, LENGTH, dtype=torch.bool)


@given(
    labels=st.lists(st.lists(st.integers(0, 2), max_size=4), min_size=1, max_size=6),
    parts=st.integers(1, 3),
    seed=st.integers(0, 2**32),
)
def test_partners_are_of_the_same_class_and_others_are_not_and_both_lie_in_other_videos(
    labels: list[list[int]], parts: int, seed: int
) -> None:
    torch.manual_seed(seed)
    # The start of an instance tells which one it is.
    segments, total = [], 0
    for own in labels:
        starts = torch.arange(total, total + len(own)).float() * 10
        segments.append(torch.stack((starts, starts + 5), -1))
        total += len(own)
    flat = [label for own in labels for label in own]
    found = choose(segments, [torch.tensor(own, dtype=torch.long) for own in labels], torch.tensor([999] * 6), parts)
    assert found.videos.shape == (len(found.segments), 3 + parts)
    possible = 0
    for number, own in enumerate(labels):
        elsewhere = {label for other, theirs in enumerate(labels) if other != number for label in theirs}
        possible += bool(own) and all(label in elsewhere and elsewhere - {label} for label in own)
    assert possible <= len(found.videos) <= sum(map(bool, labels))
    for videos, own_segments in zip(found.videos.tolist(), found.segments.tolist(), strict=True):
        own, partner, other = (flat[int(start // 10)] for start, _ in own_segments[:3])
        assert own == partner != other
        assert videos[0] not in videos[1:3] and videos[3:] == [videos[0]] * parts
        for start, end in own_segments[3:]:
            assert own_segments[0][0] <= start < end <= own_segments[0][1] + 1e-4


@given(share=st.floats(0.05, 1), seed=st.integers(0, 2**32))
def test_parts_are_too_short_to_be_the_instance(share: float, seed: int) -> None:
    torch.manual_seed(seed)
    size = share * 100
    lengths = random_parts(torch.tensor([3.0, 3.0 + size]), 100.0, 8).diff(dim=1) / size
    low, high = (0.1, 0.4) if size > 75 else (0.2, 0.5)
    assert bool(((lengths > low - 1e-3) & (lengths < high + 1e-3)).all())


def test_the_embedding_alone_learns(recipe: Recipe) -> None:
    torch.manual_seed(0)
    detector = TemporalDetector.from_recipe(recipe)
    losses = contrast_loss(detector, *batch(), SEGMENTS, LABELS)
    assert losses.positives == 3
    losses.total.backward()
    learned = {name for name, parameter in detector.named_parameters() if parameter.grad is not None}
    assert learned == {"embedding.linear.weight", "embedding.linear.bias"}


def test_a_batch_without_partners_has_no_loss(recipe: Recipe) -> None:
    detector = TemporalDetector.from_recipe(recipe)
    nothing = (
        [torch.zeros(0, 2), torch.zeros(0, 2), SEGMENTS[2]],
        [torch.zeros(0).long(), torch.zeros(0).long(), LABELS[2]],
    )
    losses = contrast_loss(detector, *batch(), *nothing)
    losses.total.backward()
    assert losses.total.item() == losses.positives == 0
    assert all(not p.grad.any() for p in detector.parameters() if p.grad is not None)


def test_instances_outside_of_what_was_reviewed_are_not_compared(recipe: Recipe) -> None:
    detector = TemporalDetector.from_recipe(recipe)
    reviewed = torch.ones(3, LENGTH, 1, dtype=torch.bool)
    reviewed[1] = False  # the only partner of label 0 in another video
    assert contrast_loss(detector, *batch(), SEGMENTS, LABELS, reviewed).positives <= 2


def test_instances_of_a_class_come_together(recipe: Recipe) -> None:
    torch.manual_seed(0)
    detector = TemporalDetector.from_recipe(recipe)
    rows, mask = batch()
    for row, own, names in zip(rows, SEGMENTS, LABELS, strict=True):
        for (start, end), label in zip(own.long().tolist(), names.tolist(), strict=True):
            row[start:end, label] += 2
    optimizer = torch.optim.Adam(detector.parameters(), lr=1e-2)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        loss = contrast_loss(detector, rows, mask, SEGMENTS, LABELS).total
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_classes_have_no_loss_while_they_warm_up(recipe: Recipe) -> None:
    torch.manual_seed(0)
    detector = TemporalDetector.from_recipe(recipe).eval()
    inputs = (detector, *batch(), SEGMENTS, LABELS, LossNormalizer(1.0), recipe.training)
    before, after, later = (batch_loss(*inputs, step=step).total.item() for step in (24, 25, None))
    assert before < after == later


@pytest.mark.parametrize(
    ("setting", "message"),
    [("training.accumulate=2", "accumulate"), ("model.decoder.contrast_epochs=20", "no epoch")],
)
def test_settings_that_contradict_the_stage_are_errors(recipe: Recipe, setting: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        override(recipe, parse_overrides([setting]))
