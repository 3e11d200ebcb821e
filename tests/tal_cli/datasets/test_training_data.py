"""Videos to train on, with their features."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tal_cli.datasets.annotations import VideoAnnotation
from tal_cli.datasets.training_data import load_videos
from tal_cli.extractors.errors import MissingError, UsageError
from tal_cli.models.recipe.features import FeatureSpec

FEATURES = np.arange(12, dtype=np.float32).reshape(4, 3)


def test_training_reads_a_file_of_many_videos(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "features.h5", "w") as file:
        file["a"], file["b"] = FEATURES, FEATURES + 1
    videos = [VideoAnnotation(name, "training", 1.12, 25.0, ()) for name in "ab"]
    spec = FeatureSpec(extractor="x", channels=3, window=16, stride=4)
    loaded = load_videos(videos, tmp_path / "features.h5", ["jump"], spec)
    np.testing.assert_array_equal(loaded[1].load().numpy(), FEATURES + 1)
    absent = VideoAnnotation("c", "training", 1.12, 25.0, ())
    with pytest.raises(MissingError, match=r"for c$"):
        load_videos([*videos, absent], tmp_path / "features.h5", ["jump"], spec)
    with pytest.raises(UsageError, match=r"features\.h5\[a\]: 3 channels, the recipe has 4"):
        load_videos(videos, tmp_path / "features.h5", ["jump"], spec.model_copy(update={"channels": 4}))
