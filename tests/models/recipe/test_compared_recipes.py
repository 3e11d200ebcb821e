"""Recipes of the systems that the paper compares with: their released options, and the layout of their checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.loading import load_recipe
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.conversion import to_released
from tal_cli.models.released.query_options import translate_tadtr


def released(shared: Path, system: str, entry: str) -> dict[str, Any]:
    path = shared / "goldens" / "compared" / f"{system}_released_keys.json"
    found: dict[str, Any] = json.loads(path.read_text())["configs"][entry]
    return found


def check_layout(recipe: Recipe, keys: dict[str, list[int]]) -> None:
    with torch.device("meta"):
        state = to_released(TemporalDetector.from_recipe(recipe).state_dict(), recipe.model)
    assert {key: list(value.shape) for key, value in state.items()} == keys


def test_tadtr(shared: Path) -> None:
    entry = released(shared, "tadtr", "thumos14_i3d2s_tadtr.yml")
    recipe = load_recipe("tadtr-thumos-i3d")
    assert (recipe.model, recipe.training, recipe.inference) == translate_tadtr(entry["config"], 20)
    check_layout(recipe, entry["keys"])
