"""One class gives the options of training runs to the command line, YAML files and Python."""

from __future__ import annotations

from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

import pytest
import typer

from tal_cli import app
from tal_cli.extractors.errors import UsageError
from tal_cli.training import prepare as preparing
from tal_cli.training.options import TrainingOptions

COMMAND: Any = typer.main.get_command(app.app).commands["train"]  # type: ignore[attr-defined]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[TrainingOptions]:
    """What runs were asked for; none is made."""
    found: list[TrainingOptions] = []

    def stop(options: TrainingOptions) -> None:
        found.append(options)
        raise UsageError("stopped here")

    monkeypatch.setattr(preparing, "prepare", stop)
    return found


def test_every_field_is_an_option_with_its_default() -> None:
    options = {option.name: option for option in COMMAND.params}
    assert {field.name for field in fields(TrainingOptions)} | {"file", "quiet"} == options.keys()
    for field in fields(TrainingOptions):
        option = options[field.name]
        assert option.help
        assert option.required == (field.default is field.default_factory is MISSING)
        assert field.default_factory is not MISSING or option.required or option.default == field.default


def test_command_line_file_and_python_ask_for_the_same(asked: list[TrainingOptions], tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text(
        "dataset: mine.json\noutput: runs/a\nepochs: 3\nbatch-size: 4\nresume: true\nprecision: bf16\nlog: wandb\n"
        "overrides: {model.encoder: sgp, model.encoder.windows: [3, 3], training.learning_rate: 1e-3}\n"
    )
    words = ["--dataset", "mine.json", "-o", "runs/a", "--epochs", "3", "--batch-size", "4", "--resume"]
    words += ["--precision", "bf16", "--log", "wandb", "--set", "model.encoder=sgp"]
    words += ["--set", "model.encoder.windows=[3, 3]", "--set", "training.learning_rate=1e-3"]
    assert app.run(["train", *words]) == app.run(["train", "--options", str(file)]) == 2
    expected = TrainingOptions(
        dataset="mine.json",
        output=Path("runs/a"),
        epochs=3,
        batch_size=4,
        resume=True,
        precision="bf16",
        log="wandb",
        overrides={"model.encoder": "sgp", "model.encoder.windows": [3, 3], "training.learning_rate": 1e-3},
    )
    assert asked == [expected, expected]
    assert expected.recipe_overrides == {**expected.overrides, "training.epochs": 3, "training.batch_size": 4}


def test_the_command_line_wins_over_the_file(asked: list[TrainingOptions], tmp_path: Path) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("dataset: mine.json\nepochs: 3\nseed: 1\n")
    assert app.run(["train", "--epochs", "5", "--options", str(file)]) == 2
    assert asked == [TrainingOptions(dataset="mine.json", epochs=5, seed=1)]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("epoch: 3", "epoch: unknown option"),
        ("epochs: many", "'--epochs': "),
        ("epochs: -1", "'--epochs': "),
        ("precision: fp8", "'--precision': "),
        ("- a", "expected keys and values at the top"),
        ("a: [", "not YAML: line 1"),
    ],
)
def test_a_file_that_asks_for_nothing(
    asked: list[TrainingOptions], tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str, reason: str
) -> None:
    file = tmp_path / "options.yaml"
    file.write_text(content)
    assert app.run(["train", "--dataset", "mine.json", "--options", str(file)]) == 2
    assert reason in capsys.readouterr().err and not asked
    assert app.run(["train", "--dataset", "mine.json", "--options", str(tmp_path / "absent.yaml")]) == 2
    assert "absent.yaml: No such file" in capsys.readouterr().err


def test_what_training_cannot_do_is_rejected_in_python_too() -> None:
    with pytest.raises(UsageError, match="--precision fp16"):
        preparing.prepare(TrainingOptions(dataset="mine.json", precision="fp16"))
