"""Targets, losses and the optimiser's groups."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.layers.pyramid import PyramidLayout, pad_batch, pyramid_points
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.recipe.training import CenterAssignment
from tal_cli.models.training.assignment import PointRanges, label_points, match_centers, pad_ground_truth
from tal_cli.models.training.loss import LossNormalizer, batch_loss, disturbed, parameter_groups

LAYOUT = PyramidLayout((32, 16, 8), gap=4)
RANGES = ((0.0, 4.0), (4.0, 8.0), (8.0, 10000.0))


def slow_targets(
    segments: list[tuple[float, float]], labels: list[int], radius: float | None
) -> dict[tuple[int, int], tuple[set[int], tuple[float, float]]]:
    """(level, index) of every positive point -> its classes and distances, from the definition."""
    found = {}
    for level, length in enumerate(LAYOUT.lengths):
        stride = 1 << level
        for index in range(length):
            time = index * stride
            fitting = []
            for number, (start, end) in enumerate(segments):
                low, high = start, end
                if radius is not None:
                    centre = (start + end) / 2
                    low, high = max(low, centre - radius * stride), min(high, centre + radius * stride)
                reach = max(time - start, end - time)
                if low < time < high and RANGES[level][0] <= reach <= RANGES[level][1]:
                    fitting.append(number)
            if fitting:
                shortest = min(fitting, key=lambda number: segments[number][1] - segments[number][0])
                length_of = segments[shortest][1] - segments[shortest][0]
                same = {labels[n] for n in fitting if segments[n][1] - segments[n][0] <= length_of + 1e-3}
                start, end = segments[shortest]
                found[level, index] = (same, ((time - start) / stride, (end - time) / stride))
    return found


quarter = st.integers(0, 124).map(lambda n: n / 4)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(st.tuples(quarter, quarter, st.integers(0, 2)), max_size=6),
    st.sampled_from([None, 1.5, 0.75]),
)
def test_targets_are_what_their_definition_says(drawn: list[tuple[float, float, int]], radius: float | None) -> None:
    segments = [(min(a, b), max(a, b) + 0.25) for a, b, _ in drawn]
    labels = [label for _, _, label in drawn]
    points = pyramid_points(LAYOUT, torch.device("cpu"))
    low, high = (LAYOUT.spread([edges[side] for edges in RANGES], torch.device("cpu")) for side in (0, 1))
    other = torch.tensor([[1.0, 3.0]])
    truth = pad_ground_truth(
        [other, torch.tensor(segments).reshape(-1, 2)],
        [torch.tensor([1]), torch.tensor(labels, dtype=torch.int64)],
        points.time.device,
    )
    matches, shortest = match_centers(PointRanges(points, low, high), truth, CenterAssignment(radius=radius))
    targets = label_points(matches, shortest, points, truth, classes=3)
    expected = slow_targets(segments, labels, radius)
    classes, distances = LAYOUT.split(targets.classes), LAYOUT.split(targets.distances)
    for level, length in enumerate(LAYOUT.lengths):
        for index in range(length):
            names, distance = expected.get((level, index), (set(), None))
            assert set(classes[level][1, index].nonzero()[:, 0].tolist()) == names
            if distance is not None:
                assert distances[level][1, index].tolist() == pytest.approx(distance)
    assert not targets.classes[:, ~LAYOUT.inside(torch.device("cpu"))].any()


def small(*assignments: str) -> Recipe:
    shape = ["model.width=32", "model.head_width=32", "model.encoder.mlp_width=48", "model.classes=3"]
    shape += ["model.pad_length=64", "features.channels=8"]
    return override(load_recipe("thumos-i3d"), parse_overrides(shape) | parse_overrides(assignments))


def batch() -> tuple[Tensor, Tensor, list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(0)
    sequences = [torch.randn(64, 8, generator=generator), torch.randn(45, 8, generator=generator)]
    segments = [torch.tensor([[4.0, 7.0], [10.0, 30.0]]), torch.zeros(0, 2)]
    return (*pad_batch(sequences, 64), segments, [torch.tensor([0, 2]), torch.zeros(0, dtype=torch.int64)])


@pytest.mark.parametrize("variant", ["released", "paper"])
@pytest.mark.parametrize("loss", ["varifocal", "focal"])
@pytest.mark.slow
def test_a_few_steps_learn(variant: str, loss: str) -> None:
    torch.manual_seed(0)
    recipe = small(f"model.variant={variant}", f"training.class_loss={loss}", "training.input_noise=0.01")
    recipe = override(recipe, {"training.initial_loss_norm": 5})  # near what it runs to, so that losses compare
    detector = TemporalDetector.from_recipe(recipe).train()
    optimizer = torch.optim.AdamW(parameter_groups(detector, 0.05), lr=2e-3)
    normalizer = LossNormalizer(recipe.training.initial_loss_norm)
    history = []
    for _ in range(20):
        losses = batch_loss(detector, *batch(), normalizer, recipe.training)
        optimizer.zero_grad()
        losses.total.backward()
        optimizer.step()
        history.append(float(losses.total.detach()))
        assert losses.positives > 0
    assert history[-1] < 0.8 * history[0]


@pytest.mark.parametrize("variant", ["released", "paper"])
def test_a_batch_without_any_segment_still_learns(variant: str) -> None:
    recipe = small(f"model.variant={variant}")
    detector = TemporalDetector.from_recipe(recipe).train()
    features, mask, _, _ = batch()
    normalizer = LossNormalizer(100.0)
    empty = [torch.zeros(0, 2)] * 2, [torch.zeros(0, dtype=torch.int64)] * 2
    losses = batch_loss(detector, features, mask, *empty, normalizer, recipe.training)
    losses.total.backward()
    assert torch.isfinite(losses.total) and losses.positives == 0
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters() if p.grad is not None)
    if variant == "released":
        assert normalizer.value == pytest.approx(100 * 0.81 + 0.1 * 0.9 + 0.1)


def test_decay_falls_on_convolutions_and_filter_weights_only() -> None:
    detector = TemporalDetector.from_recipe(small("model.encoder.windows=3"))
    groups = parameter_groups(detector, 0.05)
    names = {id(parameter): name for name, parameter in detector.named_parameters()}
    decayed, free = ({names[id(p)] for p in group["params"]} for group in groups)  # type: ignore[index]
    assert decayed | free == set(names.values()) and not decayed & free
    assert {"encoder.stem.0.filter.weight_in", "decoder.cross.up_gate.weight", "encoder.stem.0.local.weight"} <= decayed
    assert {
        "encoder.stem.0.filter.bias_in",
        "encoder.branch.0.drop_mix.scale",
        "norms.0.weight",
        "decoder.offsets.level_scale",
        "encoder.stem.0.ffn_norm.weight",
        "decoder.classes.output.bias",
    } <= free


def test_drop_path_only_drops_while_training() -> None:
    recipe = small("training.drop_path=0.9", "model.encoder.branch_scale=1.0")
    detector = TemporalDetector.from_recipe(recipe)
    features, mask, _, _ = batch()
    with torch.no_grad():
        detector.eval()
        assert torch.equal(detector(features, mask).refined, detector(features, mask).refined)
        detector.train()
        torch.manual_seed(0)
        assert not torch.equal(detector(features, mask).refined, detector(features, mask).refined)


def test_channels_are_dropped_from_whole_videos_and_the_others_scaled_up() -> None:
    torch.manual_seed(0)
    rows = torch.rand(4, 50, 200) + 1
    training = small("training.input_dropout=0.25", "training.input_noise=0").training
    found = disturbed(rows, training, None)
    dropped = (found == 0).all(dim=1)  # [4, 200]
    assert 0.15 < dropped.float().mean() < 0.35 and not torch.equal(dropped[0], dropped[1])
    torch.testing.assert_close(found, rows / 0.75 * ~dropped[:, None])
    assert torch.equal(disturbed(rows, small("training.input_noise=0").training, None), rows)
