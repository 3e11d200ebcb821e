"""The recipe schema is strict and says where a value is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tal_cli.extractors.errors import OldName, RecipeError
from tal_cli.models.recipe.loading import (
    dump_recipe,
    list_recipes,
    load_recipe,
    override,
    override_trained,
    parse_overrides,
    parse_recipe,
)


@pytest.mark.parametrize("name", list_recipes())
def test_shipped_recipes_load_and_survive_a_round_trip(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert recipe.description
    assert parse_recipe(dump_recipe(recipe), "dump") == recipe


def test_published_values() -> None:
    thumos = load_recipe("thumos-i3d")
    assert thumos.model.level_ranges == ((0, 4), (4, 8), (8, 16), (16, 32), (32, 64), (64, 10000))
    assert thumos.model.length_multiple == 32
    assert load_recipe("epic-verb").model.length_multiple == 160
    assert load_recipe("epic-noun").training.warmup_epochs == 10


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("model.widht=64", "model.widht: unknown key; did you mean width?"),
        ("training.learning-rate=1", "training.learning-rate: unknown key; did you mean learning_rate?"),
        ("nonsense=1", "nonsense: unknown key"),
        ("model.width=sixty", "model.width: "),
        ("model.width=100", "width: 100 is not a multiple of 16"),
        ("model.encoder.windows=[1, 3]", "encoder.windows: 2 values for 6 levels"),
        ("model.encoder.windows=4", "must be odd"),
        ("model.pad_length=100", "pad_length: 100 is not a multiple of 32"),
        ("training.epochs=-1", "training.epochs: "),
        ("inference.chunk_overlap=999999", "chunk_overlap: 999999 is not shorter than chunk_length"),
        ("inference.nms=fast", "inference.nms: "),
        ("modle.width=64", "modle.width: there is no section modle; did you mean model?"),
        ("model.encodr.windows=3", "model.encodr.windows: there is no section encodr; did you mean encoder?"),
        ("model.width=[", "'[' is not a value"),
        ("model.width", "expected KEY=VALUE"),
    ],
)
def test_bad_overrides_name_the_path(assignment: str, message: str) -> None:
    with pytest.raises(RecipeError) as caught:
        override(load_recipe("thumos-i3d"), parse_overrides([assignment]))
    assert message in str(caught.value)


def test_texts_are_read_once_into_typed_values() -> None:
    texts = ["a.b=1", "c = 1e-4", "d=null", "e=[1, 2.5]", "f={name: sgp, k: 2}", "g=center 112x112", "h=x=y", "i=true"]
    assert parse_overrides(texts) == {
        "a.b": 1,
        "c": 1e-4,
        "d": None,
        "e": [1, 2.5],
        "f": {"name": "sgp", "k": 2},
        "g": "center 112x112",
        "h": "x=y",
        "i": True,
    }
    with pytest.raises(RecipeError, match=r"--set a\.b=2: a\.b is given twice"):
        parse_overrides(["a.b=1", "a.b=2"])


def test_values_are_not_changed_by_applying_them() -> None:
    encoder = {"name": "sgp", "windows": [3, 3, 3, 3, 3, 3]}
    changed = override(load_recipe("thumos-i3d"), {"model.encoder": encoder, "model.encoder.k": 2.0})
    assert changed.model.encoder.name == "sgp" and encoder == {"name": "sgp", "windows": [3, 3, 3, 3, 3, 3]}


def test_trained_weights_keep_their_architecture() -> None:
    recipe = load_recipe("camera")
    assert override_trained(recipe, {"inference.nms": "hard"}, "camera").inference.nms == "hard"
    for path in ("model.levels", "features.stride"):
        with pytest.raises(RecipeError, match=f"{path}: camera has trained weights, which fit only the model"):
            override_trained(recipe, {path: 1}, "camera")


def test_overrides_apply_together() -> None:
    changed = override(
        load_recipe("thumos-i3d"),
        parse_overrides(["model.width=64", "training.crop_ratio=null", "inference.nms=hard", "model.variant=paper"]),
    )
    assert (changed.model.width, changed.training.crop_ratio, changed.inference.nms) == (64, None, "hard")


def test_old_names_are_read_with_a_note() -> None:
    recipe = load_recipe("thumos-i3d")
    wanted = override(recipe, parse_overrides(["inference.chunk_length=640", "inference.chunk_overlap=320"]))
    old = dump_recipe(wanted).replace("chunk_length:", "stretch:").replace("chunk_overlap:", "overlap:")
    with pytest.warns(OldName) as notes:
        assert override(recipe, parse_overrides(["inference.stretch=640", "inference.overlap=320"])) == wanted
        assert parse_recipe(old, "an old file") == wanted
    assert {str(note.message) for note in notes} == {
        "recipe: inference.stretch is now called inference.chunk_length",
        "recipe: inference.overlap is now called inference.chunk_overlap",
    }


@pytest.mark.slow
def test_the_command_line_says_the_new_name() -> None:
    command = [sys.executable, "-m", "tal_cli", "detect", "missing.mp4", "--set", "inference.stretch=2304"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "note: recipe: inference.stretch is now called inference.chunk_length\n" in done.stderr


def test_a_name_and_its_settings_apply_one_after_the_other() -> None:
    changed = override(load_recipe("thumos-i3d"), parse_overrides(["model.encoder=sgp", "model.encoder.windows=5"]))
    assert changed == override(load_recipe("thumos-i3d"), parse_overrides(["model.encoder={name: sgp, windows: 5}"]))


@pytest.mark.parametrize(
    "content",
    ["", "- a\n- b\n", "name: [", "name: &a x\ndescription: *a\n", "!!python/object/apply:os.system [ls]", "\x00"],
)
def test_hostile_files_are_rejected(tmp_path: Path, content: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(content)
    with pytest.raises(RecipeError, match=r"recipe\.yaml"):
        load_recipe(path)


def test_unknown_names_and_missing_files() -> None:
    with pytest.raises(RecipeError, match="did you mean thumos-i3d"):
        load_recipe("thumos-i3")
    with pytest.raises(RecipeError, match="No such file"):
        load_recipe("/nowhere/recipe.yaml")


def test_reading_recipes_and_listing_models_imports_no_torch() -> None:
    code = (
        "import sys; from tal_cli.models.recipe.loading import load_recipe;"
        "from tal_cli.models.store.zoo import available_models;"
        "load_recipe('thumos-i3d'); available_models();"
        "sys.exit(any(name in sys.modules for name in ('torch', 'numba', 'safetensors')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
