"""Training from feature files to a model folder, on data small enough for seconds."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from extractors.contract import FeatureContract
from extractors.store import FeatureSequence, save_features
from models.architectures import CltdrSettings, GmgSettings
from models.checkpoint import load_model
from models.recipe import FeatureSpec, ModelConfig, Recipe, TrainingConfig, dump_recipe, override
from tal_cli import app
from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation, save_annotations
from tal_cli.datasets.features import FeatureVideo, collate, crop, load_videos
from tal_cli.errors import Missing, UsageProblem
from tal_cli.training import trainer
from tal_cli.training.batches import Batches
from tal_cli.training.derive import DataShape, derive_recipe, levels_for
from tal_cli.training.run import TrainingRun
from tal_cli.training.schedule import Schedule
from tal_cli.training.setup import TrainingRequest, prepare
from tal_cli.training.trainer import Trainer, TrainingDiverged, train

LABELS = ("hop", "skip", "jump")
CHANNELS = 16
LENGTH = 64
CONTRACT = FeatureContract(
    extractor="made-up",
    weights_sha256=None,
    sampling_rate=None,
    max_rate=None,
    window=16,
    stride=4,
    alignment="center",
    resize="none",
    crop="none",
    value_range="none",
    layer="none",
    pooling="none",
    channels=CHANNELS,
)
RECIPE = Recipe(
    name="small",
    features=FeatureSpec(extractor="made-up", channels=CHANNELS, window=16, stride=4),
    model=ModelConfig(
        classes=3, width=32, head_width=32, levels=4, pad_length=LENGTH, embedding_layers=1, head_layers=2,
        encoder=GmgSettings(mlp_width=32, windows=5, stem_blocks=1, branch_scale=None, conv_init_std=0.1),
        decoder=CltdrSettings(bins=8),
    ),
    training=TrainingConfig(
        epochs=28, warmup_epochs=2, batch_size=4, learning_rate=4e-3, max_length=LENGTH, drop_path=0.1, ema_decay=0.95,
        initial_loss_norm=50, crop_ratio=None, input_noise=0.01,
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with annotations.json and features/: a label is a direction in feature space, on noise."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((len(LABELS), CHANNELS))
    videos = {}
    for number in range(10):
        windows = int(rng.integers(LENGTH * 2 // 3, LENGTH))
        duration = (windows * 4 + 12) / 30
        times = (np.arange(windows) * 4 + 8) / 30
        features = 0.3 * rng.standard_normal((windows, CHANNELS))
        segments, start = [], float(rng.uniform(0, 1))
        while start < duration - 1.5:
            end, label = min(start + float(rng.uniform(0.8, 4)), duration), int(rng.integers(len(LABELS)))
            features[(times >= start) & (times <= end)] += directions[label]
            segments.append(GroundTruth(LABELS[label], start, end))
            start = end + float(rng.uniform(0.5, 2))
        name = f"video{number}"
        sequence = FeatureSequence(
            features=features.astype(np.float32),
            contract=CONTRACT,
            fps=30.0,
            frames=windows * 4 + 12,
            duration=duration,
        )
        save_features(sequence, folder / "features" / f"{name}.npy")
        subset = "validation" if number % 5 == 4 else "training"
        videos[name] = VideoAnnotation(name, subset, duration, 30.0, tuple(segments))
    save_annotations(Annotations("made up", videos, LABELS), folder / "annotations.json")
    return folder


@pytest.fixture(scope="module")
def recipe_file(data: Path) -> Path:
    path = data / "small.yaml"
    path.write_text(dump_recipe(RECIPE))
    return path


def request(data: Path, recipe_file: Path | None, out: Path, *overrides: str) -> TrainingRequest:
    return TrainingRequest(
        dataset=str(data / "annotations.json"),
        recipe=None if recipe_file is None else str(recipe_file),
        out=out,
        device="cpu",
        overrides=overrides,
    )


def short_run(data: Path, recipe_file: Path, out: Path, *overrides: str) -> TrainingRun:
    few = ("training.epochs=2", "training.warmup_epochs=1", *overrides)
    return prepare(request(data, recipe_file, out, *few))


def test_learns_its_training_videos_by_heart(data: Path, recipe_file: Path, tmp_path: Path) -> None:
    run = prepare(request(data, recipe_file, tmp_path / "run"))
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


def test_trains_from_the_command_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    small = ["model.width=16", "model.head_width=16", "model.encoder.mlp_width=16", "training.warmup_epochs=0"]
    arguments = [
        "train",
        "--dataset",
        str(data / "annotations.json"),
        "--out",
        str(out),
        "--epochs",
        "1",
        "--device",
        "cpu",
    ]
    assert app.run([*arguments, *(word for value in small for word in ("--set", value))]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(out)
    assert "levels, regression ranges" in printed.err
    assert {path.name for path in out.iterdir()} == {
        "model.safetensors", "recipe.yaml", "run.json", "labels.txt", "metrics.jsonl", "state",
    }  # fmt: skip
    assert app.run(arguments) == 2
    assert "--resume" in capsys.readouterr().err


KILLED = """
import sys
from tal_cli import app
from tal_cli.training import trainer
trainer.SAVE_SECONDS = float(sys.argv[1])
sys.exit(app.run(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    ("killed_after", "save_seconds", "overrides"),
    [
        ((1, 7), 0.0, ()),
        # Of epochs of six steps: the state is that of an epoch's end, or of a step in its middle.
        ((4, 15), 60.0, ("training.crops=3", "training.accumulate=2")),
        ((9,), 0.0, ("training.crops=3", "training.accumulate=2", "training.crop_ratio=[0.5, 1.0]")),
    ],
)
def test_killed_run_resumes_to_the_same_bits(
    data: Path,
    recipe_file: Path,
    tmp_path: Path,
    killed_after: tuple[int, ...],
    save_seconds: float,
    overrides: tuple[str, ...],
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    common = ["train", "--dataset", str(data / "annotations.json"), "--recipe", str(recipe_file), "--device", "cpu"]
    common += ["--epochs", "3", "--evaluate-every", "2", *(word for item in overrides for word in ("--set", item))]
    assert app.run([*common, "--out", str(whole)]) == 0
    for steps in killed_after:
        kill_after(steps, save_seconds, [*common, "--out", str(broken), "--resume"], broken / "metrics.jsonl")
        assert not (broken / "model.safetensors").exists() or load_model(broken)
    assert app.run([*common, "--out", str(broken), "--resume"]) == 0
    assert (whole / "metrics.jsonl").read_text() == (broken / "metrics.jsonl").read_text()
    assert (whole / "model.safetensors").read_bytes() == (broken / "model.safetensors").read_bytes()
    assert not list(broken.rglob("*.part"))


def kill_after(steps: int, save_seconds: float, arguments: list[str], metrics: Path) -> None:
    """Run the command in a process of its own; kill it at a random moment soon after it has logged that many steps."""
    command = [sys.executable, "-c", KILLED, str(save_seconds), *arguments]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("total") >= steps):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.005)
    time.sleep(random.SystemRandom().uniform(0, 0.05))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_resuming_with_other_options_is_refused(data: Path, recipe_file: Path, tmp_path: Path) -> None:
    train(short_run(data, recipe_file, tmp_path / "run"))
    other = short_run(data, recipe_file, tmp_path / "other", "training.learning_rate=0.002")
    with pytest.raises(UsageProblem, match="another recipe"):
        train(replace(other, out=tmp_path / "run", resume=True))


def test_best_test_keeps_the_best_epoch(data: Path, recipe_file: Path, tmp_path: Path) -> None:
    run = short_run(data, recipe_file, tmp_path / "run", "training.select=best-test")
    result = train(replace(run, evaluate_every=1))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    averages = {line["epoch"]: line["evaluation"]["average"] for line in lines if "evaluation" in line}
    assert len(averages) == 3
    assert result.average == max(averages.values()) == averages[result.epoch]
    assert "highest mAP on validation, chosen by looking at it" in result.description(run)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["select"] == "best-test"
    assert "those of the last epoch" in result.description(short_run(data, recipe_file, tmp_path / "other"))


def test_a_loss_that_is_no_number_stops_the_run(data: Path, recipe_file: Path, tmp_path: Path) -> None:
    moving = Trainer(short_run(data, recipe_file, tmp_path))
    step(moving)
    with torch.no_grad():
        next(moving.detector.decoder.parameters()).fill_(float("nan"))
    with pytest.raises(TrainingDiverged, match=r"epoch 1, step 2: total.* not finite.*videos video\d"):
        step(moving)
    moving.close()


def step(moving: Trainer) -> None:
    moving.learn(moving.batches.parts(moving.step, moving.ranges))


def test_average_starts_as_a_copy_and_follows(data: Path, recipe_file: Path, tmp_path: Path) -> None:
    moving = Trainer(short_run(data, recipe_file, tmp_path, "training.warmup_epochs=0", "training.ema_decay=0.9"))
    start = {name: value.clone() for name, value in moving.detector.state_dict().items()}
    step(moving)
    for name, mean in moving.average.state_dict().items():
        torch.testing.assert_close(mean, 0.9 * start[name] + 0.1 * moving.detector.state_dict()[name])
    moving.close()


def test_batches_depend_on_seed_and_step_alone(data: Path, recipe_file: Path, tmp_path: Path) -> None:
    run = short_run(data, recipe_file, tmp_path, "training.crop_ratio=[0.5, 1.0]")
    batches = Batches(run.videos, run.recipe)
    (_, first), (_, again), (_, later) = (batches.parts(number, [range(4)])[0] for number in (0, 0, 2))
    assert first.videos == again.videos == batches.videos(0) and torch.equal(first.features, again.features)
    assert not torch.equal(first.features, later.features)
    assert len({name for number in range(2) for name in batches.videos(number)}) == 8
    uneven = Batches(run.videos, override(run.recipe, ["training.batch_size=3"]))
    assert uneven.per_epoch == 2 and len({name for number in range(2) for name in uneven.videos(number)}) == 6
    twice = Batches(run.videos, override(run.recipe, ["training.crops=2"]))
    seen = Counter(name for number in range(twice.per_epoch) for name in twice.videos(number))
    assert twice.per_epoch == 4 and set(seen.values()) == {2} and len(seen) == 8
    halves = [part for _, part in batches.parts(0, [range(0, 1), range(1, 4)])]
    assert torch.equal(torch.cat([half.features for half in halves]), first.features)


def test_initial_weights_are_taken_where_they_fit(data: Path, recipe_file: Path, tmp_path: Path) -> None:
    run = short_run(data, recipe_file, tmp_path / "a")
    train(run)
    weights = load_model(tmp_path / "a").detector.state_dict()
    moving = Trainer(replace(run, out=tmp_path / "b", initial=weights))
    moving.close()
    assert all(torch.equal(value, weights[name]) for name, value in moving.detector.state_dict().items())
    with pytest.raises(UsageProblem, match="no tensor"):
        Trainer(replace(run, out=tmp_path / "b", initial={"nothing": torch.zeros(1)}))


@pytest.mark.parametrize("variant", ["released", "paper"])
def test_trains_in_bf16(data: Path, recipe_file: Path, tmp_path: Path, variant: str) -> None:
    run = short_run(data, recipe_file, tmp_path, f"model.variant={variant}")
    result = train(replace(run, precision="bf16"))
    assert result.epoch == 3 and result.average is not None


def test_missing_and_unfitting_features_end_the_run_at_once(
    data: Path, recipe_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(Missing, match="video0"):
        prepare(replace(request(data, recipe_file, tmp_path), features=tmp_path))
    with pytest.raises(UsageProblem, match="16 channels, the recipe has 8"):
        prepare(request(data, recipe_file, tmp_path, "features.channels=8"))
    with pytest.raises(UsageProblem, match="stride: wanted 8, found 4"):
        prepare(request(data, recipe_file, tmp_path, "features.stride=8"))
    with pytest.raises(UsageProblem, match="no video in subset 'night'"):
        prepare(replace(request(data, recipe_file, tmp_path), train_subset="night"))
    assert app.run(["train", "--dataset", "thumos", "--device", "cpu"]) == 4
    assert app.run(["train", "--dataset", str(tmp_path / "none.json"), "--device", "cpu"]) == 4
    assert app.run(["train", "--dataset", "thumoss", "--device", "cpu"]) == 2


def test_features_that_are_not_finite_name_their_file(data: Path, recipe_file: Path, tmp_path: Path) -> None:
    for path in (data / "features").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    array = np.load(tmp_path / "video3.npy")
    array[2, 1] = np.nan
    np.save(tmp_path / "video3.npy", array)
    with pytest.raises(Exception, match=r"video3 .*finite"):
        prepare(replace(request(data, recipe_file, tmp_path / "run"), features=tmp_path))


def test_foreign_features_take_their_clock_from_annotations(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((30, CHANNELS), dtype=np.float32))
    annotation = VideoAnnotation("a", "training", 5.0, 25.0, (GroundTruth("hop", 1.0, 9.0),))
    video = load_videos([annotation], tmp_path, LABELS, RECIPE.features)[0]
    # (t * fps - window / 2) / stride; the end is cut to the video's.
    np.testing.assert_allclose(video.segments, [[(25 - 8) / 4, (5 * 25 - 8) / 4]])
    unknown = replace(annotation, fps=None)
    with pytest.raises(UsageProblem, match="frames per second"):
        load_videos([unknown], tmp_path, LABELS, RECIPE.features)


def fake_video(length: int, segments: np.ndarray) -> FeatureVideo:
    sequence = FeatureSequence(
        features=np.zeros((0, 2), dtype=np.float32),
        contract=CONTRACT,
        fps=30.0,
        frames=length * 4,
        duration=length / 7.5,
    )
    features = torch.arange(2.0 * length).reshape(2, length)
    labels = np.arange(len(segments), dtype=np.int64)
    annotation = VideoAnnotation("fake", "training", length / 7.5, 30.0, ())
    return FeatureVideo(annotation, sequence, Path("fake.npy"), features, length, segments.astype(np.float32), labels)


@given(
    length=st.integers(1, 300),
    spans=st.lists(st.tuples(st.floats(0, 1), st.floats(0.01, 0.5)), max_size=6),
    longest=st.integers(1, 300),
    ratio=st.sampled_from([None, (0.5, 0.9), (0.9, 1.0), (1.0, 1.0)]),
    seed=st.integers(0, 1000),
)
def test_crops_lie_in_the_video_and_keep_what_they_should(
    length: int, spans: list[tuple[float, float]], longest: int, ratio: tuple[float, float] | None, seed: int
) -> None:
    bounds = np.asarray([(a * length, min(a + b, 1.2) * length) for a, b in spans]).reshape(-1, 2)
    video = fake_video(length, bounds[bounds[:, 1] > bounds[:, 0]])
    config = RECIPE.training.model_copy(update={"max_length": longest, "crop_ratio": ratio})
    part = crop(video, config, RECIPE.features, np.random.default_rng(seed))
    assert 0 <= part.start < part.end <= length and part.end - part.start <= longest
    margin = 2.0 + 1e-3
    inside = part.segments + part.start
    assert ((inside >= part.start - margin) & (inside <= part.end + margin)).all() or part.end - part.start == length
    whole = video.segments[part.labels]
    kept = np.diff(part.segments, axis=1)
    assert (kept >= config.truncate_threshold * np.diff(whole, axis=1) - 1e-3).all()
    batch = collate([video], [part], part.end - part.start + 3)
    assert batch.features.shape == (1, 2, part.end - part.start + 3)
    assert torch.equal(batch.features[0, :, :-3], video.load()[:, part.start : part.end])
    assert int(batch.mask.sum()) == part.end - part.start and batch.mask.dtype == torch.bool


@given(warmup=st.integers(0, 50), rest=st.integers(1, 100))
def test_schedule_rises_to_the_peak_and_falls_to_the_floor(warmup: int, rest: int) -> None:
    schedule = Schedule(1e-3, 1e-6, warmup, warmup + rest)
    rates = [schedule.rate(step) for step in range(schedule.steps)]
    assert all(0 <= rate <= 1e-3 + 1e-12 for rate in rates)
    assert rates[warmup] == pytest.approx(1e-3)
    assert all(a <= b for a, b in pairwise(rates[:warmup]))
    assert all(a > b for a, b in pairwise(rates[warmup:]))
    assert schedule.rate(schedule.steps) == pytest.approx(1e-6)
    if warmup > 1:
        assert rates[0] == 0 and rates[warmup - 1] == pytest.approx(1e-3)


def test_levels_follow_the_longest_instances() -> None:
    assert [levels_for([length]) for length in (1, 16, 40, 100, 400, 100_000)] == [3, 3, 5, 6, 8, 8]
    shape = DataShape((5.0, 30.0, 120.0), (300, 500))
    recipe = derive_recipe("mine", RECIPE.features, shape, 2)
    top = 1 << (recipe.model.levels - 1)
    assert recipe.training.max_length == recipe.model.pad_length >= 490 and recipe.model.pad_length % top == 0
    assert recipe.model.level_ranges[-1][0] <= 64 and recipe.training.batch_size == 2


def test_damaged_state_is_an_input_problem(data: Path, recipe_file: Path, tmp_path: Path) -> None:
    run = short_run(data, recipe_file, tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "latest.pt").write_bytes(b"nonsense")
    with pytest.raises(trainer.InputProblem, match="not the state of a training run"):
        train(replace(run, resume=True))


def test_overrides_reach_the_run(data: Path, recipe_file: Path, tmp_path: Path) -> None:
    run = short_run(data, recipe_file, tmp_path, "model.decoder.bins=4")
    assert run.recipe == override(RECIPE, ["model.decoder.bins=4", "training.epochs=2", "training.warmup_epochs=1"])
