"""Exported files give the model's numbers in other runtimes, and describe their inputs and labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from tal_cli import app
from tal_cli.extractors.backbones import create_backbone
from tal_cli.extractors.backbones.interface import Backbone
from tal_cli.extractors.backbones.vit.internvideo2 import InternVideo2, InternVideo2Shape
from tal_cli.extractors.backbones.vit.videomae import VideoMAE, VideoMAEShape
from tal_cli.extractors.backbones.windowed import WindowedBackbone
from tal_cli.extractors.catalog import find
from tal_cli.extractors.errors import UsageError
from tal_cli.extractors.plugins import load_object
from tal_cli.model_files import export_formats
from tal_cli.model_files.export_formats import FORMATS, export, of_backbone, of_detector
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.layers.pyramid import pyramid_points
from tal_cli.models.layers.selective_scan import selective_scan
from tal_cli.models.predictions import decode_everywhere
from tal_cli.models.recipe.loading import list_recipes, load_recipe, override, parse_overrides
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.store.checkpoint import LoadedModel, save_model
from tal_cli.models.store.export import ExportedDetector, fourier_basis, invert, scan_by_doubling, transform
from tal_cli.selftest.formula import filled

SMALL = ("model.width=32", "model.head_width=32", "model.classes=2", "features.channels=8", "model.pad_length=64",
         "model.levels=2", "model.head_layers=1", "model.embedding_layers=1", "model.regression_ranges=[]")  # fmt: skip
CELLS = 190  # longer than the recipe's own length, and neither a power of two nor whole blocks of attention
LENGTHS = (1, 177, CELLS)  # how many of them are no padding
# One recipe for each kind of detector that there is, and what makes it small.
KINDS: dict[str, tuple[str, tuple[str, ...]]] = {
    "gmg": ("thumos-i3d", ("model.encoder={name: gmg, stem_blocks: 1}",)),
    "gmg, paper": (
        "thumos-i3d",
        (
            "model.encoder={name: gmg, stem_blocks: 1, windows: 3, global_branch: attention}",
            "model.variant=paper",
            "model.head_layers=2",
        ),
    ),
    "sgp": ("tridet-thumos-i3d", ("model.encoder={name: sgp, stem_blocks: 1, windows: 3}",)),
    "transformer": (
        "actionformer-thumos-i3d",
        ("model.encoder={name: transformer, stem_blocks: 1, windows: [5, -1], relative_positions: true}",),
    ),
    "max_pool": ("temporalmaxer-thumos-i3d", ()),
    "conv": ("temporalmaxer-epic-verb", ("model.encoder={name: conv, stem_blocks: 1}",)),
    "mamba": ("actionmamba-thumos-internvideo2", ("model.encoder={name: mamba, stem_blocks: 1}",)),
    "causal": ("causaltad-thumos-i3d", ("model.encoder={name: causal, stem_blocks: 1}",)),
    "dynamic": (
        "dyfadet-thumos-videomae",
        ("model.encoder={name: dynamic_sgp, stem_blocks: 1, windows: 3}", "model.head_layers=2"),
    ),
    "cascade": (
        "transgmc-ego4d",
        ("model.encoder={name: cascade, stem_blocks: 1, windows: [5, -1]}", "model.streams=[[3, 12], [5, 20]]"),
    ),
    "wavelet": (
        "tfformer-activitynet-i3d",
        ("model.encoder={name: wavelet, stem_blocks: 1}", "model.resample=false"),
    ),
    "query": (
        "tadtr-thumos-i3d",
        (
            "model.encoder={name: deformable, layers: 1, ffn_width: 16}",
            "model.decoder={name: query, layers: 2, queries: 7, ffn_width: 16}",
        ),
    ),
    "relational": (
        "react-thumos-tsn",
        (
            "model.encoder={name: deformable, layers: 1, ffn_width: 16, aligned: true}",
            "model.decoder={name: relational, layers: 2, queries: 7, ffn_width: 16}",
        ),
    ),
    "points": (
        "pointtad-multithumos-i3d",
        (
            "model.streams=[[3, 32], [5, 32]]",
            "model.decoder={name: points, layers: 2, queries: 7, ffn_width: 16, query_points: 6}",
        ),
    ),
}


def parts_of(recipe: Recipe) -> set[tuple[str, object]]:
    """What a recipe's detector is made of."""
    model = recipe.model
    parts = {"encoder": (model.encoder.name, model.variant), "decoder": model.decoder.name, "neck": model.neck}
    return set((parts | {"table": model.position_table}).items())


def small_recipe(kind: str, *assignments: str) -> Recipe:
    name, parts = KINDS[kind]
    overrides = parse_overrides(SMALL) | parse_overrides(parts) | parse_overrides(assignments)
    return override(load_recipe(name), overrides)


def small(kind: str, *assignments: str) -> LoadedModel:
    recipe = small_recipe(kind, *assignments)
    torch.manual_seed(0)
    detector = TemporalDetector.from_recipe(recipe).eval()
    with torch.no_grad():
        for parameter in detector.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return LoadedModel(detector, recipe, ("a", "b"), "0" * 64, "small")


def expected(model: LoadedModel, features: torch.Tensor, length: int) -> tuple[torch.Tensor, ...]:
    """Scores, starts and ends as `tal` itself computes them, zero at cells that are no proposals."""
    mask = (torch.arange(features.shape[2]) < length)[None]
    with torch.no_grad():
        predictions = model.detector(features.transpose(1, 2), mask)
        distances = decode_everywhere(predictions).refined[0]  # [S, C, 2] or [S, 2]
    if distances.ndim == 2:
        distances = distances[:, None].expand(-1, model.recipe.model.classes, -1)
    points = pyramid_points(predictions.layout, features.device)
    time, stride, valid = points.time[:, None], points.stride[:, None], predictions.valid[0][:, None]
    sides = (time - distances[..., 0] * stride, time + distances[..., 1] * stride)
    starts, ends = (torch.where(valid, side, 0.0) for side in sides)
    return torch.sigmoid(predictions.refined[0]) * valid, starts, ends


def check(
    model: LoadedModel, run: Callable[[torch.Tensor, int], Sequence[np.ndarray]], cells: int, lengths: Sequence[int]
) -> None:
    """Compare what an exported file gives with what `tal` computes."""
    for length in lengths:
        features = torch.randn(1, 8, cells, generator=torch.Generator().manual_seed(length))
        features[..., length:] = 0
        for ours, theirs in zip(expected(model, features, length), run(features, length), strict=True):
            np.testing.assert_allclose(theirs, ours.numpy(), atol=2e-4, rtol=1e-4)


def run_onnx(path: Path) -> Callable[[torch.Tensor, int], Sequence[np.ndarray]]:
    session = onnxruntime.InferenceSession(str(path))
    return lambda features, length: session.run(None, {"features": features.numpy(), "length": np.array([length])})


@pytest.mark.parametrize("length", [1, 2, 7, 36, 128, 2304])
def test_the_transform_is_fouriers(length: int) -> None:
    x = torch.randn(1, 3, length, dtype=torch.float32)
    cosines, sines = fourier_basis(length, x.device)
    real, imaginary = transform(x, cosines, sines)
    spectrum = torch.fft.rfft(x, norm="ortho")
    torch.testing.assert_close(real, spectrum.real, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(imaginary, spectrum.imag, rtol=1e-4, atol=2e-5)
    torch.testing.assert_close(invert(real, imaginary, cosines, sines), x, rtol=1e-4, atol=2e-5)


def test_every_recipe_is_made_of_parts_that_are_tested() -> None:
    tested = set().union(*(parts_of(small_recipe(kind)) for kind in KINDS))
    for name in list_recipes():
        assert parts_of(load_recipe(name)) <= tested, name


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow
def test_onnx_agrees_whatever_is_padding(kind: str, tmp_path: Path) -> None:
    model = small(kind)
    difference = export(of_detector(model, CELLS), "onnx", tmp_path / "small.onnx")
    assert difference is not None and difference < 1e-4
    check(model, run_onnx(tmp_path / "small.onnx"), CELLS, LENGTHS)


@pytest.mark.slow
def test_a_program_of_pytorch_agrees_and_needs_no_operator_of_ours(tmp_path: Path) -> None:
    model = small("mamba")
    assert export(of_detector(model, CELLS), "torch-export", tmp_path / "m.pt2") == pytest.approx(0, abs=1e-4)
    extra = {"labels": ""}
    program = torch.export.load(tmp_path / "m.pt2", extra_files=extra)
    assert json.loads(extra["labels"]) == ["a", "b"]
    assert "tal." not in program.graph_module.code
    module = program.module()
    check(model, lambda features, n: [x.numpy() for x in module(features, torch.tensor([n]))], CELLS, LENGTHS)


@pytest.mark.parametrize("cells", [1, 2, 7, 64])
def test_a_scan_by_doubling_is_the_scan(cells: int) -> None:
    x, delta, decay = torch.randn(2, cells, 3), torch.rand(2, cells, 3), -torch.rand(3, 4)
    inputs, outputs = torch.randn(2, 2, cells, 4).unbind()
    ours, _ = scan_by_doubling(x, delta, decay, inputs, outputs)
    torch.testing.assert_close(ours, selective_scan(x, delta, decay, inputs, outputs, torch.zeros(3)))


@pytest.mark.slow
def test_a_recipe_of_one_length_is_exported_with_it(tmp_path: Path) -> None:
    model = small("wavelet", "model.resample=true")
    exportable = of_detector(model)
    export(exportable, "onnx", tmp_path / "m.onnx")
    check(model, run_onnx(tmp_path / "m.onnx"), 64, [64])
    assert "interpolated linearly to 64 cells" in exportable.metadata["padding"]
    assert "pad_length" not in exportable.metadata
    with pytest.raises(UsageError, match="brings every sequence to 64 cells"):
        of_detector(model, 32)


def test_what_cannot_be_exported_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="2 levels need a multiple of 2"):
        of_detector(small("max_pool"), 63)
    monkeypatch.setattr(export_formats, "LARGEST_ONNX", 1000)
    with pytest.raises(UsageError, match="an ONNX file holds 2 GB"):
        export(of_detector(small("max_pool")), "onnx", tmp_path / "m.onnx")
    monkeypatch.setattr(ExportedDetector, "forward", lambda self, features, length: (features[:, :, : int(length)],))
    with pytest.raises(UsageError, match="small: cannot be exported: "):
        export(of_detector(small("max_pool")), "torch-export", tmp_path / "m.pt2")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_wrong_graph_is_not_kept(tmp_path: Path) -> None:
    exportable = of_detector(small("max_pool"), 64)
    wrong = replace(exportable, module=of_detector(small("conv"), 64).module)
    data = FORMATS["torch-export"].write(wrong)
    assert FORMATS["torch-export"].compare(exportable, data) > export_formats.TOLERANCE


@pytest.mark.parametrize("name", ["r3d_18", "timm:test_vit", "videomaev2", "internvideo2"])
@pytest.mark.slow
def test_a_backbones_network_is_exported(name: str, tmp_path: Path) -> None:
    backbone = small_transformer(name) if name in TRANSFORMERS else seeded_backbone(name)
    difference = export(of_backbone(name, backbone), "onnx", tmp_path / "net.onnx")
    assert difference is not None and difference < 1e-4
    session = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    (entry,) = session.get_inputs()
    batch = torch.rand(5, *entry.shape[1:], generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        features = backbone.network(batch)  # type: ignore[attr-defined]
    (found,) = session.run(None, {entry.name: batch.numpy()})
    np.testing.assert_allclose(found, features.numpy(), rtol=1e-3, atol=1e-3)


@pytest.mark.slow
def test_i3d_is_exported(tmp_path: Path) -> None:
    """Its pools write into what they have made; in ONNX that takes half a minute to write down."""
    exportable = of_backbone("i3d-rgb", seeded_backbone("i3d-rgb"))
    assert export(exportable, "torch-export", tmp_path / "i3d.pt2") == pytest.approx(0, abs=1e-4)


TRANSFORMERS: dict[str, tuple[int, Callable[[int], torch.nn.Module]]] = {
    "videomaev2": (32, lambda side: VideoMAE(VideoMAEShape(48, 2, 3, 96), size=side)),
    "internvideo2": (28, lambda side: InternVideo2(InternVideo2Shape(64, 3, 2, 128), size=side)),
}


def small_transformer(name: str) -> WindowedBackbone:
    """One of the published kinds, narrow and on small images."""
    side, make = TRANSFORMERS[name]
    torch.manual_seed(0)
    contract = find("r3d_18").contract_with({"crop": f"center {side}x{side}"})
    return WindowedBackbone(contract, make(side).eval(), window_bytes=1)


def seeded_backbone(name: str) -> Backbone:
    """A backbone on small images, with weights of a sensible size."""
    entry = find(name)
    settings = {} if name.startswith("timm:") else {"resize": "bilinear 56x48", "crop": "center 48x48"}
    blueprint = load_object(entry.blueprint)
    with torch.device("meta"):
        networks = blueprint.networks(entry.contract_with(settings))
    return create_backbone(name, [filled(network) for network in networks], settings)


@pytest.fixture()
def folder(tmp_path: Path) -> Path:
    model = small("max_pool")
    save_model(tmp_path / "small", model.detector, Recipe.model_validate(model.recipe.model_dump()), model.labels)
    return tmp_path / "small"


@pytest.mark.slow
def test_the_command_writes_a_file_that_describes_itself(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.onnx"
    assert app.run(["export", str(folder), "-o", str(out)]) == 0
    printed = capsys.readouterr()
    assert printed.out.strip() == str(out) and "differences of at most" in printed.err
    metadata = {each.key: each.value for each in onnx.load(out).metadata_props}
    assert json.loads(metadata["labels"]) == ["a", "b"]
    assert "stride" in metadata["recipe"]
    assert (metadata["padding"], metadata["pad_length"]) == ("zeros up to 64 cells", "64")
    assert of_detector(small("max_pool"), 32).metadata["pad_length"] == "32"
    assert app.run(["export", "nothing-of-that-name"]) == 2
    assert "neither a model nor an extractor" in capsys.readouterr().err
    assert app.run(["export", "tiny"]) == 2
    assert "not a network" in capsys.readouterr().err
    assert app.run(["export", "tiny", "--length", "64"]) == 2
    assert app.run(["export", str(folder), "--weights", "w.pt"]) == 2
    assert "--weights is for extractors" in capsys.readouterr().err
