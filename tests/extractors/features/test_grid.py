"""Windows over a stream: every window once, whatever the chunks and the batch."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tal_cli.extractors.extraction.blocks import PreparedFrames, window_blocks, with_lookahead
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.grid import WindowGrid
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.extractors.video.stream import FrameChunk


def chunks(frames: int, cuts: list[int]) -> list[FrameChunk]:
    """Frames whose only pixel counts them, in chunks that end at the cuts."""
    edges = sorted({0, frames, *(cut for cut in cuts if cut < frames)})
    values = np.arange(frames)
    images = np.stack([values // 256, values % 256, values * 0], -1).astype(np.uint8)[:, None, None]
    return [FrameChunk(images[start:stop], values[start:stop] / 10) for start, stop in itertools.pairwise(edges)]


def prepared(chunks: list[FrameChunk]) -> list[PreparedFrames]:
    return [PreparedFrames(torch.from_numpy(chunk.frames), chunk.times) for chunk in chunks]


def windows_of(block: PreparedFrames, grid: WindowGrid) -> list[list[int]]:
    """The frames' numbers in each window of a block."""
    pixels = block.frames[:, 0, 0].numpy().astype(int)
    numbers = pixels[:, 0] * 256 + pixels[:, 1]
    count = (len(numbers) - grid.window) // grid.stride + 1
    assert grid.frames(count) == len(numbers) == len(block.times)
    return [list(numbers[index * grid.stride :][: grid.window]) for index in range(count)]


@given(
    frames=st.integers(1, 120),
    cuts=st.lists(st.integers(1, 119), max_size=12),
    window=st.integers(1, 20),
    stride=st.integers(1, 24),
    batch=st.integers(1, 9),
)
def test_every_window_comes_once_and_in_order(
    frames: int, cuts: list[int], window: int, stride: int, batch: int
) -> None:
    grid = WindowGrid(window, stride)
    blocks = list(window_blocks(prepared(chunks(frames, cuts)), grid, batch))
    found = [numbers for block in blocks for numbers in windows_of(block, grid)]
    if frames < window:
        expected = [[*range(frames), *[frames - 1] * (window - frames)]]
    else:
        expected = [list(range(start, start + window)) for start in range(0, frames - window + 1, stride)]
    assert found == expected
    assert len(found) == grid.count(frames)
    assert all(len(windows_of(block, grid)) <= batch for block in blocks)
    assert all((np.diff(block.times) > 0).all() for block in blocks)


def test_no_frames_give_no_window() -> None:
    assert list(window_blocks([], WindowGrid(16, 4), 8)) == []


def test_the_batch_may_follow_from_the_first_frames() -> None:
    seen: list[int] = []

    def batch(first: PreparedFrames) -> int:
        seen.append(len(first.times))
        return 3

    blocks = list(window_blocks(prepared(chunks(40, [7])), WindowGrid(4, 2), batch))
    assert seen == [7]
    assert [len(windows_of(block, WindowGrid(4, 2))) for block in blocks] == [3, 3, 3, 3, 3, 3, 1]


@given(frames=st.integers(1, 60), cuts=st.lists(st.integers(1, 59), max_size=12), lookahead=st.integers(0, 3))
def test_every_frame_but_the_last_has_what_comes_after_it(frames: int, cuts: list[int], lookahead: int) -> None:
    seen = []
    for chunk in with_lookahead(chunks(frames, cuts), lookahead):
        assert (np.diff(chunk.times) > 0).all()
        numbers = chunk.frames[:, 0, 0, 0].astype(int) * 256 + chunk.frames[:, 0, 0, 1]
        ready = len(numbers) - lookahead
        assert ready > 0
        for index in range(ready):
            after = numbers[index : index + lookahead + 1]
            assert list(after) == [min(after[0] + ahead, frames - 1) for ahead in range(lookahead + 1)]
        seen += list(numbers[:ready])
    assert seen == list(range(max(1, frames - lookahead) if frames > lookahead else 1))


def test_seconds_are_the_published_formula() -> None:
    assert WindowGrid(16, 4).seconds(np.array([0.0, 10.0]), 30.0) == pytest.approx([8 / 30, 48 / 30])


@given(
    st.integers(1, 64),
    st.integers(1, 64),
    st.floats(1, 240),
    st.lists(st.floats(-10, 1e5), min_size=1, max_size=20),
)
def test_grid_and_seconds_are_inverse(window: int, stride: int, fps: float, positions: list[float]) -> None:
    grid = WindowGrid(window, stride)
    at = np.array(positions)
    assert np.allclose(grid.grid(grid.seconds(at, fps), fps), at, rtol=1e-9, atol=1e-6)


@pytest.mark.parametrize(
    ("sampling_rate", "max_rate", "fps", "rate"),
    [(None, None, 30.0, 30.0), (25.0, None, 30.0, 25.0), (None, 36.0, 30.0, 30.0), (None, 36.0, 60.0, 30.0)],
)
def test_features_that_follow_a_contract_count_in_its_rate(
    contract: Callable[..., FeatureContract],
    sampling_rate: float | None,
    max_rate: float | None,
    fps: float,
    rate: float,
) -> None:
    made = contract(sampling_rate=sampling_rate, max_rate=max_rate)
    rows = np.zeros((11, 3), np.float32)
    unknown = FeatureSequence(features=rows, contract=None, fps=0.0, frames=0, duration=0.0)
    known = unknown.following(made, fps)
    window, stride = made.window, made.stride
    assert known.duration == pytest.approx((10 * stride + window) / rate)
    assert known.fps == fps and known.frames == round(known.duration * fps)
    np.testing.assert_allclose(known.seconds([0, 5]), [(0.5 * window) / rate, (5 * stride + 0.5 * window) / rate])
    assert unknown.following(made, fps, 2.5).duration == 2.5
