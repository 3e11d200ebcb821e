"""Cross-validation, and what training tells of each label."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_training import short_run

from tal_cli import app
from tal_cli.datasets.annotations import save_annotations
from tal_cli.datasets.formats import load_annotations
from tal_cli.models.store.checkpoint import load_model
from tal_cli.training.trainer import train
from tal_cli.training.validation import folds
from tal_cli.training.validation.folds import FOUND, fold_models, read_folds, split
from tal_cli.training.validation.labels import doubts, label_figures

FEW = ["--epochs", "3", "--set", "training.warmup_epochs=1", "--evaluate-every", "2", "--device", "cpu"]


def arguments(data: Path, out: Path, *more: str) -> list[str]:
    recipe = ["--recipe", str(data / "small.yaml"), "--features", str(data / "features")]
    return ["train", "--dataset", str(data / "annotations.json"), *recipe, "--output", str(out), *FEW, *more]


@pytest.fixture(scope="module")
def small(small_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The small data without subsets."""
    folder = tmp_path_factory.mktemp("own")
    shutil.copytree(small_data, folder, dirs_exist_ok=True)
    known = load_annotations(folder / "annotations.json")
    videos = {name: replace(video, subset="training") for name, video in known.videos.items()}
    save_annotations(replace(known, videos=videos), folder / "annotations.json")
    return folder


@pytest.fixture(scope="module")
def run(small: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "mine"
    assert app.run(arguments(small, out, "--folds", "3", "--set", "training.select=best-test")) == 0
    return out


def test_every_video_is_held_out_once_and_all_are_trained_on(run: Path) -> None:
    told = read_folds(run)
    assert told is not None
    held = [name for names in told.held_out for name in names]
    assert sorted(held) == sorted(set(held)) == sorted(f"video{number}" for number in range(10))
    for folder, names in zip(fold_models(run), told.held_out, strict=True):
        record = json.loads((folder / "run.json").read_text())
        assert record["validation"] == names and not set(names) & set(record["training"])
        assert len(record["training"]) + len(names) == 10
    assert len(json.loads((run / "run.json").read_text())["training"]) == 10


def test_epochs_are_those_that_were_best_together(run: Path) -> None:
    told = read_folds(run)
    assert told is not None and told.epoch in (2, 4)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert max(line["epoch"] for line in lines) == told.epoch
    by_fold = [
        next(
            line["evaluation"]["average"]
            for line in map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
            if "evaluation" in line and line["epoch"] == told.epoch
        )
        for folder in fold_models(run)
    ]
    assert told.averages == by_fold


def test_what_was_found_in_held_out_videos_can_be_evaluated(
    run: Path, small: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = read_folds(run)
    assert told is not None
    found, truth = str(run / FOUND), str(small / "annotations.json")
    evaluate = ["eval", found, "--annotations", truth, "--subset", "held-out", "--format", "json"]
    capsys.readouterr()
    assert app.run(evaluate) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["average"] == told.evaluation["average"] and said["shown"] == told.evaluation["shown"]
    scores = load_model(run).recipe.inference.display_scores(("hop", "skip", "jump"))
    assert told.display and scores == {label: told.display.get(label, 0.3) for label in scores}


def test_the_table_tells_of_every_label(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(arguments(small, tmp_path / "run", "--folds", "2")) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{tmp_path / 'run'}\n"
    rows = {line.split()[0]: line for line in printed.err.splitlines() if line.startswith(("label ", "hop ", "jump "))}
    assert "to train on" in rows["label"] and "±" in rows["hop"] and "±" in rows["jump"]
    assert f"next: tal eval {tmp_path / 'run' / FOUND} --annotations" in printed.err
    assert "2 folds: average mAP" in printed.err and "fold 2 of 2: " in printed.err


@pytest.mark.parametrize("stopped_in", [1, 2, 3])
@pytest.mark.slow
def test_an_interrupted_run_goes_on_to_the_same_result(
    run: Path, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped_in: int
) -> None:
    """Stopped in the first fold, the second, and the last, each in its second evaluation."""
    out = tmp_path / "mine"
    told = arguments(small, out, "--folds", "3", "--set", "training.select=best-test")
    evaluations = iter(range(1, 100))

    def stop(*arguments: Any) -> None:
        if next(evaluations) == 2 * stopped_in:
            raise KeyboardInterrupt
        folds.keep_found(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr("tal_cli.training.trainer.keep_found", stop)
        assert app.run(told) == 130
    assert app.run(told) == 2, "there is a run already"
    assert app.run([*told, "--resume"]) == 0
    for name in ("model.safetensors", "folds.json", FOUND, "metrics.jsonl"):
        assert (out / name).read_bytes() == (run / name).read_bytes(), name
    assert app.run([*told, "--resume"]) == 0, "a finished run ends at once"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--folds", "11"], "instances are in only 10 videos"),
        (["--folds", "2", "--test-subset", "validation"], "--test-subset"),
    ],
)
def test_what_cannot_be_held_out(
    small: Path, tmp_path: Path, more: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert app.run(arguments(small, tmp_path / "run", *more)) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "run").exists()


def test_labels_are_spread_over_folds(small_data: Path, tmp_path: Path) -> None:
    videos = short_run(small_data, tmp_path / "run").videos
    groups = split(videos, 4)
    assert [len(group) for group in groups] == [2, 2, 2, 2]
    names = [{video.annotation.name for video in group} for group in groups]
    assert set().union(*names) == {video.annotation.name for video in videos}
    turned = split(list(videos)[::-1], 4)
    assert [{video.annotation.name for video in group} for group in turned] == names, "whatever their order"
    skip = videos[0].labels.dtype.type(list(short_run(small_data, tmp_path / "other").labels).index("skip"))
    having = [sum(skip in video.labels for video in group) for group in groups]
    assert max(having) - min(having) <= 1


def test_figures_of_labels_are_those_of_the_kept_epoch(small_data: Path, tmp_path: Path) -> None:
    run = replace(short_run(small_data, tmp_path / "run"), evaluate_every=1)
    result = train(run)
    lines = [json.loads(line) for line in (run.out / "metrics.jsonl").read_text().splitlines()]
    kept = next(line["evaluation"] for line in lines if "evaluation" in line and line["epoch"] == result.epoch)
    figures = {each.label: each for each in label_figures(run, result)}
    assert figures.keys() == set(run.labels)
    for label, each in figures.items():
        truth = [item.label for video in run.videos for item in video.annotation.segments].count(label)
        assert each.training == truth
        assert each.precision == pytest.approx(sum(kept["per_label"][label].values()) / len(run.tiou))
        assert each.f1 == kept["shown"]["per_label"][label]["f1"]


def test_labels_with_too_little_are_named(small_data: Path, tmp_path: Path) -> None:
    run = short_run(small_data, tmp_path / "run")
    labels = (*run.labels, "never")
    (few,) = doubts(labels, run.videos, run.validation, folds=False)
    assert few == "1 label with fewer than 5 examples to train on: skip (4)"
    jump = labels.index("jump")
    without = [video for video in run.videos if jump not in video.labels.tolist()]
    with_it = [video for video in run.videos if jump in video.labels.tolist()]
    said = list(doubts(labels, without, with_it, folds=False))
    assert said[-1] == "1 label only in held-out videos, and not learned: jump"
    said = list(doubts(labels, [*without, with_it[0]], (), folds=True))
    assert said[-1] == "1 label in one video only, which no fold can judge: jump"
