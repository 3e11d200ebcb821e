"""`tal models add`, `remove`, `export-released`: published checkpoints in, used, and out again."""

from __future__ import annotations

import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from small_runs import Tal

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.loading import dump_recipe
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.conversion import to_released
from tal_cli.models.released.reading import read_state
from tal_cli.models.store.checkpoint import load_model

LABELS = "jump\nrun\nrest\n"


@pytest.fixture
def recipe() -> Recipe:
    features = {"extractor": "unheard-of", "channels": 8, "window": 16, "stride": 4}
    model = {"classes": 3, "width": 32, "levels": 3, "pad_length": 16, "head_width": 32}
    parts = {"encoder": {"name": "sgp", "mlp_width": 48}, "decoder": {"name": "trident", "bins": 4}}
    inference = {"min_score": 0.0, "pre_nms_threshold": 0.0, "display_score": 0.0}
    settings = {"name": "own", "features": features, "model": {**model, **parts}, "inference": inference}
    return Recipe.model_validate(settings)


@pytest.fixture
def recipe_file(recipe: Recipe, tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(dump_recipe(recipe))
    return path


@pytest.fixture
def labels_file(tmp_path: Path) -> Path:
    path = tmp_path / "labels.txt"
    path.write_text(LABELS)
    return path


@pytest.fixture
def checkpoint(recipe: Recipe, tmp_path: Path) -> Path:
    """A released file of TriDet's code with random weights."""
    torch.manual_seed(1)
    state = to_released(TemporalDetector.from_recipe(recipe).state_dict(), recipe.model)
    averaged = {f"module.{key}": value for key, value in state.items()}
    path = tmp_path / "epoch_012.pth.tar"
    torch.save({"epoch": 12, "state_dict": {}, "state_dict_ema": averaged, "mAP": np.float64(0.5)}, path)
    return path


@pytest.mark.slow
def test_a_checkpoint_is_added_used_exported_and_removed(
    run: Tal, environment: dict[str, str], checkpoint: Path, recipe_file: Path, labels_file: Path, tmp_path: Path
) -> None:
    options = ("--checkpoint", checkpoint, "--recipe", recipe_file, "--labels", labels_file)
    added = run("models", "add", "mine", *options)
    assert added.code == 0
    folder = Path(added.out.strip())
    assert folder == Path(environment["TAL_HOME"]) / "models" / "mine"
    loaded = load_model(folder)
    assert loaded.labels == ("jump", "run", "rest") and loaded.name == "mine"
    again = run("models", "add", "mine", *options)
    assert again.code == 2 and "a model named mine already exists" in again.err
    assert run("models", "add", "mine", *options, "--overwrite").code == 0

    info = run("models", "info", "mine").out
    assert "jump, run, rest" in info and "sgp + trident" in info and "epoch 12" in info
    assert "no extractor named unheard-of" in info
    assert "mine" in run("models", "list").out

    np.save(tmp_path / "video.npy", np.random.default_rng(0).random((20, 8), np.float32))
    found = run("detect", tmp_path / "video.npy", "--model", "mine", "--fps", "25", "--format", "csv")
    assert found.code == 0 and found.out.startswith("video,label,start,end,score")

    target = tmp_path / "out" / "back.pth.tar"
    assert run("models", "export-released", folder, "--output", target).code == 0
    assert run("models", "export-released", "mine", target).code == 2, "the former way to name it, and it exists"
    assert all(key.startswith("module.") for key in torch.load(target, weights_only=True)["state_dict_ema"])
    written, original = (read_state(path).tensors for path in (target, checkpoint))
    assert written.keys() == original.keys()
    assert all(torch.equal(written[key], original[key]) for key in written)

    back = run("models", "add", "mine-again", "--checkpoint", target)
    assert back.code == 0 and "assumed" not in back.err
    returned = load_model(Path(back.out.strip()))
    assert returned.labels == loaded.labels and returned.name == "mine-again"
    assert returned.recipe.model_copy(update={"name": "mine"}) == loaded.recipe
    assert returned.sha256 == loaded.sha256

    assert run("models", "remove", "mine", "--yes").code == 0
    assert not folder.exists()
    assert run("models", "info", "mine").code == 2


@pytest.mark.slow
def test_removing_asks_first(tal: Tal, environment: dict[str, str], small_copy: Path) -> None:
    assert tal("models", "remove", small_copy.name, stdin=b"n\n").code == 130
    assert small_copy.is_dir()
    asked = tal("models", "remove", small_copy.name, stdin=b"y\n")
    assert asked.code == 0 and str(small_copy) in asked.err
    assert not small_copy.exists()


@pytest.fixture
def small_copy(home: Path) -> Path:
    folder = home / "models" / "small-copy"
    folder.mkdir()
    for file in (home / "models" / "small").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    return folder


@pytest.mark.parametrize("name", ["camera", "../models/small", "", ".", "nothing"])
def test_what_was_not_added_is_not_removed(run: Tal, name: str) -> None:
    assert run("models", "remove", name, "--yes").code == 2
    assert "small" in run("models", "list").out


@pytest.mark.parametrize(
    ("arguments", "code", "reason"),
    [
        (["camera"], 2, "bundled model"),
        (["../escape"], 2, "cannot be a model's name"),
        (["mine", "--recipe", "thumos-i3d"], 2, "do not fit recipe thumos-i3d: backbone.stem.0.w1 is missing"),
        (["mine", "--recipe", "thumos-i3"], 2, "did you mean thumos-i3d"),
        (["mine"], 2, "fit no recipe"),
    ],
)
@pytest.mark.slow
def test_what_cannot_be_added_is_told(
    run: Tal, home: Path, checkpoint: Path, arguments: list[str], code: int, reason: str
) -> None:
    failed = run("models", "add", *arguments, "--checkpoint", checkpoint)
    assert failed.code == code and reason in failed.err
    assert not (home / "models" / "mine").exists()


@pytest.mark.parametrize("suffix", [".pth.tar", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "the file is empty"),
        (b"<!DOCTYPE html>\n<html><title>Virus scan warning</title></html>", "it is an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n", "`git lfs pull` gets"),
        (b"weights", "read from it (it is not a plain|not a safetensors file: its header is damaged"),
    ],
)
def test_what_stands_in_the_place_of_a_checkpoint_is_named(
    run: Tal, home: Path, tmp_path: Path, suffix: str, content: bytes, what: str
) -> None:
    path = tmp_path / f"model{suffix}"
    path.write_bytes(content)
    failed = run("models", "add", "mine", "--checkpoint", path)
    assert failed.code == 2 and any(each in failed.err for each in what.split("|"))
    assert not (home / "models" / "mine").exists()


def test_labels_must_be_as_many_as_classes(run: Tal, checkpoint: Path, recipe_file: Path, tmp_path: Path) -> None:
    (tmp_path / "two.txt").write_text("jump\nrun\n")
    options = ("--checkpoint", checkpoint, "--recipe", recipe_file)
    assert "2 labels for 3 classes" in run("models", "add", "mine", *options, "--labels", tmp_path / "two.txt").err
    missing = run("models", "add", "mine", *options)
    assert missing.code == 4 and "--labels FILE" in missing.err
    assert run("models", "add", "mine", *options, "--labels", tmp_path / "none.txt").code == 3


def test_labels_come_from_epic_kitchens_table_too(
    run: Tal, environment: dict[str, str], checkpoint: Path, recipe_file: Path, tmp_path: Path
) -> None:
    table = tmp_path / "EPIC_100_verb_classes.csv"
    table.write_text('id,key,instances,category\n1,put,"[]",a\n0,take,"[]",a\n2,wash,"[]",a\n')
    added = run("models", "add", "epic", "--checkpoint", checkpoint, "--recipe", recipe_file, "--labels", table)
    assert load_model(Path(added.out.strip())).labels == ("take", "put", "wash")
    table.write_text("name\ntake\n")
    assert run("models", "add", "x", "--checkpoint", checkpoint, "--recipe", recipe_file, "--labels", table).code == 3
    assert run("models", "remove", "epic", "--yes", "--quiet").err == ""


def test_the_checkpoint_may_lie_in_an_archive_of_results(
    run: Tal, checkpoint: Path, recipe_file: Path, labels_file: Path, tmp_path: Path
) -> None:
    older = tmp_path / "epoch_002.pth.tar"
    older.write_bytes(b"an older one, which is not read")
    with tarfile.open(tmp_path / "results.tar.gz", "w:gz") as archive:
        for path in (older, checkpoint, labels_file):
            archive.add(path, f"results/{path.name}")
    options = ("--recipe", recipe_file, "--labels", labels_file)
    assert run("models", "add", "packed", "--checkpoint", tmp_path / "results.tar.gz", *options).code == 0
    assert run("models", "remove", "packed", "-y").code == 0
    with tarfile.open(tmp_path / "empty.tar", "w") as archive:
        archive.add(labels_file, "labels.txt")
    failed = run("models", "add", "packed", "--checkpoint", tmp_path / "empty.tar", *options)
    assert failed.code == 2 and "without a checkpoint" in failed.err
