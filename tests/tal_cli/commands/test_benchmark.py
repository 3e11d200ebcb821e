"""`tal benchmark` on models small enough to be measured in a moment. Only what does not depend on time is looked at."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from small_runs import Tal

from tal_cli.commands.benchmark import TABLE_15

SMALL = ("model.width=32", "model.head_width=32", "model.pad_length=64", "inference.max_segments=50")
TINY = [part for assignment in SMALL for part in ("--set", assignment)]


def measured(run: Tal, *arguments: object) -> dict[str, Any]:
    done = run("benchmark", *arguments, "--format", "json", "--device", "cpu")
    assert done.code == 0, done.err
    document: dict[str, Any] = json.loads(done.out)
    return document


@pytest.mark.slow
def test_without_arguments_it_is_the_papers_table_15(run: Tal) -> None:
    document = measured(run, "--length", 64, "--repeat", 1, *TINY)
    assert [model["name"] for model in document["models"]] == list(TABLE_15)
    assert document["length"] == 64 and document["precision"] == "fp32" and document["compile"] is None
    for model in document["models"]:
        assert model["channels"] == 2048
        assert model["total"] == pytest.approx(model["forward"] + model["candidates"] + model["nms"])
        assert min(model[key] for key in ("forward", "candidates", "nms", "gflop", "parameters", "found")) > 0
        assert model["memory"] > 4 * model["parameters"]  # weights are four bytes each
        assert 0 < model["kept"] <= 50


@pytest.mark.slow
def test_models_and_recipes_side_by_side(run: Tal) -> None:
    document = measured(run, "small", "camera", "--length", 32, "--repeat", 2)
    small, camera = document["models"]
    assert small["kept"] == 20 and camera["channels"] == small["channels"]
    assert camera["parameters"] > small["parameters"] and camera["gflop"] > small["gflop"]
    table = run("benchmark", "small", "--length", 32, "--repeat", 1, "--device", "cpu")
    assert "peak memory" in table.out and "32 x " in table.out and "median of 1" in table.err
    assert run("benchmark", "small", "--length", 32, "--repeat", 1, "--device", "cpu", "--quiet").err == ""


def test_operations_grow_with_length_and_memory_with_it(run: Tal) -> None:
    short, long = (measured(run, "small", "--length", n, "--repeat", 1)["models"][0] for n in (64, 128))
    assert long["gflop"] == pytest.approx(2 * short["gflop"], rel=0.05)
    assert long["memory"] > short["memory"]


def test_operations_are_counted_as_published_whatever_shortcuts_are_taken(run: Tal) -> None:
    width = ("--set", "model.width=256", "--set", "model.head_width=256", "--set", "model.pad_length=64")
    model = measured(run, "temporalmaxer-thumos-i3d", "--length", 64, "--repeat", 1, *width)["models"][0]
    cells = sum(64 >> level for level in range(6))
    embedding = 2 * 64 * 3 * 256 * (2048 + 256)
    heads = 2 * cells * 3 * 256 * (2 * 2 * 256 + 20 + 2)
    assert 1e9 * model["gflop"] == pytest.approx(embedding + heads, rel=0.2)  # levels are packed with gaps between


def test_a_batch_is_measured_as_one(run: Tal) -> None:
    one, three = (measured(run, "small", "--length", 32, "--repeat", 1, "--batch", n)["models"][0] for n in (1, 3))
    assert three["kept"] == 3 * one["kept"] and three["gflop"] == pytest.approx(3 * one["gflop"], rel=0.05)
    assert three["seconds_of_video"] == pytest.approx(3 * 32 * 4 / 30)
    assert three["hours_per_second"] == pytest.approx(three["seconds_of_video"] / 3600 / three["total"])


def test_half_precision_is_measured(run: Tal) -> None:
    assert measured(run, "small", "--length", 32, "--repeat", 1, "--precision", "bf16")["precision"] == "bf16"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("nothing",), "no model named nothing"),
        (("small", "--set", "model.width=64"), "has trained weights"),
        (("thumos-i3d", "--set", "model.widht=64"), "did you mean width"),
        (("small", "--device", "gpu"), "no device named"),
        (("small", "--repeat", "0"), "repeat"),
    ],
)
def test_what_cannot_be_measured_is_told(run: Tal, arguments: tuple[str, ...], reason: str) -> None:
    failed = run("benchmark", *arguments)
    assert failed.code == 2 and reason in failed.err


def test_a_recipe_file_is_measured_with_random_weights(run: Tal, repository: Path, tmp_path: Path) -> None:
    source = (repository / "models" / "recipe" / "published" / "tridet-thumos-i3d.yaml").read_text()
    (tmp_path / "mine.yaml").write_text(source)
    document = measured(run, tmp_path / "mine.yaml", "--length", 64, "--repeat", 1, *TINY)
    assert document["models"][0]["name"].endswith("mine.yaml")
