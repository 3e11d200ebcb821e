"""Exported files give the model's numbers in other runtimes, and say what is to be known about them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from extractors.backbones.windowed import WindowedBackbone
from extractors.catalog import find
from models.checkpoint import LoadedModel, save_model
from models.detector import TemporalDetector
from models.exportable import ExportedDetector, fourier_basis, invert, transform
from models.recipe import Recipe, load_recipe, override
from tal_cli import app
from tal_cli.errors import UsageProblem
from tal_cli.exporting import FORMATS, export, of_backbone, of_detector

SMALL = ("model.width=32", "model.head_width=32", "model.classes=2", "features.channels=8", "model.pad_length=64",
         "model.levels=2", "model.head_layers=2", "model.embedding_layers=1", "model.regression_ranges=[]")  # fmt: skip
OPEN = {"gmg": "cltdr", "sgp": "trident", "max_pool": "actionformer"}


def small(encoder: str, decoder: str, variant: str = "released") -> LoadedModel:
    stem = "" if encoder == "max_pool" else ", stem_blocks: 1"
    parts = (f"model.encoder={{name: {encoder}{stem}}}", f"model.decoder={decoder}", f"model.variant={variant}")
    recipe = override(load_recipe("thumos-i3d"), (*SMALL, *parts))
    torch.manual_seed(0)
    detector = TemporalDetector.from_recipe(recipe).eval()
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return LoadedModel(detector, recipe, ("a", "b"), "0" * 64, "small")


@pytest.mark.parametrize("length", [1, 2, 7, 36, 128, 2304])
def test_the_transform_is_fouriers(length: int) -> None:
    x = torch.randn(1, 3, length, dtype=torch.float32)
    cosines, sines = fourier_basis(length, x.device)
    real, imaginary = transform(x, cosines, sines)
    spectrum = torch.fft.rfft(x, norm="ortho")
    torch.testing.assert_close(real, spectrum.real, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(imaginary, spectrum.imag, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(invert(real, imaginary, cosines, sines), x, rtol=1e-4, atol=2e-5)


@pytest.mark.parametrize(("encoder", "variant"), [*((name, "released") for name in OPEN), ("gmg", "paper")])
def test_onnx_agrees_at_every_length(encoder: str, variant: str, tmp_path: Path) -> None:
    model = small(encoder, OPEN[encoder], variant)
    exportable = of_detector(model, None)
    difference = export(exportable, "onnx", tmp_path / "small.onnx")
    assert difference is not None and difference < 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "small.onnx"))
    module = ExportedDetector(model.detector)
    step = model.recipe.model.length_multiple
    for count in (1, 4, 9):
        features, length = torch.randn(1, 8, count * step), torch.tensor([count * step - 1])
        with torch.no_grad():
            expected = module(features, length)
        found = session.run(None, {"features": features.numpy(), "length": length.numpy()})
        for ours, theirs in zip(expected, found, strict=True):
            np.testing.assert_allclose(theirs, ours.numpy(), atol=1e-4)


def test_proposals_are_those_of_the_detector() -> None:
    model = small("gmg", "cltdr")
    features, mask = torch.randn(1, 8, 64), torch.ones(1, 1, 64, dtype=torch.bool)
    mask[..., 50:] = False
    with torch.no_grad():
        scores, _, _ = ExportedDetector(model.detector)(features, torch.tensor([50]))
        predictions = model.detector(features, mask)
    expected = (torch.sigmoid(predictions.refined[0]) * predictions.valid[0]).t()
    torch.testing.assert_close(scores, expected, rtol=1e-4, atol=1e-5)


def test_metadata_say_how_to_read_the_output(tmp_path: Path) -> None:
    export(of_detector(small("max_pool", "actionformer"), None), "onnx", tmp_path / "m.onnx")
    metadata = {each.key: each.value for each in onnx.load(tmp_path / "m.onnx").metadata_props}
    assert json.loads(metadata["labels"]) == ["a", "b"]
    assert "stride" in metadata["recipe"] and "multiple of" in metadata["padding"]


@pytest.mark.parametrize("format", ["torch-export", "torchscript"])
def test_torchs_own_formats(format: str, tmp_path: Path) -> None:
    path = tmp_path / f"m{FORMATS[format].suffix}"
    assert export(of_detector(small("max_pool", "trident"), 64), format, path) == pytest.approx(0, abs=1e-5)
    extra = {"labels": ""}
    if format == "torchscript":
        torch.jit.load(path, _extra_files=extra)
    else:
        torch.export.load(path, extra_files=extra)
    assert json.loads(extra["labels"]) == ["a", "b"]


def test_what_cannot_be_exported_says_why(tmp_path: Path) -> None:
    with pytest.raises(UsageProblem, match="cannot leave the length open"):
        export(of_detector(small("max_pool", "trident"), None), "torchscript", tmp_path / "m.ts")
    with pytest.raises(UsageProblem, match="2 levels need a multiple of 2"):
        of_detector(small("max_pool", "trident"), 63)
    assert list(tmp_path.iterdir()) == []


def test_a_backbones_network_is_exported(tmp_path: Path) -> None:
    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv3d(3, 4, 3)

        def forward(self, windows: torch.Tensor) -> torch.Tensor:
            return self.conv(windows).mean(dim=(2, 3, 4))

    backbone = WindowedBackbone(find("r3d_18").contract, Network().eval(), window_bytes=1)
    exportable = of_backbone("net", backbone)
    difference = export(exportable, "onnx", tmp_path / "net.onnx")
    assert difference is not None and difference < 1e-5


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    model = small("max_pool", "actionformer")
    save_model(tmp_path / "small", model.detector, Recipe.model_validate(model.recipe.model_dump()), model.labels)
    return tmp_path / "small"


def test_from_the_command_line(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out.onnx"
    assert app.run(["export", str(folder), "-o", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(out) and "differences of at most" in printed.err and out.is_file()
    assert app.run(["export", "nothing-of-that-name"]) == 2
    assert "neither a model nor an extractor" in capsys.readouterr().err
    assert app.run(["export", "tiny"]) == 2
    assert "not one network on windows" in capsys.readouterr().err
