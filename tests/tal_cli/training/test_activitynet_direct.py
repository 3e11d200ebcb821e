"""The 200-class ActivityNet setting: labels videos itself, where the published one needs a classifier's scores."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tal_cli import app
from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation, save_annotations
from tal_cli.datasets.catalog import BENCHMARKS
from tal_cli.extractors.features.files import save_features
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.loading import dump_recipe, load_recipe, override, parse_overrides
from tal_cli.models.recipe.schema import Recipe

SMALL = [
    "model.width=32",
    "model.head_width=32",
    "model.encoder.mlp_width=32",
    "training.epochs=0",
    "training.warmup_epochs=1",
    "training.batch_size=2",
]


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return load_recipe("activitynet-direct")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory, recipe: Recipe) -> Path:
    """Three videos as long as ActivityNet's, with features as the recipe wants them, and 200 labels."""
    folder = tmp_path_factory.mktemp("activitynet")
    rng = np.random.default_rng(0)
    videos = {}
    for number in range(3):
        windows = 100 + 20 * number
        frames = windows * 16
        features = rng.standard_normal((windows, 512)).astype(np.float32)
        contract = recipe.features.contract()
        sequence = FeatureSequence(features=features, contract=contract, fps=15.0, frames=frames, duration=frames / 15)
        save_features(sequence, folder / "features" / f"v{number}.npy")
        truth = (GroundTruth(f"label {number % 2:03}", 5.0, 60.0),)
        videos[f"v{number}"] = VideoAnnotation(f"v{number}", "training", frames / 15, 15.0, truth)
    labels = tuple(f"label {index:03}" for index in range(200))
    save_annotations(Annotations("made up", videos, labels), folder / "annotations.json")
    (folder / "small.yaml").write_text(dump_recipe(override(recipe, parse_overrides(SMALL))))
    return folder


def test_builds_with_a_class_for_every_label(recipe: Recipe) -> None:
    assert recipe.model.classes == BENCHMARKS["activitynet"].labels == 200
    assert recipe.published is None and not recipe.training.class_agnostic and recipe.inference.multiclass
    assert recipe.features == load_recipe("activitynet-tsp").features
    assert recipe.training.max_length == recipe.model.pad_length == recipe.inference.chunk_length
    detector = TemporalDetector.from_recipe(recipe)
    assert detector.decoder.classes.output.out_channels == 200


@pytest.mark.slow
def test_trains_a_step_and_labels_videos_without_a_classifier(data: Path, tmp_path: Path) -> None:
    run, out = tmp_path / "run", tmp_path / "found.json"
    annotations, small = str(data / "annotations.json"), str(data / "small.yaml")
    common = ["--device", "cpu"]
    assert app.run(["train", "--dataset", annotations, "--recipe", small, "--out", str(run), *common]) == 0
    losses = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert len(losses) == 1 and np.isfinite(losses[0]["total"])
    features = [str(data / "features" / f"v{number}.npy") for number in range(3)]
    assert app.run(["detect", *features, "-m", str(run), "-o", str(out), "--min-score", "0", *common]) == 0
    results = json.loads(out.read_text())["results"]
    assert len(results) == 3
    labels = {item["label"] for found in results.values() for item in found}
    assert len(labels) > 5 and labels <= {f"label {index:03}" for index in range(200)}
