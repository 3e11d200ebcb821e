"""A batch that is shared by processes, or split into passes, trains as one batch does."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from made_up import write_annotations, write_video

from tal_cli import app
from tal_cli.datasets.annotations import GroundTruth
from tal_cli.extractors.errors import UsageError
from tal_cli.models.recipe.loading import dump_recipe, load_recipe, override, parse_overrides
from tal_cli.models.recipe.schema import Recipe
from tal_cli.training.batches import split_batch
from tal_cli.training.distributed import Processes
from tal_cli.training.options import TrainingOptions
from tal_cli.training.prepare import prepare
from tal_cli.training.trainer import Trainer

CHANNELS = 8
SMALL = (
    f"features={{extractor: made-up, channels: {CHANNELS}, window: 16, stride: 4}}",
    "model={classes: 2, width: 16, head_width: 16, levels: 3, pad_length: 64, encoder: {name: gmg, mlp_width: 16}}",
    "training={epochs: 2, warmup_epochs: 1, batch_size: 4, learning_rate: 0.001, max_length: 64, input_noise: 0.1,"
    " input_dropout: 0.3,"
    " drop_path: 0.3, initial_loss_norm: 20}",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """annotations.json, features/ and small.yaml."""
    folder = tmp_path_factory.mktemp("together")
    rng = np.random.default_rng(1)
    segments = (GroundTruth("a", 0.4, 1.9), GroundTruth("b", 2.2, 3.0))
    videos = []
    for number in range(10):
        features = rng.standard_normal((30 + 3 * number, CHANNELS))
        subset = "validation" if number > 7 else "training"
        videos.append(write_video(folder, f"v{number}", subset, features, segments))
    write_annotations(folder, videos, ("a", "b"))
    (folder / "small.yaml").write_text(dump_recipe(recipe()))
    return folder


def recipe() -> Recipe:
    return override(load_recipe("camera"), parse_overrides(SMALL))


def arguments(folder: Path, out: Path, *more: str) -> list[str]:
    annotations, small = str(folder / "annotations.json"), str(folder / "small.yaml")
    return ["train", "--dataset", annotations, "--recipe", small, "--out", str(out), "--device", "cpu", "-q", *more]


def curve(out: Path) -> tuple[list[float], float]:
    """Loss of every step, and the average mAP of the last evaluation."""
    lines = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [line["total"] for line in lines if "total" in line], lines[-1]["evaluation"]["average"]


@pytest.fixture(scope="module")
def alone(folder: Path) -> tuple[list[float], float]:
    assert app.run(arguments(folder, folder / "alone")) == 0
    losses, average = curve(folder / "alone")
    assert len(losses) == 6 and losses[-1] < losses[0]
    return losses, average


def together(folder: Path, out: Path, *more: str) -> None:
    """Train in two processes."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "tal_cli"]
    command = [*launcher, *arguments(folder, out, *more)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(out)], "one process speaks"


def request(folder: Path, out: Path) -> TrainingOptions:
    """The same as `arguments`."""
    annotations, small = str(folder / "annotations.json"), str(folder / "small.yaml")
    return TrainingOptions(dataset=annotations, recipe=small, output=out, device="cpu")


@pytest.mark.slow
def test_two_processes_give_the_loss_curve_of_one(folder: Path, alone: tuple[list[float], float]) -> None:
    out = folder / "two"
    together(folder, out)
    losses, average = curve(out)
    np.testing.assert_allclose(losses, alone[0], rtol=1e-4)
    assert average == pytest.approx(alone[1], abs=0.02)
    assert json.loads((out / "run.json").read_text())["processes"] == 2


@pytest.mark.slow
def test_a_run_goes_on_with_another_number_of_processes(folder: Path, alone: tuple[list[float], float]) -> None:
    out = folder / "resumed"
    begun = Trainer(prepare(request(folder, out)))
    for number in range(3):  # into the middle of the second epoch
        begun.learn(begun.batches.parts(number, begun.ranges))
    begun.save()
    begun.close()
    together(folder, out, "--resume")
    losses, average = curve(out)
    assert len(losses) == 6
    np.testing.assert_allclose(losses, alone[0], rtol=1e-4)
    assert average == pytest.approx(alone[1], abs=0.02)


@pytest.mark.parametrize("objective", ["released", "paper"])
@pytest.mark.slow
def test_passes_add_up_to_the_batch(folder: Path, tmp_path: Path, objective: str) -> None:
    curves = []
    for passes in (1, 3):
        out = tmp_path / str(passes)
        sets = ["--set", f"training.accumulate={passes}", "--set", f"training.objective={objective}"]
        assert app.run(arguments(folder, out, *sets)) == 0
        curves.append(curve(out)[0])
    np.testing.assert_allclose(curves[1], curves[0], rtol=1e-4)


def test_accumulation_is_rejected_where_positives_depend_on_predictions() -> None:
    with pytest.raises(Exception, match="accumulate"):
        override(recipe(), {"training.assignment": {"name": "cost"}, "training.accumulate": 2})


def test_fewer_videos_than_processes_are_rejected() -> None:
    with pytest.raises(UsageError, match="cannot be split over 3"):
        split_batch(2, Processes(0, 3), 1)


@given(st.integers(1, 40), st.integers(1, 8), st.integers(1, 6))
def test_every_place_of_a_batch_belongs_to_one_pass(size: int, count: int, passes: int) -> None:
    count = min(size, count)
    ranges = [split_batch(size, Processes(rank, count), passes) for rank in range(count)]
    assert [place for each in ranges for part in each for place in part] == list(range(size))
    assert all(len(part) > 0 for each in ranges for part in each)
    assert max(len(each) for each in ranges) <= passes


@pytest.mark.slow
def test_metrics_go_to_the_trackers(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name, left in (("tensorboard", "tensorboard/events*"), ("wandb", "wandb/offline-run-*/*.wandb")):
        out = tmp_path / name
        assert app.run(arguments(folder, out, "--log", name, "--epochs", "1")) == 0
        assert list(out.glob(left)), f"{name} has written nothing"


@pytest.mark.slow
def test_a_resumed_run_is_the_same_one_at_weights_and_biases(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    names: list[str] = []
    for out, more in ((tmp_path / "one", ()), (tmp_path / "one", ("--resume",)), (tmp_path / "other", ())):
        assert app.run(arguments(folder, out, "--log", "wandb", "--epochs", "1", *more)) == 0
        (run,) = set(out.glob("wandb/offline-run-*")) - {Path(name) for name in names}
        names.append(str(run))
    # a second file of one run within the same second is called run-TIME-ID-1
    first, again, other = (re.fullmatch(r"offline-run-\d+_\d+-(\w+)(-\d+)?", Path(name).name)[1] for name in names)
    assert first == again != other


def test_the_record_names_what_was_trained_on(folder: Path, alone: object) -> None:
    record = json.loads((folder / "alone" / "run.json").read_text())
    assert record["seed"] == recipe().training.seed and record["training"] == [f"v{i}" for i in range(8)]
    order = np.random.default_rng([record["seed"], 0, 0]).permutation(8)
    assert sorted(order) == list(range(8)) and torch.__version__ == record["torch"]
