"""Videos to train on, with their features."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tal_cli.datasets import training_data
from tal_cli.datasets.annotations import VideoAnnotation
from tal_cli.datasets.training_data import is_mapped, load_videos
from tal_cli.extractors.errors import MissingError, UsageError
from tal_cli.models.recipe.features import FeatureSpec

FEATURES = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_training_reads_a_file_of_many_videos(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "features.h5", "w") as file:
        file["a"], file["b"] = FEATURES, FEATURES + 1
    videos = [VideoAnnotation(name, "training", 1.12, 25.0, ()) for name in "ab"]
    spec = FeatureSpec(extractor="x", channels=3, window=16, stride=4)
    loaded, problems = load_videos(videos, tmp_path / "features.h5", ["jump"], spec)
    assert [problem.kind for problem in problems] == []
    np.testing.assert_array_equal(loaded[1].load().numpy(), FEATURES + 1)
    absent = VideoAnnotation("c", "training", 1.12, 25.0, ())
    with pytest.raises(MissingError, match=r"features\.h5: no features: 1: c$"):
        load_videos([*videos, absent], tmp_path / "features.h5", ["jump"], spec)
    with pytest.raises(UsageError, match=r"features\.h5\[a\]: wrong number of channels: 3, the recipe has 4"):
        load_videos(videos, tmp_path / "features.h5", ["jump"], spec.model_copy(update={"channels": 4}))


def test_features_beyond_half_the_memory_stay_in_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training_data, "_memory", lambda: 1)
    np.save(tmp_path / "a.npy", FEATURES)
    np.save(tmp_path / "b.npy", FEATURES + 1)
    np.savez(tmp_path / "c.npz", FEATURES + 2)
    np.save(tmp_path / "d.npy", (FEATURES + 3).astype(np.float16))
    videos = [VideoAnnotation(name, "training", 1.12, 25.0, ()) for name in "abcd"]
    spec = FeatureSpec(extractor="x", channels=3, window=16, stride=4)
    loaded, _ = load_videos(videos, tmp_path, ["jump"], spec)
    held = [video.sequence.features for video in loaded]
    assert [is_mapped(features) for features in held] == [False, True, False, False]
    assert [len(features) for features in held] == [4, 4, 0, 0]
    for number, video in enumerate(loaded):
        np.testing.assert_array_equal(video.load().numpy(), FEATURES + number)
