"""Validation during training finds what `tal detect` finds afterwards."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from small_training import LABELS, RECIPE, request, short_run

from tal_cli import app
from tal_cli.datasets.training_data import FeatureVideo
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.loading import override, parse_overrides
from tal_cli.models.store.checkpoint import save_model
from tal_cli.training.prepare import prepare
from tal_cli.training.trainer import train
from tal_cli.training.validation.videos import validate

TIOU = (0.1, 0.3, 0.5)


@pytest.fixture
def detect_and_eval(small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    def figures(model: Path, videos: Sequence[FeatureVideo], tiou: Sequence[float]) -> Any:
        """What `tal eval` says of what `tal detect` writes with a model."""
        files = sorted(str(small_data / "features" / f"{video.annotation.name}.npy") for video in videos)
        found, truth = str(tmp_path / "found.json"), str(small_data / "annotations.json")
        detect = ["detect", *files, "--model", str(model), "--min-score", "0", "--device", "cpu", "-o", found]
        assert app.run(detect) == 0
        capsys.readouterr()
        evaluate = ["eval", found, "--annotations", truth, "--subset", videos[0].annotation.subset, "--format", "json"]
        assert app.run([*evaluate, "--tiou", ",".join(map(repr, tiou))]) == 0
        return json.loads(capsys.readouterr().out)

    return figures


@pytest.mark.slow
def test_the_last_epoch_is_what_the_trained_model_finds(small_data: Path, tmp_path: Path, detect_and_eval: Any) -> None:
    run = short_run(small_data, tmp_path / "run")
    train(run)
    last = json.loads((run.out / "metrics.jsonl").read_text().splitlines()[-1])["evaluation"]
    assert 0 < last["average"] < 1
    assert detect_and_eval(run.out, run.validation, run.tiou) == last


@pytest.mark.parametrize("factor", [0.0, 1e-5, 1.0])
@pytest.mark.parametrize(
    "overrides",
    [
        ["inference.min_duration=0", "inference.nms=none"],
        ["inference.multiclass=false", "inference.sigma=10"],
        ["inference.chunk_length=32", "inference.chunk_overlap=16", "model.resample=true"],
    ],
    ids=" ".join,
)
@pytest.mark.slow
def test_equal_scores_and_edges(
    small_data: Path, tmp_path: Path, detect_and_eval: Any, overrides: list[str], factor: float
) -> None:
    """To the last bit, also where scores are equal, or nearly, and segments reach beyond the video's ends."""
    recipe = override(RECIPE, {"model.decoder.factor_start": factor, **parse_overrides(overrides)})
    torch.manual_seed(0)
    detector = TemporalDetector.from_recipe(recipe).eval()
    with torch.no_grad():
        detector.decoder.refine.factor.weight.zero_()
        detector.decoder.offsets.level_scale.fill_(10.0)
    save_model(tmp_path / "model", detector, recipe, LABELS)
    # In any order, as annotation files have them; `detect` takes the videos by name.
    videos = prepare(request(small_data, tmp_path / "run")).videos[::-1]
    during = validate(detector, recipe, LABELS, videos, TIOU)
    assert detect_and_eval(tmp_path / "model", videos, TIOU) == during.evaluation.as_json()
    assert 0 < during.evaluation.average < 1
    assert not during.display
