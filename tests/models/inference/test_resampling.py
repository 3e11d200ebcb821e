"""Sequences brought to one length: where cells lie, and that times come back."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.inference.chunks import detect
from tal_cli.models.inference.resampling import Resampling
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides

SIZES = st.builds(
    Resampling,
    cells=st.integers(1, 500),
    length=st.integers(1, 300),
    window=st.integers(1, 64),
    stride=st.integers(1, 32),
)


@given(SIZES, st.lists(st.floats(-100, 1000), max_size=5))
def test_positions_come_back(resampling: Resampling, grid: list[float]) -> None:
    np.testing.assert_allclose(resampling.to_original(resampling.to_new(grid)), grid, atol=1e-6)


@given(SIZES)
def test_new_cells_divide_the_frames_of_the_windows(resampling: Resampling) -> None:
    """ActionFormer's rule: stride' = window' = ((T - 1) stride + window) / length, frames = (g + 1 / 2) stride'."""
    frames = (resampling.cells - 1) * resampling.stride + resampling.window
    edges = resampling.to_original([-0.5, resampling.length - 0.5]) * resampling.stride + 0.5 * resampling.window
    np.testing.assert_allclose(edges, [0, frames], atol=1e-6)


@given(SIZES)
def test_features_are_drawn_out_evenly(resampling: Resampling) -> None:
    ramp = torch.arange(resampling.cells, dtype=torch.float32)[:, None].repeat(1, 2)
    drawn = resampling.features(ramp)
    assert drawn.shape == (resampling.length, 2)
    expected = (np.arange(resampling.length) + 0.5) * resampling.cells / resampling.length - 0.5
    np.testing.assert_allclose(drawn[:, 0], np.clip(expected, 0, resampling.cells - 1), atol=1e-3)


def test_detections_are_on_the_original_grid() -> None:
    """The same features of windows twice as far apart: what is found lies at twice the frame."""
    small = ["model.width=16", "model.head_width=16", "model.encoder.mlp_width=16", "features.channels=1"]
    size = ["model.levels=3", "model.pad_length=32", "model.resample=true", "features.window=4", "features.stride=4"]
    recipe = override(load_recipe("activitynet-tsp"), parse_overrides(small) | parse_overrides(size))
    torch.manual_seed(0)
    detector = TemporalDetector.from_recipe(recipe).eval()
    features = torch.randn(64, 1)
    found = detect(detector, features, recipe)
    assert len(found)
    # The detector sees 32 cells, and its segments reach at most 12 bins of 4 cells beyond them.
    assert found.starts.min() > -2 * 48 and found.ends.max() < 2 * (32 + 48) and found.ends.max() > 32
    slow = detect(detector, features, override(recipe, {"features.window": 8, "features.stride": 8}))
    np.testing.assert_allclose(slow.starts * 8 + 4, 2 * (found.starts * 4 + 2), atol=1e-3)
    np.testing.assert_allclose(slow.ends * 8 + 4, 2 * (found.ends * 4 + 2), atol=1e-3)
