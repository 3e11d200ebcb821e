"""Model folders and released checkpoints: whole round trips, and nothing hostile gets through."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tal_cli.extractors.errors import CheckpointError, ModelMissing, RecipeError, UnknownModel
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.reading import read_state
from tal_cli.models.store.checkpoint import build_detector, load_model, save_model
from tal_cli.models.store.zoo import available_models, find_model, resolve_model


@pytest.fixture
def recipe() -> Recipe:
    small = ["model.width=32", "model.head_width=32", "model.encoder.mlp_width=48", "model.classes=3"]
    small += ["features.channels=8", "model.pad_length=64", "model.position_table=true"]
    return override(load_recipe("thumos-i3d"), parse_overrides(small))


@pytest.fixture
def folder(tmp_path: Path, recipe: Recipe) -> Path:
    torch.manual_seed(1)
    save_model(tmp_path / "model", TemporalDetector.from_recipe(recipe), recipe, ["run", "jump", "dive high"])
    return tmp_path / "model"


def test_round_trip(folder: Path, recipe: Recipe) -> None:
    torch.manual_seed(1)
    original = TemporalDetector.from_recipe(recipe)
    loaded = load_model(folder)
    assert loaded.recipe == recipe
    assert loaded.labels == ("run", "jump", "dive high")
    assert len(loaded.sha256) == 64
    assert not loaded.detector.training
    for key, value in original.state_dict().items():
        assert torch.equal(loaded.detector.state_dict()[key], value)
    assert sorted(path.name for path in folder.iterdir()) == ["labels.txt", "model.safetensors", "recipe.yaml"]


@pytest.mark.parametrize("labels", [["a", "b"], ["a", "b", "b"], ["a", "b", "c\nd"], ["a", "", "c"]])
def test_bad_labels_are_rejected_before_anything_is_written(tmp_path: Path, recipe: Recipe, labels: list[str]) -> None:
    with pytest.raises(CheckpointError, match="labels"):
        save_model(tmp_path / "model", TemporalDetector.from_recipe(recipe), recipe, labels)
    assert not (tmp_path / "model").exists()


def test_missing_and_broken_files(folder: Path) -> None:
    weights = (folder / "model.safetensors").read_bytes()
    for content in (b"", b"\x00" * 100, weights[:-10], b"\xff" * 8 + weights[8:]):
        (folder / "model.safetensors").write_bytes(content)
        with pytest.raises(CheckpointError, match=r"model\.safetensors: not a safetensors file"):
            load_model(folder)
    (folder / "model.safetensors").unlink()
    with pytest.raises(CheckpointError, match="No such file"):
        load_model(folder)


def test_weights_of_another_shape_are_named(folder: Path) -> None:
    text = (folder / "recipe.yaml").read_text()
    (folder / "recipe.yaml").write_text(text.replace("bins: 16", "bins: 12"))
    with pytest.raises(CheckpointError, match=r"decoder\.offsets\.output\.bias is \[34\], the recipe asks for \[26\]"):
        load_model(folder)
    (folder / "recipe.yaml").write_text(text.replace("name: gmg", "name: gnu"))
    with pytest.raises(CheckpointError, match=r"model\.encoder: there is no gnu"):
        load_model(folder)
    (folder / "recipe.yaml").write_text(text + "surprise: 1\n")
    with pytest.raises(CheckpointError, match="surprise: unknown key"):
        load_model(folder)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('executed')",))


def test_pickles_are_never_executed(folder: Path, tmp_path: Path) -> None:
    for name, writer in (("plain", pickle.dumps), ("torch", None)):
        path = tmp_path / f"{name}.pth.tar"
        if writer is None:
            torch.save({"state_dict_ema": {"x": Evil()}}, path)
        else:
            path.write_bytes(writer(Evil()))
        with pytest.raises(CheckpointError):
            read_state(path)
        (folder / "model.safetensors").write_bytes(path.read_bytes())
        with pytest.raises(CheckpointError):
            load_model(folder)


def test_names_resolve_to_folders(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAL_HOME", str(tmp_path / "home"))
    assert resolve_model(folder) == folder
    with pytest.raises(ModelMissing, match="weights of thumos-i3d") as missing:
        resolve_model("thumos-i3d")
    assert "tal train --dataset thumos --recipe thumos-i3d" in missing.value.remedy
    with pytest.raises(UnknownModel, match="did you mean thumos-i3d"):
        resolve_model("thumos-3d")
    with pytest.raises(UnknownModel):
        resolve_model("../weights")
    (tmp_path / "home" / "models").mkdir(parents=True)
    folder.rename(tmp_path / "home" / "models" / "mine")
    assert resolve_model("mine") == tmp_path / "home" / "models" / "mine"
    entries = {entry.name: entry for entry in available_models()[0]}
    assert entries["mine"].runnable_now and entries["mine"].size
    assert not entries["thumos-i3d"].runnable_now


def test_a_broken_model_does_not_hide_others(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAL_HOME", str(tmp_path / "home"))
    (tmp_path / "home" / "models").mkdir(parents=True)
    folder.rename(tmp_path / "home" / "models" / "broken")
    (tmp_path / "home" / "models" / "broken" / "recipe.yaml").write_text("model: [")
    entries, problems = available_models()
    assert "broken" not in {entry.name for entry in entries} and "broken" in str(problems[0])
    assert find_model("camera").runnable_now
    with pytest.raises(RecipeError, match="broken"):
        find_model("broken")


def test_weights_are_compared_before_memory_is_asked_for() -> None:
    largest = ["model.width=65536", "model.head_width=65536", "model.head_layers=64", "model.head_kernel=255"]
    recipe = override(load_recipe("thumos-i3d"), parse_overrides(largest))  # a petabyte of weights
    with pytest.raises(CheckpointError, match="weights do not fit the recipe"):
        build_detector(recipe, {}, "model.safetensors")


@pytest.mark.slow
def test_a_bundled_model_loads_without_the_compiler() -> None:
    load = "from tal_cli import VideoDetector; VideoDetector.load('camera')"
    script = f"import sys; {load}; print('torch._dynamo' in sys.modules)"  # it would cost 1.5 s of every start
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "False"
