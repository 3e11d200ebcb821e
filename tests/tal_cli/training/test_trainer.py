"""Training from feature files to a model folder, on data small enough for seconds."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_training import CHANNELS, LABELS, RECIPE, request, short_run

from tal_cli import app
from tal_cli.datasets.annotations import GroundTruth, VideoAnnotation
from tal_cli.datasets.training_data import load_videos
from tal_cli.evaluation.average_precision import Evaluation
from tal_cli.extractors.errors import MissingError, UsageError
from tal_cli.models.recipe.loading import override
from tal_cli.models.store.checkpoint import load_model
from tal_cli.results.run_videos import is_finished, read_run_videos
from tal_cli.training.batches import Parts
from tal_cli.training.prepare import prepare
from tal_cli.training.trainer import Trainer, TrainingDiverged, train
from tal_cli.training.validation.videos import Validation


@pytest.mark.slow
def test_learns_its_training_videos_overfits(small_data: Path, tmp_path: Path) -> None:
    run = prepare(request(small_data, tmp_path / "run"))
    result = train(replace(run, validation=run.videos, evaluate_every=100))
    assert result.epoch == 30
    assert result.average is not None and result.average > 0.9
    model = load_model(tmp_path / "run")
    assert model.labels == LABELS and model.recipe == RECIPE
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    steps = [line for line in lines if "total" in line]
    assert [line["step"] for line in steps] == list(range(1, 61))
    assert steps[-1]["total"] < 0.3 * steps[0]["total"]
    assert lines[-1]["evaluation"]["average"] == result.average


@pytest.mark.slow
def test_display_scores_are_chosen_on_validation(small_data: Path, tmp_path: Path) -> None:
    run = prepare(request(small_data, tmp_path / "run"))
    recipe = override(run.recipe, {"training.display_precision": 0.5})
    train(replace(run, recipe=recipe, validation=run.videos, evaluate_every=100))
    model = load_model(tmp_path / "run")
    assert set(model.recipe.inference.display_scores(model.labels)) == set(LABELS)
    assert isinstance(model.recipe.inference.display_score, dict)
    assert model.recipe.training == recipe.training


@pytest.mark.slow
def test_trains_from_the_command_line(small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    small = ["model.width=16", "model.head_width=16", "model.encoder.mlp_width=16", "training.warmup_epochs=0"]
    arguments = ["train", "--dataset", str(small_data / "annotations.json"), "--out", str(out), "--device", "cpu"]
    arguments += ["--epochs", "1"]
    assert app.run([*arguments, *(word for value in small for word in ("--set", value))]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(out)
    assert "levels, boundaries" in printed.err
    assert {path.name for path in out.iterdir()} == {
        "model.safetensors", "recipe.yaml", "run.json", "labels.txt", "metrics.jsonl", "state",
    }  # fmt: skip
    assert app.run(arguments) == 2
    assert "--resume" in capsys.readouterr().err


def test_best_test_keeps_the_best_epoch(small_data: Path, tmp_path: Path) -> None:
    run = short_run(small_data, tmp_path / "run", "training.select=best-test")
    result = train(replace(run, evaluate_every=1))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    averages = {line["epoch"]: line["evaluation"]["average"] for line in lines if "evaluation" in line}
    assert len(averages) == 3
    assert result.average == max(averages.values()) == averages[result.epoch]
    assert "highest mAP on validation, chosen by looking at it" in result.description(run)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["select"] == "best-test"
    assert "those of the last epoch" in result.description(short_run(small_data, tmp_path / "other"))
    assert result.hint() == ""


def test_the_best_epoch_is_pointed_out_where_the_last_one_is_kept(small_data: Path, tmp_path: Path) -> None:
    run = replace(short_run(small_data, tmp_path / "run"), evaluate_every=1)
    averages = iter((0.25, 0.75, 0.5))

    def judged(*_: object) -> Validation:
        return Validation(Evaluation("validation", (0.5,), ("a",), np.array([[next(averages)]]), {}, 0), {}, ())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tal_cli.training.trainer.validate", judged)
        result = train(run)
    assert (result.epoch, result.average) == (3, 0.5)
    assert result.hint() == "epoch 2 had average mAP 0.7500; --set training.select=best-test keeps the best epoch"


def test_a_loss_that_is_no_number_stops_the_run(small_data: Path, tmp_path: Path) -> None:
    moving = Trainer(short_run(small_data, tmp_path))
    step(moving)
    with torch.no_grad():
        next(moving.detector.decoder.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingDiverged, match=r"epoch 1, step 2: total.* not finite.*videos video\d"):
        step(moving)
    moving.close()


def step(moving: Trainer) -> None:
    moving.learn(moving.batches.parts(moving.step, moving.ranges))


def test_the_embedding_learns_alone_in_the_epochs_of_contrast(small_data: Path, tmp_path: Path) -> None:
    decoder = "{name: relational, queries: 5, layers: 1, heads: 2, ffn_width: 16, contrast_epochs: 1}"
    settings = (f"model.decoder={decoder}", "model.embedding=linear", "training.weight_decay=0")
    moving = Trainer(short_run(small_data, tmp_path, *settings))
    epochs = []
    for _ in range(2):
        start = {name: value.clone() for name, value in moving.detector.state_dict().items()}
        for _ in range(moving.batches.per_epoch):
            step(moving)
        after = moving.detector.state_dict()
        epochs.append({name.partition(".")[0] for name, value in start.items() if not torch.equal(value, after[name])})
    moving.close()
    assert epochs[0] == {"embedding"}
    assert {"embedding", "encoder", "decoder"} <= epochs[1]


def test_average_starts_as_a_copy_and_follows(small_data: Path, tmp_path: Path) -> None:
    moving = Trainer(short_run(small_data, tmp_path, "training.warmup_epochs=0", "training.ema_decay=0.9"))
    start = {name: value.clone() for name, value in moving.detector.state_dict().items()}
    step(moving)
    for name, mean in moving.average.state_dict().items():
        torch.testing.assert_close(mean, 0.9 * start[name] + 0.1 * moving.detector.state_dict()[name])
    moving.close()


def test_a_run_that_was_interrupted_says_so_until_it_has_ended(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, learn = short_run(small_data, tmp_path / "run"), Trainer.learn

    def interrupted(trainer: Trainer, parts: Parts) -> dict[str, float]:
        if trainer.epoch == 2:
            raise KeyboardInterrupt
        return learn(trainer, parts)

    monkeypatch.setattr(Trainer, "learn", interrupted)
    with pytest.raises(KeyboardInterrupt):
        train(run)
    assert "interrupted after epoch 1 of 3; the same command with --resume continues it" in capsys.readouterr().err
    monkeypatch.undo()
    assert not is_finished(tmp_path / "run")
    assert read_run_videos(tmp_path / "run") is not None
    assert "its training has not ended" in capsys.readouterr().err
    train(replace(run, resume=True))
    assert is_finished(tmp_path / "run")
    read_run_videos(tmp_path / "run")
    assert "not ended" not in capsys.readouterr().err


def test_initial_weights_are_taken_where_they_fit(small_data: Path, tmp_path: Path) -> None:
    run = short_run(small_data, tmp_path / "a")
    train(run)
    weights = load_model(tmp_path / "a").detector.state_dict()
    moving = Trainer(replace(run, out=tmp_path / "b", initial=weights))
    moving.close()
    assert all(torch.equal(value, weights[name]) for name, value in moving.detector.state_dict().items())
    with pytest.raises(UsageError, match="no tensor"):
        Trainer(replace(run, out=tmp_path / "b", initial={"nothing": torch.zeros(1)}))


@pytest.mark.parametrize("variant", ["released", "paper"])
def test_trains_in_bf16(small_data: Path, tmp_path: Path, variant: str) -> None:
    run = short_run(small_data, tmp_path, f"model.variant={variant}")
    result = train(replace(run, precision="bf16"))
    assert result.epoch == 3 and result.average is not None


def test_missing_and_unfitting_features_end_the_run_at_once(
    small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MissingError, match="video0"):
        prepare(replace(request(small_data, tmp_path), features=tmp_path))
    with pytest.raises(UsageError, match="channels: 16, the recipe has 8"):
        prepare(request(small_data, tmp_path, "features.channels=8"))
    with pytest.raises(UsageError, match="stride: wanted 8, found 4"):
        prepare(request(small_data, tmp_path, "features.stride=8"))
    with pytest.raises(UsageError, match="no video in subset 'night'"):
        prepare(replace(request(small_data, tmp_path), train_subset="night"))
    assert app.run(["train", "--dataset", "thumos", "--device", "cpu"]) == 4
    assert app.run(["train", "--dataset", str(tmp_path / "none.json"), "--device", "cpu"]) == 4
    assert app.run(["train", "--dataset", "thumoss", "--device", "cpu"]) == 2


def test_features_that_are_not_finite_name_their_file(small_data: Path, tmp_path: Path) -> None:
    for path in (small_data / "features").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    array = np.load(tmp_path / "video3.npy")
    array[2, 1] = np.nan
    np.save(tmp_path / "video3.npy", array)
    with pytest.raises(Exception, match=r"video3 .*finite"):
        prepare(replace(request(small_data, tmp_path / "run"), features=tmp_path))


def test_foreign_features_take_their_clock_from_annotations(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((30, CHANNELS), dtype=np.float32))
    annotation = VideoAnnotation("a", "training", 5.0, 25.0, (GroundTruth("hop", 1.0, 9.0),))
    video = load_videos([annotation], tmp_path, LABELS, RECIPE.features)[0][0]
    # (t * fps - window / 2) / stride; the end is cut to the video's.
    np.testing.assert_allclose(video.segments, [[(25 - 8) / 4, (5 * 25 - 8) / 4]])
    unknown = replace(annotation, fps=None)
    with pytest.raises(UsageError, match="unknown frame rate"):
        load_videos([unknown], tmp_path, LABELS, RECIPE.features)


def test_overrides_reach_the_run(small_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = short_run(small_data, tmp_path, "model.decoder.bins=4")
    assert "note: 3 epochs: 1 of warm-up (training.warmup_epochs) and 2 more\n" in capsys.readouterr().err
    assert run.recipe == override(RECIPE, {"model.decoder.bins": 4, "training.epochs": 2, "training.warmup_epochs": 1})


class Opens:
    """Records the files opened while it is on; Python never removes an audit hook."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.on = False
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.on and event == "open" and isinstance(arguments[0], str | Path):
            self.counts[Path(arguments[0]).name] += 1


@pytest.mark.parametrize("recipe", ["small.yaml", None])
@pytest.mark.slow
def test_every_feature_file_is_read_once(small_data: Path, tmp_path: Path, recipe: str | None) -> None:
    """From the checks to the last evaluation."""
    asked = replace(request(small_data, tmp_path), recipe=recipe and str(small_data / recipe))
    short = {"training.epochs": 1, "training.warmup_epochs": 1, "training.crops": 1, "model.width": 16}
    opens = Opens()
    opens.on = True
    try:
        train(replace(prepare(replace(asked, overrides=short)), evaluate_every=1))
    finally:
        opens.on = False
    assert {name: opens.counts[name] for name in opens.counts if name.endswith(".npy")} == {
        f"video{number}.npy": 1 for number in range(10)
    }
