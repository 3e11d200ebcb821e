"""Recipes of the systems that the paper compares with: their released options, and the layout of their checkpoints."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.loading import load_recipe
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.released.conversion import to_released
from tal_cli.models.released.options import translate_options
from tal_cli.models.released.query_options import translate_react, translate_tadtr


def released(shared: Path, system: str, entry: str) -> dict[str, Any]:
    path = shared / "goldens" / "compared" / f"{system}_released_keys.json"
    found: dict[str, Any] = json.loads(path.read_text())["configs"][entry]
    return found


def check_layout(recipe: Recipe, keys: dict[str, list[int]]) -> None:
    with torch.device("meta"):
        state = to_released(TemporalDetector.from_recipe(recipe).state_dict(), recipe.model)
    assert {key: list(value.shape) for key, value in state.items()} == keys


TRANSGMC = {
    "transgmc-thumos-i3d": "thumos_i3d.yaml",
    "transgmc-epic-verb": "epic_slowfast_verb.yaml",
    "transgmc-epic-noun": "epic_slowfast_noun.yaml",
    "transgmc-activitynet-i3d": "anet_i3d.yaml",
    "transgmc-ego4d": "ego4d_slowfast_omnivore_egovlp.yaml",
}


@pytest.mark.parametrize("name", TRANSGMC)
def test_transgmc(name: str, shared: Path) -> None:
    entry = released(shared, "transgmc", TRANSGMC[name])
    recipe, options = load_recipe(name), entry["config"]
    model, training, inference = translate_options(options["model"], encoder="cascade")
    assert check_ranges(recipe.model) == check_ranges(model)
    assert recipe.inference == inference.model_copy(update={"chunk_overlap": recipe.inference.chunk_overlap})
    loop, data = options["opt"], options["dataset"]
    assert recipe.training == training.model_copy(
        update={
            "epochs": loop["epochs"],
            "warmup_epochs": loop["warmup_epochs"],
            "learning_rate": loop["learning_rate"],
            "batch_size": options["loader"]["batch_size"],
            "truncate_threshold": data["trunc_thresh"],
            "class_agnostic": options["dataset_name"] == "anet",
        }
    )
    assert (recipe.features.window, recipe.features.stride) == (data["num_frames"], data["feat_stride"])
    assert recipe.features.sampling_rate == data["default_fps"]
    check_layout(recipe, entry["keys"])


def check_ranges(model: ModelConfig) -> dict[str, Any]:
    """All settings, with the ranges spelled out; interpolation of features is an option of the data set."""
    return model.model_dump(exclude={"regression_ranges", "resample"}) | {"ranges": model.level_ranges}


def test_tadtr(shared: Path) -> None:
    entry = released(shared, "tadtr", "thumos14_i3d2s_tadtr.yml")
    recipe = load_recipe("tadtr-thumos-i3d")
    assert (recipe.model, recipe.training, recipe.inference) == translate_tadtr(entry["config"], 20)
    check_layout(recipe, entry["keys"])


def test_react(shared: Path) -> None:
    entry = released(shared, "react", "thumos_tsn_feature.py")
    recipe = load_recipe("react-thumos-tsn")
    assert (recipe.model, recipe.training, recipe.inference) == translate_react(entry["config"])
    check_layout(recipe, entry["keys"])
