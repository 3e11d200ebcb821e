"""Feature settings and contracts turn into each other, and are compared as far as both sides say."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tal_cli.extractors.backbones import create_backbone
from tal_cli.extractors.catalog import ENTRIES, find
from tal_cli.extractors.catalog.entry import BackboneEntry
from tal_cli.extractors.errors import SettingsError
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.loading import list_recipes, load_recipe


def test_the_camera_recipe_and_the_tiny_backbone_agree() -> None:
    assert load_recipe("camera").features.differences(create_backbone("tiny").contract) == []


def test_every_stated_field_is_compared() -> None:
    wanted, found = load_recipe("camera").features, create_backbone("tiny").contract
    changed = replace(found, stride=8, max_rate=None, resize="bilinear")
    assert [line.split(":")[0] for line in wanted.differences(changed)] == ["stride", "max_rate", "resize"]


def test_what_a_side_leaves_unsaid_is_not_compared() -> None:
    wanted = load_recipe("camera").features
    silent = wanted.model_copy(update={"resize": None})
    assert silent.differences(replace(create_backbone("tiny").contract, resize="bilinear")) == []
    assert wanted.differences(silent.contract()) == []


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_a_contract_comes_back_from_its_settings(entry: BackboneEntry) -> None:
    assert replace(entry.contract, flow=None) == FeatureSpec.of(entry.contract).contract()


@pytest.mark.parametrize("name", list_recipes())
def test_settings_come_back_from_their_contract(name: str) -> None:
    wanted = load_recipe(name).features
    found = FeatureSpec.of(wanted.contract())
    assert wanted.differences(wanted.contract()) == []
    said = wanted.model_dump(exclude_none=True)
    assert found.model_dump(include=set(said)) == said


def test_an_extractor_may_be_told_what_it_does_already() -> None:
    spec = load_recipe("camera").features
    assert "window" not in find("tiny").settable
    slower = spec.model_copy(update={"max_rate": 10.0})
    assert create_backbone("tiny", settings=slower.framing()).contract == replace(spec.contract(), max_rate=10.0)
    with pytest.raises(SettingsError, match="tiny: window cannot be set"):
        create_backbone("tiny", settings=spec.model_copy(update={"window": 8}).framing())
