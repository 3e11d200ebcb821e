"""A killed run continues as if it had not been interrupted."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from small_training import short_run

from tal_cli import app
from tal_cli.extractors.errors import InputError, UsageError
from tal_cli.models.store.checkpoint import load_model
from tal_cli.training.trainer import train

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
        ((9,), 0.0, ("training.crops=3", "training.crop_ratio=[0.5, 1.0]", "training.select=best-test")),
    ],
)
@pytest.mark.slow
def test_killed_run_resumes_to_the_same_bits(
    small_data: Path,
    tmp_path: Path,
    killed_after: tuple[int, ...],
    save_seconds: float,
    overrides: tuple[str, ...],
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    common = [
        "train",
        "--dataset",
        str(small_data / "annotations.json"),
        "--recipe",
        str(small_data / "small.yaml"),
        "--device",
        "cpu",
    ]
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
    while not (metrics.exists() and metrics.read_text().count("total") >= steps):
        assert process.poll() is None, "it ended before"
        time.sleep(0.005)
    time.sleep(random.SystemRandom().uniform(0, 0.05))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


def test_resuming_with_other_options_is_rejected(small_data: Path, tmp_path: Path) -> None:
    train(short_run(small_data, tmp_path / "run"))
    other = short_run(small_data, tmp_path / "other", "training.learning_rate=0.002")
    with pytest.raises(UsageError, match="another recipe"):
        train(replace(other, out=tmp_path / "run", resume=True))


def test_damaged_state_is_an_input_problem(small_data: Path, tmp_path: Path) -> None:
    run = short_run(small_data, tmp_path)
    (tmp_path / "state").mkdir()
    (tmp_path / "state" / "latest.pt").write_bytes(b"nonsense")
    with pytest.raises(InputError, match="not the state of a training run"):
        train(replace(run, resume=True))
