"""Features are compared with what a detector was trained on, as far as both sides say."""

from __future__ import annotations

from dataclasses import replace

from tal_cli.contracts import differences, of_recipe
from tal_cli.extractors.backbones import create_backbone
from tal_cli.models.recipe.loading import load_recipe


def test_the_camera_recipe_and_the_tiny_backbone_agree() -> None:
    assert differences(load_recipe("camera").features, create_backbone("tiny").contract) == []


def test_every_stated_field_is_compared() -> None:
    wanted, found = load_recipe("camera").features, create_backbone("tiny").contract
    changed = replace(found, stride=8, max_rate=None, resize="bilinear")
    assert [line.split(":")[0] for line in differences(wanted, changed)] == ["stride", "max_rate", "resize"]


def test_what_a_side_leaves_unsaid_is_not_compared() -> None:
    wanted = load_recipe("camera").features
    silent = wanted.model_copy(update={"resize": None})
    assert differences(silent, replace(create_backbone("tiny").contract, resize="bilinear")) == []
    assert differences(wanted, of_recipe(silent)) == []
