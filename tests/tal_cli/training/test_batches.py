"""What a training step learns from: batches of crops, at a rate that rises and falls."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_up import FPS, contract_of
from small_training import RECIPE, STRIDE, short_run

from tal_cli.datasets.annotations import VideoAnnotation
from tal_cli.datasets.training_data import FeatureVideo, crop
from tal_cli.extractors.features.lookup import FeatureFile
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.models.recipe.loading import override
from tal_cli.models.recipe.training import TrainingConfig
from tal_cli.training.batches import Batch, Batches
from tal_cli.training.schedule import Schedule
from tal_cli.training.trainer import useful_threads


def test_batches_depend_on_seed_and_step_alone(small_data: Path, tmp_path: Path) -> None:
    run = short_run(small_data, tmp_path, "training.crop_ratio=[0.5, 1.0]")
    batches = Batches(run.videos, run.recipe)
    (_, first), (_, again), (_, later) = (batches.parts(number, [range(4)])[0] for number in (0, 0, 2))
    assert first.videos == again.videos == batches.videos(0) and torch.equal(first.rows, again.rows)
    assert not torch.equal(first.rows, later.rows)
    assert len({name for number in range(2) for name in batches.videos(number)}) == 8
    uneven = Batches(run.videos, override(run.recipe, {"training.batch_size": 3}))
    assert uneven.per_epoch == 2 and len({name for number in range(2) for name in uneven.videos(number)}) == 6
    twice = Batches(run.videos, override(run.recipe, {"training.crops": 2}))
    seen = Counter(name for number in range(twice.per_epoch) for name in twice.videos(number))
    assert twice.per_epoch == 4 and set(seen.values()) == {2} and len(seen) == 8
    halves = [part for _, part in batches.parts(0, [range(0, 1), range(1, 4)])]
    assert torch.equal(torch.cat([half.rows for half in halves]), first.rows)


def fake_video(length: int, segments: np.ndarray) -> FeatureVideo:
    sequence = FeatureSequence(
        features=np.arange(2.0 * length, dtype=np.float32).reshape(length, 2),
        contract=contract_of(2, STRIDE),
        fps=FPS,
        frames=length * STRIDE,
        duration=length * STRIDE / FPS,
    )
    labels = np.arange(len(segments), dtype=np.int64)
    annotation = VideoAnnotation("fake", "training", length / 7.5, 30.0, ())
    return FeatureVideo(
        annotation, sequence, FeatureFile(Path("fake.npy")), length, segments.astype(np.float32), labels
    )


@given(
    length=st.integers(1, 300),
    spans=st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 0.5)), max_size=6),
    longest=st.integers(1, 300),
    ratio=st.sampled_from([None, (0.5, 0.9), (0.9, 1.0), (1.0, 1.0)]),
    seed=st.integers(0, 1000),
)
def test_crops_lie_in_the_video_and_keep_what_they_should(
    length: int, spans: list[tuple[float, float]], longest: int, ratio: tuple[float, float] | None, seed: int
) -> None:
    bounds = np.asarray([(a * length, min(a + b, 1.2) * length) for a, b in spans]).reshape(-1, 2)
    video = fake_video(length, bounds[bounds[:, 1] > bounds[:, 0]])
    config = RECIPE.training.model_copy(update={"max_length": longest, "crop_ratio": ratio})
    part = crop(video, config, RECIPE.features, np.random.default_rng(seed))
    assert 0 <= part.start < part.end <= length and part.end - part.start <= longest
    margin = 2.0 + 1e-3
    inside = part.segments + part.start
    assert ((inside >= part.start - margin) & (inside <= part.end + margin)).all() or part.end - part.start == length
    whole = video.segments[part.labels]
    kept = np.diff(part.segments, axis=1)
    assert (kept >= config.truncate_threshold * np.diff(whole, axis=1) - 1e-3).all()
    batch = Batch.of([(video, part)], part.end - part.start + 3)
    assert batch.rows.shape == (1, part.end - part.start + 3, 2)
    assert torch.equal(batch.rows[0, :-3], video.load()[part.start : part.end])
    assert int(batch.mask.sum()) == part.end - part.start and batch.mask.dtype == torch.bool


@given(warmup=st.integers(0, 50), rest=st.integers(1, 100))
def test_schedule_rises_to_the_peak_and_falls_to_the_floor(warmup: int, rest: int) -> None:
    schedule = Schedule(1e-3, 1e-6, warmup, warmup + rest)
    rates = [schedule.rate(step) for step in range(schedule.steps)]
    assert all(0 <= rate <= 1e-3 + 1e-12 for rate in rates)
    assert rates[warmup] == pytest.approx(1e-3)
    assert all(a <= b for a, b in pairwise(rates[:warmup]))
    assert all(a > b for a, b in pairwise(rates[warmup:]))
    assert schedule.rate(schedule.steps) == pytest.approx(1e-6)
    if warmup > 1:
        assert rates[0] == 0 and rates[warmup - 1] == pytest.approx(1e-3)


def test_a_schedule_of_steps_falls_after_its_epochs() -> None:
    config = TrainingConfig(learning_rate=1.0, warmup_epochs=0, epochs=4, decay_epochs=(1, 3), decay_factor=0.5)
    schedule = Schedule.of(config, 2)
    assert [schedule.rate(step) for step in range(schedule.steps)] == [1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25]


@pytest.mark.parametrize(("values", "cores", "threads"), [(0, 8, 1), (1 << 16, 8, 1), (1 << 18, 8, 4), (1 << 24, 8, 8)])
def test_a_small_step_gets_few_threads(values: int, cores: int, threads: int) -> None:
    assert useful_threads(values, cores) == threads
