"""A small dense extractor with weights by formula, put into the catalog of this process."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tal_cli.extractors.backbones import create_backbone
from tal_cli.extractors.backbones.vit.videomae import VideoMAEShape, dense_blueprint
from tal_cli.extractors.catalog import BACKBONES, find
from tal_cli.extractors.extraction.extractor import extract_features
from tal_cli.extractors.features.files import save_features
from tal_cli.extractors.features.identity import identity_of
from tal_cli.extractors.files.weights import WeightsSource, weights_path
from tal_cli.selftest.formula import filled

NAME = "tiny-dense"
BLUEPRINT = dense_blueprint(VideoMAEShape(16, 3, 2, 32))


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make `NAME` an extractor with weights under TAL_HOME."""
    base = find("videomaev2-s-dense")
    contract = replace(
        base.contract,
        extractor=NAME,
        channels=16,
        sampling_rate=8.0,
        resize="bilinear 8-bit 32x32",
        crop="none",
        layer="last block",
    )
    source = WeightsSource(file="tiny-dense.safetensors", url="https://example.org/tiny", page="", licence="none")
    entry = replace(base, name=NAME, contract=contract, blueprint="tiny_dense:BLUEPRINT", weights=(source,))
    monkeypatch.setitem(BACKBONES.built_in, NAME, entry)
    with torch.device("meta"):
        (network,) = BLUEPRINT.networks(contract)
    path = weights_path(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(filled(network), path)


def extract(videos: Path, folder: Path) -> None:
    """The frozen features of every video in a folder."""
    backbone = create_backbone(NAME)
    for video in sorted(videos.glob("*.mp4")):
        sequence = replace(extract_features(video, backbone), source=identity_of(str(video)))
        save_features(sequence, folder / f"{video.stem}.npy")


def moving_frames(seconds: int, action: tuple[int, int], seed: int) -> np.ndarray:
    """Dim noise at 8 frames per second, in which stripes move from second to second of the action."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 80, (8 * seconds, 48, 64, 3), dtype=np.uint8)
    for index in range(8 * action[0], 8 * action[1]):
        frames[index, :, (np.arange(64) + 4 * index) % 16 < 8] += 150
    return frames
