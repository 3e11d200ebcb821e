"""Run folders of every kind of tuned network: saved, loaded, and used on video files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tiny_dense
import torch
from torch import nn

from tal_cli.api import VideoDetector
from tal_cli.extractors.backbones.interface import Backbone
from tal_cli.extractors.extraction.blocks import PreparedFrames, window_blocks, with_context
from tal_cli.extractors.extraction.forward import ForwardPasses
from tal_cli.extractors.tuning.backbone import TunedBackbone
from tal_cli.extractors.video.stream import read_frames
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.backbone import BackboneConfig
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.models.recipe.loading import load_recipe, override
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.store.checkpoint import save_backbone, save_model
from tal_cli.tuned import backbone_of

FRAMES = 8 * 7 + 3  # neither whole rows nor whole chunks


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "video.mp4"
    tiny_dense.write_video(path, tiny_dense.moving_frames(8, (2, 5), 1)[:FRAMES])
    return path


@pytest.fixture(scope="module")
def frames(video: Path) -> torch.Tensor:
    """The video's, as decoded."""
    with read_frames(video, frame_size=lambda width, height: (width, height)) as stream:
        return torch.from_numpy(np.concatenate([chunk.frames for chunk in stream]))


def rows_of(backbone: Backbone, frames: torch.Tensor) -> np.ndarray:
    """The rows of these frames, as they are extracted."""
    passes = ForwardPasses(backbone, torch.device("cpu"))
    prepared = PreparedFrames(backbone.prepare(frames), np.arange(len(frames)) / 8)
    blocks = window_blocks(with_context([prepared], passes.context), passes.grid, passes.windows_per_block)
    return np.concatenate([passes.forward(block).wait() for block in blocks])


def recipe_of(network: str, tuning: str, **settings: object) -> Recipe:
    """A recipe of the installed extractor."""
    contract = tiny_dense.create_backbone(tiny_dense.NAME).contract
    config = BackboneConfig(tuning=tuning, window=64, chunk=contract.chunk, **settings)  # type: ignore[arg-type]
    small = {"model.width": 16, "model.head_width": 16, "model.encoder.mlp_width": 16, "model.classes": 1}
    recipe = load_recipe("camera").model_copy(update={"features": FeatureSpec.of(contract), "backbone": config})
    return override(recipe, {**small, "inference.boundary": None, "inference.display_score": 0.3})


def run_folder(out: Path, recipe: Recipe) -> TunedBackbone:
    """Make a run folder with weights by chance; returns its backbone."""
    torch.manual_seed(0)
    backbone = backbone_of(recipe)
    state = backbone.tuned.tuned()
    for value in state.values():
        nn.init.normal_(value, std=0.3)
    out.mkdir()
    digest = save_backbone(out, state)
    contract = backbone.contract
    told = FeatureSpec.of(contract).model_copy(update={"weights_sha256": f"{contract.weights_sha256}+{digest}"})
    recipe = recipe.model_copy(update={"features": told})
    save_model(out, TemporalDetector.from_recipe(recipe), recipe, ["wave"])
    return backbone


@pytest.mark.parametrize("tuning", ["adapter", "side", "full"])
@pytest.mark.parametrize("network", tiny_dense.NETWORKS)
def test_a_saved_run_gives_the_rows_of_its_backbone_to_video_files(
    network: str, tuning: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, video: Path, frames: torch.Tensor
) -> None:
    monkeypatch.setenv("TAL_HOME", str(tmp_path / "home"))
    tiny_dense.install(monkeypatch, network)
    blocks = 1 if network == "I3D" else 2
    backbone = run_folder(tmp_path / "run", recipe_of(network, tuning, blocks=blocks))
    rows = rows_of(backbone, frames)
    detector = VideoDetector.load(tmp_path / "run", device="cpu")
    sequence = detector.extract(video)
    np.testing.assert_allclose(sequence.features, rows, rtol=1e-5, atol=1e-5)
    assert detector.detect_features(sequence, name="video").segments
    frozen = rows_of(tiny_dense.create_backbone(tiny_dense.NAME), frames)
    assert frozen.shape == rows.shape and not np.allclose(frozen, rows, atol=1e-2)
