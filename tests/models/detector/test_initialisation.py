"""Freshly made detectors start as the published code's do."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tal_cli.models.decoders.cross_level import AttentionJoin
from tal_cli.models.decoders.dynamic import DynamicStage, gate
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.encoders.gmg import FILTER_START
from tal_cli.models.recipe.decoders import DynamicSettings
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides
from tal_cli.models.recipe.schema import Recipe

SMALL = ["model.width=32", "model.head_width=32", "features.channels=8"]
FAMILIES = {
    "thumos-i3d": ["model.encoder.mlp_width=32"],
    "tridet-thumos-i3d": ["model.encoder.mlp_width=32"],
    "actionformer-thumos-i3d": ["model.encoder.relative_positions=true"],
    "temporalmaxer-thumos-i3d": [],
    "actionmamba-thumos-internvideo2": [],
    "camera": ["model.encoder.mlp_width=32"],
}
DEPTHWISE = (".instant", ".local", ".wide", ".gate", ".context")  # of GMG's and SGP's blocks
# Modules whose biases the published code leaves as PyTorch or their authors start them: the cross-level convolutions
# (DeCLS, DeReg and CrossLevel in TSCODE.py are plain Conv1d) and Mamba's steps.
OTHERWISE = ("decoder.cross.", "project_step")


def small(name: str) -> Recipe:
    return override(load_recipe(name), parse_overrides(SMALL) | parse_overrides(FAMILIES[name]))


@pytest.mark.parametrize("name", FAMILIES)
def test_biases_start_at_zero_or_at_the_prior(name: str) -> None:
    detector = TemporalDetector.from_recipe(small(name))
    prior = math.log(0.01 / 0.99)
    looked = 0
    for path, module in detector.named_modules():
        bias = getattr(module, "bias", None)
        if not isinstance(bias, torch.Tensor) or any(part in path for part in OTHERWISE):
            continue
        is_class = path.endswith("output") and "offsets" not in path
        assert torch.all(bias == torch.tensor(prior if is_class else 0.0)), path
        looked += 1
    assert looked > 6


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_start_as_wide_as_pytorch_starts_convolutions(name: str) -> None:
    """Uniform within 1 / sqrt(fan in), except where a family says its own."""
    detector = TemporalDetector.from_recipe(small(name))
    for path, module in detector.named_modules():
        if not isinstance(module, nn.Conv1d | nn.Linear) or "project_step" in path:
            continue
        if name != "camera" and path.startswith("encoder") and path.endswith(DEPTHWISE):
            assert torch.all(module.weight == 0), f"{path}: init_conv_vars is 0 there"
            continue
        if ".filter.conv" in path:
            assert float(module.weight.detach().std()) == pytest.approx(FILTER_START, rel=0.2), path
            continue
        bound = module.weight[0].numel() ** -0.5
        assert module.weight.abs().max() <= bound and module.weight.std() > 0.4 * bound, path


def test_scales_filters_and_positions_start_as_published() -> None:
    torch.manual_seed(0)
    gmg = TemporalDetector.from_recipe(small("thumos-i3d"))
    values = torch.cat([value.flatten() for name, value in gmg.named_parameters() if ".filter." in name])
    assert values.std().item() == pytest.approx(0.02, rel=0.1)
    scales = [value for name, value in gmg.named_parameters() if name.endswith(".scale")]
    assert scales and all(torch.all(value == 1e-4) for value in scales)
    assert torch.all(gmg.decoder.offsets.level_scale == 1)
    former = TemporalDetector.from_recipe(small("actionformer-thumos-i3d"))
    tables = torch.cat([value.flatten() for name, value in former.named_parameters() if name.endswith("positions")])
    assert tables.std().item() == pytest.approx((2 / 32) ** 0.5, rel=0.15)


def test_cross_level_convolutions_start_as_pytorch_starts_them() -> None:
    detector = TemporalDetector.from_recipe(small("thumos-i3d"))
    joins = [module for module in detector.modules() if isinstance(module, AttentionJoin)]
    assert joins and all(join.refine.bias is not None and join.refine.bias.abs().max() > 0 for join in joins)


@pytest.mark.parametrize(("start", "least", "most"), [(1.5, 1.0, 1.0), (0.0, 0.3, 0.7)])
def test_dynamic_gates_start_open_unless_as_published(start: float, least: float, most: float) -> None:
    """At the published start about half are shut, whose gradient is 0."""
    torch.manual_seed(0)
    stage = DynamicStage(32, 32, 2, DynamicSettings(gate_start=start))
    open_at = gate(stage.mix.gate(torch.randn(4, 64, 32 * 3)), 1.5) > 0
    assert least <= open_at.float().mean() <= most
    torch.testing.assert_close(
        gate(torch.tensor([-1.0, 0.0, 1.5]), 1.5), torch.tensor([0.0, 0.0, 0.4751]), atol=1e-4, rtol=0
    )
