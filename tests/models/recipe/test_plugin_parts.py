"""Encoders and decoders of other packages in a recipe: chosen by name, checked as strictly as built-in ones."""

from __future__ import annotations

import sys

import pytest
import torch
from plugin_packages import Install

from tal_cli.extractors.errors import PluginError, RecipeError
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.layers.pyramid import pad_batch
from tal_cli.models.recipe.loading import dump_recipe, load_recipe, override, parse_overrides, parse_recipe
from tal_cli.models.recipe.schema import Recipe

SETTINGS = """\
from typing import Literal
from tal_cli.models.recipe.encoders import EncoderSettings

class Every(EncoderSettings):
    network = "every_second_network:Every"
    name: Literal["every-second"] = "every-second"
    scale: float = 1.0
    offsets: tuple[int, ...] = ()
"""
NETWORK = """\
from torch import nn

class Every(nn.Module):
    def __init__(self, config, settings, drop_path):
        super().__init__()
        self.settings = settings

    def forward(self, x, masks):
        return [self.settings.scale * x[:, :: 1 << level] for level in range(len(masks))]
"""
ENTRY = "[tal.encoders]\nevery-second = every_second:Every\n"
MODULES = {"every_second.py": SETTINGS, "every_second_network.py": NETWORK}


def small(*assignments: str) -> Recipe:
    shape = ("model.width=16", "model.head_width=16", "model.classes=3", "features.channels=8", "model.pad_length=64")
    recipe = override(load_recipe("thumos-i3d"), parse_overrides([*shape, "model.decoder=actionformer"]))
    for assignment in assignments:
        recipe = override(recipe, parse_overrides([assignment]))
    return recipe


def test_an_encoder_of_another_package(install: Install) -> None:
    install("tal-every", ENTRY, MODULES)
    assert small().model.encoder.name == "gmg" and "every_second" not in sys.modules
    recipe = small("model.encoder=every-second", "model.encoder.scale=2.0", "model.encoder.offsets=[1, 2]")
    assert recipe.model.encoder.model_dump() == {"name": "every-second", "scale": 2.0, "offsets": (1, 2)}
    assert "every_second_network" not in sys.modules, "the network is imported when it is built"
    assert parse_recipe(dump_recipe(recipe), "again") == recipe
    assert Recipe.model_validate(recipe.model_copy()) == recipe

    detector = TemporalDetector.from_recipe(recipe)
    features, mask = pad_batch([torch.randn(40, 8)], 64)
    levels = detector.encode(features, mask)
    assert [level.shape[1] for level in levels] == [64, 32, 16, 8, 4, 2]
    torch.testing.assert_close(levels[1], levels[0][:, ::2])
    assert torch.isfinite(detector(features, mask).refined).all()


@pytest.mark.parametrize(
    ("assignment", "reason"),
    [
        ("model.encoder.scael=2.0", r"model\.encoder\.scael: unknown key"),
        ("model.encoder.scale=two", r"model\.encoder\.scale: must be a number, not \"two\""),
        ("model.encoder.offsets=[1, x]", r"model\.encoder\.offsets\.1: must be a whole number"),
        (
            "model.encoder=every",
            r"model\.encoder: there is no every; there are gmg, .*, causal, every-second; a package may add others$",
        ),
        ("model.encoder={scale: 1}", r"model\.encoder: expected a name, or settings with a `name`"),
        ("model.encoder={name: [1]}", r"model\.encoder"),
    ],
)
def test_its_settings_are_checked(install: Install, assignment: str, reason: str) -> None:
    install("tal-every", ENTRY, MODULES)
    with pytest.raises(RecipeError, match=reason):
        small("model.encoder=every-second", assignment)


OTHER = "from tal_cli.models.recipe.decoders import TridentSettings\nSettings = TridentSettings()\n"


@pytest.mark.parametrize("other", ["Settings = 1", OTHER])
def test_one_that_cannot_be_used(install: Install, other: str) -> None:
    install("tal-every", ENTRY, {"every_second.py": "import no_such_module"})
    install("tal-other", "[tal.decoders]\nplain = other:Settings\n", {"other.py": other})
    with pytest.raises(PluginError, match=r"tal\.encoders every-second \(tal-every 1\.0\) cannot be imported"):
        small("model.encoder=every-second")
    with pytest.raises(PluginError, match=r"plain \(tal-other 1\.0\) must be of type DecoderSettings"):
        small("model.decoder=plain")
    install("tal-third", "[tal.decoders]\ncltdr = third:Settings\n")
    with pytest.raises(PluginError, match=r"tal\.decoders cltdr is in tal-cli and in tal-third 1\.0"):
        load_recipe("thumos-i3d")
    assert load_recipe("actionformer-thumos-i3d").model.decoder.name == "actionformer"


def test_a_network_that_cannot_be_imported(install: Install) -> None:
    install("tal-every", ENTRY, {"every_second.py": SETTINGS})
    with pytest.raises(PluginError, match=r"every_second_network:Every cannot be imported: ModuleNotFoundError"):
        TemporalDetector.from_recipe(small("model.encoder=every-second"))
