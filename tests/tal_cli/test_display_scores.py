"""From which score segments are listed: one score, or one per label, in recipes, results and commands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_runs import Tal

from tal_cli import VideoDetector
from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation
from tal_cli.evaluation.display import FEWEST, display_scores
from tal_cli.evaluation.predictions import Predictions
from tal_cli.extractors.errors import CheckpointError, RecipeError, UsageError
from tal_cli.models.recipe.loading import load_recipe, override
from tal_cli.results.segments import Detections, Segment
from tal_cli.several_models import SeveralModels


def predictions(*rows: tuple[str, float, float]) -> Predictions:
    """Segments of one second in the video `v`: (label, start, score)."""
    return Predictions.from_rows([("v", label, start, start + 1, score) for label, start, score in rows])


def truth(*instances: tuple[str, float]) -> Annotations:
    segments = tuple(GroundTruth(label, start, start + 1) for label, start in instances)
    return Annotations("own", {"v": VideoAnnotation("v", "validation", 100.0, 25.0, segments)}, ("run", "sit"))


def test_the_best_f1_of_those_precise_enough() -> None:
    instances = truth(*(("run", 10.0 * n) for n in range(6)))
    right = [("run", 10.0 * n, 0.9 - 0.1 * n) for n in range(6)]  # 0.9, 0.8, ... 0.4
    wrong = [("run", 5.0, 0.75), ("run", 15.0, 0.45), ("run", 25.0, 0.42), ("run", 35.0, 0.2)]
    found = predictions(*right, *wrong)
    # All six right ones with three wrong ones: F1 12/15; five with one: 10/12.
    assert display_scores(found, instances, "validation", 0.0) == {"run": pytest.approx(0.48)}
    assert display_scores(found, instances, "validation", 0.9) == {"run": pytest.approx(0.78)}
    # Where no score is precise enough, the most precise one.
    swapped = predictions(("run", 5.0, 0.95), *right)
    assert display_scores(swapped, instances, "validation", 1.0) == {"run": pytest.approx(0.2)}


def test_equal_scores_are_listed_together() -> None:
    instances = truth(*(("run", 10.0 * n) for n in range(FEWEST)))
    found = predictions(*(("run", 10.0 * n, 0.5) for n in range(FEWEST)), ("run", 5.0, 0.5), ("run", 15.0, 0.3))
    assert display_scores(found, instances, "validation", 1.0) == {"run": pytest.approx(0.4)}


def test_nothing_is_chosen_by_chance() -> None:
    few = truth(*(("run", 10.0 * n) for n in range(FEWEST - 1)), *(("sit", 10.0 * n) for n in range(FEWEST)))
    found = predictions(*(("run", 10.0 * n, 0.5) for n in range(FEWEST)), ("sit", 55.0, 0.9))
    assert display_scores(found, few, "validation", 0.5) == {}


def test_the_schema() -> None:
    recipe = load_recipe("thumos")
    assert recipe.inference.display_scores(["run", "sit"]) == {"run": 0.3, "sit": 0.3}
    one = override(recipe, {"inference.display_score": 0.5})
    assert one.inference.display_scores(["run"]) == {"run": 0.5}
    each = override(recipe, {"inference.display_score": {"run": 0.2}})
    assert each.inference.display_scores(["run", "sit"]) == {"run": 0.2, "sit": 0.3}
    each.inference.check_labels(["run", "sit"])
    with pytest.raises(ValueError, match="no label 'run'"):
        each.inference.check_labels(["sit"])


@pytest.mark.parametrize(
    "bad", [{}, {"run": 1.5}, {"run": -0.1}, {"run": "high"}, {"": 0.5}, {"run": float("nan")}, [0.5]]
)
def test_what_is_no_score_is_refused(bad: object) -> None:
    with pytest.raises(RecipeError, match=r"inference\.display_score"):
        override(load_recipe("thumos"), {"inference.display_score": bad})


def test_segments_are_kept_by_the_score_of_their_label() -> None:
    segments = tuple(Segment(label, 0.0, 1.0, score) for label, score in (("run", 0.4), ("sit", 0.4), ("run", -0.5)))
    found = Detections("v", "", 2.0, 25.0, 50, segments)
    kept = found.keep(min_score={"run": 0.5, "sit": 0.4})
    assert [(segment.label, segment.score) for segment in kept.segments] == [("sit", 0.4)]
    assert len(found.keep().segments) == 3


@pytest.fixture
def scored(home: Path, tmp_path: Path) -> Path:
    """The small model, with scores for two of its labels."""
    folder = tmp_path / "scored"
    shutil.copytree(home / "models" / "small", folder)
    recipe = yaml.safe_load((folder / "recipe.yaml").read_text())
    recipe["inference"]["display_score"] = {"jump": 0.0, "run": 1.0}
    (folder / "recipe.yaml").write_text(yaml.safe_dump(recipe))
    return folder


def features(folder: Path, tmp_path: Path) -> Path:
    """A feature file that the model reads."""
    channels = VideoDetector.load(folder).recipe.features.channels
    path = tmp_path / "v.npy"
    np.save(path, np.random.default_rng(0).normal(0, 1, (40, channels)).astype(np.float32))
    return path


def test_the_default_of_detect(scored: Path, tmp_path: Path, run: Tal) -> None:
    detector, path = VideoDetector.load(scored), features(scored, tmp_path)
    assert detector.display_scores == {label: {"jump": 0.0, "run": 1.0}.get(label, 0.3) for label in detector.labels}
    every = detector.detect(path, fps=25, min_score=0).segments
    shown = detector.detect(path, fps=25).segments
    assert shown == tuple(s for s in every if s.score >= detector.display_scores[s.label])
    assert {s.label for s in every} > {s.label for s in shown} >= {"jump"}
    assert SeveralModels([detector]).detect(path, fps=25).segments == shown

    done = run("detect", path, "--fps", "25", "-m", scored, "--format", "json")
    assert json.loads(done.out)["external_data"]["min_score"] == detector.display_scores
    done = run("detect", path, "--fps", "25", "-m", scored, "--format", "json", "--min-score", "0.25")
    assert json.loads(done.out)["external_data"]["min_score"] == 0.25
    done = run("detect", path, "--fps", "25", "-m", scored, "--format", "table")
    assert "score ≥ 0 to 1, by label" in done.out
    done = run("models", "info", scored)
    assert "jump 0, run 1" in done.out


def test_scores_of_labels_that_the_model_has_not(scored: Path) -> None:
    with pytest.raises(UsageError, match="no label 'fly'"):
        VideoDetector.load(scored, overrides={"inference.display_score": {"fly": 0.5}})
    names = (scored / "labels.txt").read_text()
    (scored / "labels.txt").write_text(names.replace("jump", "hop"))
    with pytest.raises(CheckpointError, match="no label 'jump'"):
        VideoDetector.load(scored)
