"""Training as the published ActivityNet settings do: features of one length, all labels learnt as one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_up import spec_of, write_annotations, write_video

from tal_cli.datasets.annotations import GroundTruth
from tal_cli.models.inference.resampling import Resampling
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.encoders import GmgSettings
from tal_cli.models.recipe.loading import dump_recipe
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.recipe.training import TrainingConfig
from tal_cli.models.store.checkpoint import load_model
from tal_cli.training.options import TrainingOptions
from tal_cli.training.prepare import prepare
from tal_cli.training.trainer import train

CHANNELS, STRIDE = 4, 8
WINDOWS = {"a": 20, "b": 77, "c": 32, "d": 50}
RECIPE = Recipe(
    name="proposals",
    features=spec_of(CHANNELS, STRIDE),
    model=ModelConfig(
        classes=1, width=16, head_width=16, levels=3, pad_length=32, resample=True, encoder=GmgSettings(mlp_width=16)
    ),
    training=TrainingConfig(epochs=1, warmup_epochs=1, batch_size=2, max_length=32, class_agnostic=True),
)


@pytest.fixture
def request_(tmp_path: Path) -> TrainingOptions:
    rng = np.random.default_rng(0)
    segments = (GroundTruth("hop", 1.0, 3.0), GroundTruth("skip", 2.0, 4.0))
    videos = []
    for name, windows in WINDOWS.items():
        subset = "validation" if name == "d" else "training"
        features = rng.standard_normal((windows, CHANNELS))
        videos.append(write_video(tmp_path, name, subset, features, segments, stride=STRIDE))
    write_annotations(tmp_path, videos, ("hop", "skip"))
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(dump_recipe(RECIPE))
    return TrainingOptions(
        dataset=str(tmp_path / "annotations.json"), recipe=str(recipe), output=tmp_path / "run", device="cpu"
    )


def test_features_of_one_length_and_one_label(request_: TrainingOptions) -> None:
    run = prepare(request_)
    assert run.labels == ("action",) and run.recipe == RECIPE
    for video in run.videos:
        windows = WINDOWS[video.annotation.name]
        assert video.length == 32 and video.load().shape == (32, 4) and video.labels.tolist() == [0, 0]
        # A new cell is (8 windows + 8) / 32 frames long, and its middle is where it stands.
        frames = (video.segments + 0.5) * (windows * 8 + 8) / 32
        np.testing.assert_allclose(frames / 30, [[1, 3], [2, 4]], atol=1e-4)
        assert video.resampling == Resampling(windows, 32, 16, 8)
    assert [video.length for video in run.validation] == [50]


def test_trains_and_evaluates_proposals(request_: TrainingOptions) -> None:
    run = prepare(request_)
    result = train(run)
    assert result.average is not None and 0 <= result.average <= 1
    model = load_model(run.out)
    assert model.labels == ("action",) and model.recipe.model.resample
