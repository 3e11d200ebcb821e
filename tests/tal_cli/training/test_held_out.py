"""What a run was trained on and what it held out: known to its results, and respected where these are evaluated."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from small_training import write_small_data

from tal_cli import app
from tal_cli.datasets.annotations import save_annotations
from tal_cli.datasets.formats import load_annotations
from tal_cli.evaluation.predictions import load_predictions
from tal_cli.results.readers import read_results
from tal_cli.results.run_videos import RunVideos, read_run_videos

TRAINED_ON = tuple(f"video{number}" for number in range(10) if number % 5 != 4)
HELD_OUT = ("video4", "video9")
EVALUATIONS = ("eval", "diagnose", "compare")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_small_data(folder)
    return folder


def train(data: Path, out: Path, *more: str) -> int:
    few = ["--epochs", "2", "--set", "training.warmup_epochs=1", "--device", "cpu"]
    recipe = ["--recipe", str(data / "small.yaml"), "--features", str(data / "features")]
    return app.run(["train", "--dataset", str(data / "annotations.json"), *recipe, "--output", str(out), *few, *more])


def detect(data: Path, run: Path, output: str | Path) -> int:
    features = str(data / "features" / "*.npy")
    return app.run(["detect", features, "--model", str(run), "--min-score", "0", "-o", str(output), "--device", "cpu"])


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "first"
    assert train(data, folder) == 0
    return folder


@pytest.fixture(scope="module")
def found(data: Path, run: Path) -> Path:
    path = run.parent / "found.json"
    assert detect(data, run, path) == 0
    return path


def look(command: str, found: Path, data: Path, *more: str, other: Path | None = None) -> int:
    files = [str(found), str(other or found)] if command == "compare" else [str(found)]
    return app.run([command, *files, "--annotations", str(data / "annotations.json"), "--format", "json", *more])


def test_training_names_what_it_holds_out(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(data, tmp_path / "run") == 0
    assert f"held out: video4, video9; recorded in {tmp_path / 'run' / 'run.json'}" in capsys.readouterr().err


def test_results_name_the_videos_once(run: Path, found: Path) -> None:
    about = json.loads(found.read_text())["external_data"]
    assert (tuple(about["trained_on"]), tuple(about["held_out"])) == (TRAINED_ON, HELD_OUT)
    assert read_run_videos(run) == read_results(found).run_videos == RunVideos(TRAINED_ON, HELD_OUT)


@pytest.mark.parametrize("suffix", ["parquet", "jsonl", "csv"])
def test_formats_with_a_place_for_it_keep_it(data: Path, run: Path, tmp_path: Path, suffix: str) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow")
    assert detect(data, run, tmp_path / f"found.{suffix}") == 0
    kept = RunVideos(TRAINED_ON, HELD_OUT) if suffix == "parquet" else None
    assert load_predictions(tmp_path / f"found.{suffix}").run_videos == kept


def test_a_file_per_video_tells_of_that_video(data: Path, run: Path, tmp_path: Path) -> None:
    assert detect(data, run, f"{tmp_path}/") == 0
    assert read_results(tmp_path / "video3.json").run_videos == RunVideos(("video3",), ())
    assert read_results(tmp_path / "video4.json").run_videos == RunVideos((), ("video4",))


def test_of_a_model_without_a_record_nothing_is_said(
    data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name in ("model.safetensors", "recipe.yaml", "labels.txt"):
        (model / name).write_bytes((run / name).read_bytes())
    assert detect(data, model, tmp_path / "found.json") == 0
    assert "trained_on" not in json.loads((tmp_path / "found.json").read_text())["external_data"]
    assert look("eval", tmp_path / "found.json", data, "--subset", "all") == 0
    assert "trained on" not in capsys.readouterr().err
    (model / "run.json").write_text("{")
    assert detect(data, model, tmp_path / "found.json") == 0
    assert "results will not say which videos were trained on" in capsys.readouterr().err


@pytest.mark.parametrize("command", EVALUATIONS)
def test_evaluation_warns_of_videos_that_were_trained_on(
    data: Path, found: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert look(command, found, data) == 0
    said = capsys.readouterr().err
    assert f"warning: {found}: 8 of 10 evaluated videos were trained on" in said and "--subset held-out" in said
    assert look(command, found, data, "--subset", "validation") == 0
    assert "trained on" not in capsys.readouterr().err


@pytest.mark.parametrize("command", EVALUATIONS)
def test_held_out_is_what_the_run_held_out(
    data: Path, found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    document = json.loads(found.read_text())
    document["results"] = {name: document["results"][name] for name in HELD_OUT}
    (tmp_path / "few.json").write_text(json.dumps(document))
    assert look(command, tmp_path / "few.json", data, "--subset", "validation") == 0
    expected = json.loads(capsys.readouterr().out)
    # Whatever the subsets are called, and however many other videos were predicted.
    annotations = load_annotations(data / "annotations.json")
    videos = {name: replace(video, subset="training") for name, video in annotations.videos.items()}
    save_annotations(replace(annotations, videos=videos), tmp_path / "annotations.json")
    assert look(command, found, tmp_path, "--subset", "held-out") == 0
    captured = capsys.readouterr()
    result = json.loads(captured.out)
    assert result == expected | {"subset": "held-out"} and "trained on" not in captured.err


def test_held_out_of_results_that_do_not_tell(
    data: Path, found: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert detect(data, run, tmp_path / "found.csv") == 0
    assert look("eval", tmp_path / "found.csv", data, "--subset", "held-out") == 2
    assert "does not say which videos the model's run held out" in capsys.readouterr().err
    assert look("compare", tmp_path / "found.csv", data, "--subset", "held-out", other=found) == 0
    annotations = load_annotations(data / "annotations.json")
    videos = {name: replace(video, subset="held-out") for name, video in annotations.videos.items()}
    save_annotations(replace(annotations, videos=videos), tmp_path / "annotations.json")
    assert look("eval", tmp_path / "found.csv", tmp_path, "--subset", "held-out") == 0


def test_nothing_held_out_or_nothing_of_it_annotated(
    data: Path, found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(found.read_text())
    for names, message in (([], "held out no video"), (["x"], "none of 1 video that the model's run held out")):
        document["external_data"]["held_out"] = names
        (tmp_path / "found.json").write_text(json.dumps(document))
        assert look("eval", tmp_path / "found.json", data, "--subset", "held-out") == 2
        assert message in capsys.readouterr().err


def test_two_runs_that_held_out_different_videos(
    data: Path, found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(found.read_text())
    document["external_data"] |= {"held_out": ["video9", "video1"], "trained_on": ["video4"]}
    (tmp_path / "other.json").write_text(json.dumps(document))
    assert look("compare", found, data, "--subset", "held-out", other=tmp_path / "other.json") == 0
    assert "the runs held out different videos; compared on 1 video of both" in capsys.readouterr().err


@pytest.mark.slow
def test_initial_weights_bring_the_videos_that_they_were_trained_on(
    data: Path, run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    swapped = ("--train-subset", "validation", "--test-subset", "training")
    assert train(data, tmp_path / "run", "--init", str(run), *swapped) == 0
    assert train(data, tmp_path / "run", "--resume", *swapped) == 0
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["training"] == list(HELD_OUT) and record["trained_before"] == list(TRAINED_ON)
    assert detect(data, tmp_path / "run", tmp_path / "found.json") == 0
    capsys.readouterr()
    assert look("eval", tmp_path / "found.json", data, "--subset", "held-out") == 0
    assert "8 of 8 evaluated videos were trained on" in capsys.readouterr().err


def test_a_run_that_cannot_be_resumed_keeps_its_record(data: Path, run: Path) -> None:
    before = (run / "run.json").read_bytes()
    assert train(data, run, "--resume", "--train-subset", "validation", "--test-subset", "training") == 2
    assert (run / "run.json").read_bytes() == before


@pytest.mark.slow
def test_view_warns_where_it_shows_overlaps(
    data: Path, found: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = ["view", str(found), "-o", str(tmp_path / "found.html")]
    assert app.run(page) == 0
    assert "trained on" not in capsys.readouterr().err
    assert app.run([*page, "--annotations", str(data / "annotations.json")]) == 0
    assert "8 of 10 evaluated videos were trained on" in capsys.readouterr().err


def test_combined_results_keep_it(data: Path, found: Path, tmp_path: Path) -> None:
    scores = {name: [{"label": "hop", "score": 0.7}] for name in (*TRAINED_ON, *HELD_OUT)}
    (tmp_path / "scores.json").write_text(json.dumps(scores))
    combined = tmp_path / "combined.json"
    arguments = ["combine", "video-scores", str(found), str(tmp_path / "scores.json"), "-o", str(combined)]
    assert app.run(arguments) == 0
    assert read_results(combined).run_videos == RunVideos(TRAINED_ON, HELD_OUT)
