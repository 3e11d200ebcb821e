"""Whole sequences to segments: any length, in one piece or in chunks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.inference.chunks import collect_candidates, detect, plan_chunks
from tal_cli.models.recipe.inference import InferenceConfig
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides
from tal_cli.models.recipe.schema import Recipe

SMALL = [
    "model.width=16",
    "model.head_width=16",
    "model.encoder.mlp_width=16",
    "model.classes=3",
    "model.levels=4",
    "model.pad_length=64",
    "model.class_prior=0.3",
    "features.channels=4",
]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return override(load_recipe("thumos-i3d"), parse_overrides(SMALL))


@pytest.fixture(scope="module")
def detector(recipe: Recipe) -> TemporalDetector:
    torch.manual_seed(0)
    return TemporalDetector.from_recipe(recipe).eval()


def features(length: int) -> Tensor:
    return torch.randn(length, 4, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("length", [1, 2, 7, 63, 64, 65, 131])
def test_any_length(detector: TemporalDetector, recipe: Recipe, length: int) -> None:
    found = detect(detector, features(length), recipe)
    assert len(found) > 0
    assert found.starts.dtype == np.float64 and found.scores.dtype == np.float32
    assert (np.diff(found.scores) <= 0).all() and (found.ends > found.starts).all()
    assert found.labels.min() >= 0 and found.labels.max() < 3


def test_nothing_found_gives_empty_arrays(detector: TemporalDetector, recipe: Recipe) -> None:
    found = detect(detector, features(50), override(recipe, {"inference.pre_nms_threshold": 1.0}))
    assert len(found) == 0 and found.starts.shape == (0,)


def test_bad_features_are_rejected(detector: TemporalDetector, recipe: Recipe) -> None:
    for value in (float("nan"), float("inf")):
        bad = features(50)
        bad[17, 2] = bad[31, 0] = value
        with pytest.raises(ValueError, match="window 17 are not finite"):
            detect(detector, bad, recipe)
    with pytest.raises(ValueError, match="5 channels, the detector takes 4"):
        detect(detector, torch.zeros(10, 5), recipe)
    with pytest.raises(ValueError, match=r"must be \[windows, channels\]"):
        detect(detector, torch.zeros(4), recipe)


def test_an_empty_video_holds_nothing(detector: TemporalDetector, recipe: Recipe) -> None:
    assert len(detect(detector, torch.zeros(0, 4), recipe)) == 0


@settings(deadline=None, max_examples=200)
@given(
    st.integers(1, 5000),
    st.integers(1, 600),
    st.integers(0, 599),
    st.sampled_from([1, 8, 32]),
)
def test_chunks_share_the_points_out(length: int, size: int, overlap: int, multiple: int) -> None:
    config = InferenceConfig(chunk_length=size, chunk_overlap=min(overlap, size - 1))
    plan = plan_chunks(length, config, multiple=multiple)
    assert plan[0].core.start == 0 and plan[-1].core.stop == length
    for earlier, later in itertools.pairwise(plan):
        assert earlier.core.stop == later.core.start
        assert later.cells.start > earlier.cells.start
    for piece in plan:
        assert piece.cells.start % multiple == 0
        assert piece.cells.start <= piece.core.start < piece.core.stop <= piece.cells.stop
        assert len(piece.cells) <= max(size, 2 * multiple)


@pytest.mark.parametrize(("length", "multiple", "last"), [(70, 1, range(38, 70)), (70, 4, range(40, 70)),
                                                           (64, 1, range(32, 64)), (9, 1, range(9))])  # fmt: skip
def test_the_last_chunk_can_be_as_long_as_the_others(length: int, multiple: int, last: range) -> None:
    config = InferenceConfig(chunk_length=32, chunk_overlap=0, last_chunk="whole")
    plan = plan_chunks(length, config, multiple=multiple)
    assert plan[-1].cells == last
    assert [piece.core for piece in plan] == [
        piece.core
        for piece in plan_chunks(length, config.model_copy(update={"last_chunk": "short"}), multiple=multiple)
    ]


def test_chunks_find_the_points_of_the_whole(detector: TemporalDetector, recipe: Recipe) -> None:
    """Every point belongs to one chunk: as many candidates of each label as in one piece."""
    everything = ["inference.pre_nms_threshold=0.0", "inference.pre_nms_top_k=100000", "inference.min_duration=0"]
    whole = collect_candidates(detector, features(500), override(recipe, parse_overrides(everything)).inference)
    pieces = collect_candidates(
        detector,
        features(500),
        override(
            recipe, parse_overrides([*everything, "inference.chunk_length=128", "inference.chunk_overlap=64"])
        ).inference,
    )
    assert len(whole) == len(pieces)
    np.testing.assert_array_equal(np.bincount(whole.labels), np.bincount(pieces.labels))


def test_a_segment_on_a_seam_is_found_once(recipe: Recipe) -> None:
    """A detector that finds exactly one segment, wherever it lies, finds it once however the sequence is cut."""
    detector = spike_detector(recipe)
    for start in range(40, 200, 7):
        sequence = torch.zeros(400, 4)
        sequence[start : start + 20] = 1.0
        tight = override(recipe, {"inference.min_score": 0.5, "inference.pre_nms_threshold": 0.5})
        cut = override(tight, {"inference.chunk_length": 96, "inference.chunk_overlap": 64})
        whole, pieces = (detect(detector, sequence, chosen) for chosen in (tight, cut))
        assert len(whole) == 1
        assert len(pieces) == 1
        np.testing.assert_allclose(pieces.starts, whole.starts, atol=1e-3)
        np.testing.assert_allclose(pieces.ends, whole.ends, atol=1e-3)


def spike_detector(recipe: Recipe) -> TemporalDetector:
    """Replaces the network by a rule: a point of level 2 right behind the onset of ones scores high."""
    from tal_cli.models.layers.pyramid import PyramidLayout
    from tal_cli.models.predictions import BinnedBoundaries, Predictions

    class Rule(TemporalDetector):
        def forward(self, rows_BTC: Tensor, mask_BT: Tensor) -> Predictions:
            videos, cells, _ = rows_BTC.shape
            layout = PyramidLayout(tuple(cells >> level for level in range(4)), 4)
            ones = rows_BTC[:, ::4, :1]
            onset = torch.diff(ones, dim=1, prepend=torch.zeros(videos, 1, 1)).clamp(min=0)
            levels = [torch.full((videos, length, 3), -20.0) for length in layout.lengths]
            levels[2] = levels[2] + 40.0 * onset * torch.tensor([1.0, 0.0, 0.0])
            logits = layout.pack(levels)
            zeros = torch.zeros_like(logits)
            offsets = torch.zeros(videos, layout.total, 2 * 17)
            offsets[..., 17 + 5] = 100.0  # the end lies 5 cells further on,
            offsets[..., 16] = 100.0  # the start right here
            return Predictions(
                layout=layout, valid=layout.inside(logits.device).expand(videos, -1), coarse=logits, refined=logits,
                boundaries=BinnedBoundaries(offsets=offsets, starts=zeros, ends=zeros),
            )  # fmt: skip

    return Rule.from_recipe(recipe).eval()
