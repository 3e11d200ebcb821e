"""What README says about extending works as it stands there."""

from __future__ import annotations

import io
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from doc_blocks import blocks
from doc_material import FRAMES, render_two_shots

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.layers.pyramid import pad_batch
from tal_cli.models.predictions import decode_everywhere
from tal_cli.models.recipe.loading import load_recipe, override

ROOT = Path(__file__).resolve().parents[2]
# What the modules beside the shown ones begin with.
IMPORTS = """\
from typing import Literal
from torch import Tensor, nn
from tal_cli.models.recipe.architecture import DecoderSettings, ModelConfig
from tal_cli.models.recipe.encoders import EncoderSettings
from tal_cli.models.predictions import PlainBoundaries, Predictions
from tal_cli.models.layers.common import apply_mask
from tal_cli.models.layers.pyramid import PyramidLayout
"""
FRAGMENTS = [block.text for block in blocks(ROOT / "README.md", ROOT) if block.language == "python"]


def fragment(start: str) -> str:
    """The one block that begins so."""
    found = [text for text in FRAGMENTS if text.startswith(start)]
    assert len(found) == 1, f"README has {len(found)} Python blocks that begin with {start!r}"
    return found[0]


def test_a_backbone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from tal_cli.extractors import catalog
    from tal_cli.extractors.backbones import create_backbone
    from tal_cli.extractors.backbones.blueprint import Measured
    from tal_cli.extractors.catalog.entry import BackboneEntry
    from tal_cli.extractors.extraction.extractor import extract_features
    from tal_cli.extractors.features.contract import FeatureContract

    names: dict[str, Any] = {"torch": torch, "Tensor": torch.Tensor, "Measured": Measured}
    names |= {"FeatureContract": FeatureContract, "BackboneEntry": BackboneEntry}
    exec(fragment("class MeanColour"), names)
    module = ModuleType("tal_cli.extractors.backbones.mean_colour")
    module.MEAN_COLOUR = names["MEAN_COLOUR"]  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    entry = replace(eval(fragment("BackboneEntry("), names), blueprint=f"{module.__name__}:MEAN_COLOUR")
    monkeypatch.setitem(catalog.BACKBONES.built_in, entry.name, entry)

    video = render_two_shots(tmp_path / "a.mp4")
    features = extract_features(video, create_backbone("mean-colour")).features
    assert features.shape == ((FRAMES - 16) // 4 + 1, 3)
    assert abs(features[0] - features[-1]).max() > 0.01, "the two shots have different colours"


@pytest.mark.parametrize(("start", "part"), [("class Pairs", "encoder"), ("class Plain", "decoder")])
def test_a_part_of_the_detector(start: str, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    names: dict[str, Any] = {}
    # This module's own __future__ would make strings of the annotations, which nobody could look up.
    exec(compile(IMPORTS + fragment(start), "README.md", "exec", dont_inherit=True), names)
    name = start.removeprefix("class ")
    module, settings = names[f"{name}{part.capitalize()}"], names[f"{name}Settings"]

    recipe = override(load_recipe("thumos-i3d"), {"model.width": 16, "model.head_width": 16, "features.channels": 8})
    config = recipe.model.model_copy(update={part: settings()})
    monkeypatch.setattr(settings, "network", "made_up:PART", raising=False)
    monkeypatch.setitem(sys.modules, "made_up", ModuleType("made_up"))
    monkeypatch.setattr("made_up.PART", module, raising=False)
    detector = TemporalDetector(config, channels=8)
    predictions = detector(*pad_batch([torch.randn(40, 8)], 64))
    distances = decode_everywhere(predictions).refined
    assert predictions.refined.shape[2] == 20 and distances.shape[-1] == 2
    assert torch.isfinite(predictions.refined).all() and torch.isfinite(distances[:, predictions.valid[0]]).all()


def test_an_output_format(monkeypatch: pytest.MonkeyPatch) -> None:
    from tal_cli.results.segments import Detections, Segment
    from tal_cli.results.writers import Format, RunInfo

    module = ModuleType("tal_cli.results.writers.audacity")
    exec(fragment("from collections.abc import Iterable\n"), module.__dict__)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    write = eval(fragment("Format("), {"Format": Format}).writer()
    file = io.BytesIO()
    found = Detections("a", "a.mp4", 3.0, 25.0, 75, (Segment("cut", 1.0, 1.25, 0.9),))
    write([found], file, RunInfo("0", "camera", ""))
    assert file.getvalue() == b"1.000\t1.250\tcut\n"


def test_a_data_set() -> None:
    from tal_cli.datasets.catalog import Benchmark

    benchmark = eval(fragment("Benchmark("), {"Benchmark": Benchmark})
    assert benchmark.root.name == benchmark.name == "dance"
    assert "annotations.json" in benchmark.layout
