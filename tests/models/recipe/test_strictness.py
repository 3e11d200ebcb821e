"""Whatever is wrong in a recipe is an error that names the path to it: found by damaging the shipped ones at random."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from tal_cli.extractors.errors import RecipeError
from tal_cli.models.recipe.loading import list_recipes, load_recipe, override, parse_overrides, parse_recipe

Path = tuple[str, ...]
RECIPES = {name: load_recipe(name).model_dump(mode="json") for name in list_recipes()}
# Values that no number of the schema can have, but for some that may be negative.
IMPOSSIBLE = [-1, -0.5, float("nan"), float("inf"), -float("inf")]
SIGNED = {"average", "branch_scale", "windows"}  # windows of attention: -1 stands for all cells


def leaves(data: Any, path: Path = ()) -> Iterator[Path]:
    """Paths to everything that is no section."""
    for key, value in data.items():
        if isinstance(value, dict):
            yield from leaves(value, (*path, key))
        else:
            yield (*path, key)


def sections(data: Any, path: Path = ()) -> Iterator[Path]:
    """Paths to all sections, which know their keys."""
    yield path
    for key, value in data.items():
        if isinstance(value, dict) and key != "by_tiou":
            yield from sections(value, (*path, key))


def damaged(name: str, path: Path, value: Any) -> str:
    """The error that a recipe with this value at this path ends in."""
    data = copy.deepcopy(RECIPES[name])
    section = data
    for key in path[:-1]:
        section = section[key]
    section[path[-1]] = value
    with pytest.raises(RecipeError) as caught:
        parse_recipe(yaml.safe_dump(data), "recipe.yaml")
    return str(caught.value)


def value_at(name: str, path: Path) -> Any:
    value: Any = RECIPES[name]
    for key in path:
        value = value[key]
    return value


NAMES = st.sampled_from(sorted(RECIPES))


@settings(max_examples=25)
@given(NAMES, st.data(), st.sampled_from(["widht", "x", "Name", "model", "1"]))
def test_unknown_keys(name: str, data: st.DataObject, key: str) -> None:
    path = data.draw(st.sampled_from(list(sections(RECIPES[name]))))
    if key not in value_at(name, path):
        assert f"recipe.yaml: {'.'.join((*path, key))}: unknown key" in damaged(name, (*path, key), 1)


@settings(max_examples=25)
@given(NAMES, st.data())
def test_wrong_types(name: str, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(list(leaves(RECIPES[name]))))
    right = value_at(name, path)
    wrong: list[Any] = [{"strange": 1}, [["strange"]]]
    if isinstance(right, bool):
        wrong += [0, 1, "yes", None]
    elif isinstance(right, int | float):
        wrong += [f"{right:f}", True]  # no exponent: PyYAML writes the text 1e-05 without quotes
    elif isinstance(right, str):
        wrong += [3, True]
    elif isinstance(right, list):
        wrong += [3.5, "strange"]
    message = damaged(name, path, data.draw(st.sampled_from(wrong)))
    path = path[:-1] if path[-1] == "name" and len(path) > 1 else path  # which tells what the section is
    assert all(line.startswith(f"recipe.yaml: {'.'.join(path)}") for line in message.splitlines()), message


@settings(max_examples=25)
@given(NAMES, st.data(), st.sampled_from(IMPOSSIBLE))
def test_impossible_numbers(name: str, data: st.DataObject, value: float) -> None:
    numbers = [
        path
        for path in leaves(RECIPES[name])
        if isinstance(value_at(name, path), int | float) and not isinstance(value_at(name, path), bool)
    ]
    path = data.draw(st.sampled_from(numbers))
    if math.isfinite(value) and ({path[-1]} & SIGNED or "by_tiou" in path):
        return
    message = damaged(name, path, value)
    assert ".".join(path[1:]) in message or path[-1] in message, message


@settings(max_examples=25)
@given(NAMES, st.data())
def test_missing_sections(name: str, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from([("name",), ("features",), ("model",), ("model", "classes")]))
    damaged_data = copy.deepcopy(RECIPES[name])
    section = damaged_data
    for key in path[:-1]:
        section = section[key]
    del section[path[-1]]
    with pytest.raises(RecipeError, match=rf"recipe\.yaml: {'.'.join(path)}: "):
        parse_recipe(yaml.safe_dump(damaged_data), "recipe.yaml")


@pytest.mark.parametrize(("text", "number"), [("1e-4", 1e-4), ("2E-3", 2e-3), ("3", 3.0), (".5", 0.5), ("1.e-2", 0.01)])
def test_numbers_are_written_as_people_write_them(text: str, number: float) -> None:
    recipe = load_recipe("thumos-i3d")
    assert override(recipe, parse_overrides([f"training.learning_rate={text}"])).training.learning_rate == number


def test_a_run_has_an_epoch() -> None:
    with pytest.raises(RecipeError, match="training: epochs and warmup_epochs: at least one"):
        override(load_recipe("thumos-i3d"), parse_overrides(["training.epochs=0", "training.warmup_epochs=0"]))
    with pytest.raises(RecipeError, match=r"training\.seed"):
        override(load_recipe("thumos-i3d"), parse_overrides([f"training.seed={1 << 63}"]))


@pytest.mark.parametrize(
    "assignment",
    ["model.classes=20.0", "model.classes='20'", "model.position_table=1", "training.epochs=true"],
)
def test_values_are_not_made_to_fit(assignment: str) -> None:
    with pytest.raises(RecipeError, match=assignment.partition("=")[0]):
        override(load_recipe("thumos-i3d"), parse_overrides([assignment]))


@pytest.mark.parametrize(
    "assignment",
    [
        "model.embedding_layers=100000",
        "model.head_layers=100000",
        "model.width=1000000000",
        "model.head_width=1000000000",
        "model.classes=1000000000",
        "model.pad_length=1073741824",
        "model.decoder.bins=1000000000",
        "model.encoder.mlp_width=1000000000",
        "model.encoder.stem_blocks=100000",
        "model.encoder.windows=1000000001",
        "features.channels=1000000000000",
        "features.max_rate=1e-300",
        "features.sampling_rate=1e300",
        "training.epochs=1000000000000",
        "inference.chunk_length=1000000000000",
    ],
)
def test_numbers_that_no_machine_can_serve_are_rejected_by_their_path(assignment: str) -> None:
    path = assignment.partition("=")[0]
    with pytest.raises(RecipeError, match=path.replace(".", r"\.")):
        override(load_recipe("thumos-i3d"), parse_overrides([assignment]))
