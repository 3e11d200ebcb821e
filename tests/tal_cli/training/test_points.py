"""A label that is a point in training is a point in what the model finds, in every format."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from small_training import short_run

from tal_cli import app
from tal_cli.api import VideoDetector
from tal_cli.datasets.annotations import save_annotations
from tal_cli.datasets.formats import load_annotations
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.models.inference.nms import ScoredSegments
from tal_cli.models.inference.to_seconds import to_seconds
from tal_cli.models.recipe.inference import InferenceConfig
from tal_cli.models.recipe.loading import load_recipe
from tal_cli.results.readers import read_results
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import FORMATS, RunInfo
from tal_cli.training.trainer import train

FOUND = Detections(
    "a", "a.mp4", 10.0, 25.0, 250, (Segment("cough", 4.0, 4.0, 0.9, "point"), Segment("run", 1.0, 3.0, 0.8))
)
ABOUT = RunInfo("1", "mine", "", ("cough", "run"), points=("cough",))


def test_a_point_is_the_middle_of_what_is_found(small_sequence: FeatureSequence) -> None:
    starts, ends = np.asarray([2.0, 2.0]), np.asarray([6.0, 6.0])
    found = ScoredSegments(np.asarray([0, 1]), starts, ends, np.asarray([0.5, 0.25], dtype=np.float32))
    moment, state = to_seconds(found, small_sequence, ("cough", "run"), InferenceConfig(points=("cough",)))
    middle = (state.start + state.end) / 2
    assert moment == ("cough", middle, middle, 0.5, "point") and state.kind == "state"


@pytest.mark.parametrize("name", ["json", "jsonl", "csv", "parquet", "elan", "otio", "labelstudio"])
def test_formats_that_can_be_read_back_keep_points(name: str, tmp_path: Path) -> None:
    if FORMATS[name].needs:
        pytest.importorskip(str(FORMATS[name].needs))
    path = tmp_path / f"found{FORMATS[name].suffix}"
    with path.open("wb") as file:
        FORMATS[name].writer()(iter([FOUND]), file, ABOUT)
    (read,) = read_results(path).detections()
    kinds = {segment.label: segment for segment in read.segments}
    assert kinds["cough"].kind == "point" and kinds["cough"].start == kinds["cough"].end
    assert kinds["cough"].start == pytest.approx(4.0, abs=0.05)
    assert kinds["run"].kind == "state" and kinds["run"].end == pytest.approx(3.0, abs=0.05)


@pytest.mark.parametrize(
    ("name", "said"), [("table", "point"), ("srt", "cough (point) 0.90"), ("vtt", "00:04.000 --> 00:00:05.000"),
                       ("edl", "cough (point) 0.90"), ("boris", "Point event")],
)  # fmt: skip
def test_formats_for_people_say_point(name: str, said: str, tmp_path: Path) -> None:
    with (tmp_path / "found").open("wb") as file:
        FORMATS[name].writer()(iter([FOUND]), file, ABOUT)
    assert said in (tmp_path / "found").read_text()


def test_tables_of_models_without_points_have_no_more_columns(tmp_path: Path) -> None:
    with (tmp_path / "found").open("wb") as file:
        FORMATS["csv"].writer()(iter([FOUND]), file, replace(ABOUT, points=()))
    assert (tmp_path / "found").read_text().startswith("video,label,start,end,score\n")


def test_a_trained_model_knows_its_points(small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = load_annotations(small_data / "annotations.json")
    videos = {
        name: replace(
            video,
            segments=tuple(
                replace(item, end=item.start, kind="point") if item.label == "hop" else item for item in video.segments
            ),
        )
        for name, video in known.videos.items()
    }
    data = tmp_path / "data"
    data.mkdir()
    (data / "features").symlink_to(small_data / "features")
    (data / "small.yaml").symlink_to(small_data / "small.yaml")
    save_annotations(replace(known, videos=videos), data / "annotations.json")
    train(short_run(data, tmp_path / "run"))
    assert load_recipe(str(tmp_path / "run" / "recipe.yaml")).inference.points == ("hop",)
    detector = VideoDetector.load(tmp_path / "run", device="cpu")
    found = detector.detect(data / "features" / "video0.npy", min_score=0.0)
    assert all((item.kind == "point") == (item.label == "hop") == (item.start == item.end) for item in found.segments)
    assert {item.label for item in found.segments} >= {"hop"}
    out = tmp_path / "found.json"
    video, run = str(data / "features" / "video4.npy"), str(tmp_path / "run")
    assert app.run(["detect", video, "-m", run, "--min-score", "0", "-o", str(out), "--device", "cpu"]) == 0
    capsys.readouterr()
    assert app.run(["eval", str(out), "--annotations", str(data / "annotations.json"), "--format", "json"]) == 0
    assert "points" in json.loads(capsys.readouterr().out)


@pytest.fixture
def small_sequence(small_data: Path) -> FeatureSequence:
    from tal_cli.extractors.features.files import load_features

    return load_features(small_data / "features" / "video0.npy")
