"""Small dense extractors with weights by formula, put into the catalog of this process, and videos for them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from tal_cli.extractors.backbones import create_backbone
from tal_cli.extractors.backbones.i3d.streams import DENSE_RGB
from tal_cli.extractors.backbones.vit import videoprism, vjepa
from tal_cli.extractors.backbones.vit.videomae import VideoMAEShape, dense_blueprint
from tal_cli.extractors.backbones.vit.videoprism import VideoPrismShape
from tal_cli.extractors.backbones.vit.vjepa import VJepaShape
from tal_cli.extractors.catalog import BACKBONES, find
from tal_cli.extractors.extraction.extractor import extract_features
from tal_cli.extractors.features.files import save_features
from tal_cli.extractors.features.identity import identity_of
from tal_cli.extractors.files.weights import WeightsSource, weights_path
from tal_cli.selftest.formula import filled

NAME = "tiny-dense"
BLUEPRINT = dense_blueprint(VideoMAEShape(16, 3, 2, 32))
VJEPA = vjepa.blueprint(VJepaShape(24, 3, 2, 48), second=False)
PRISM = videoprism.blueprint(VideoPrismShape(16, 2, 1, 2, 32, frames=4, places=4))
I3D = DENSE_RGB
# Networks: the extractor that each is a small form of, channels, and pixels of an image's side.
NETWORKS = {
    "BLUEPRINT": ("videomaev2-s-dense", 16, 32),
    "VJEPA": ("vjepa2-l", 24, 32),
    "PRISM": ("videoprism-b", 16, 36),
    "I3D": ("i3d-rgb-dense", 1024, 32),
}


def install(monkeypatch: pytest.MonkeyPatch, network_name: str = "BLUEPRINT") -> None:
    """Make `NAME` an extractor with weights under TAL_HOME, of one of `NETWORKS`."""
    full, channels, side = NETWORKS[network_name]
    base = find(full)
    contract = replace(
        base.contract,
        extractor=NAME,
        channels=channels,
        sampling_rate=8.0,
        resize=f"bilinear 8-bit {side}x{side}",
        crop="none",
        layer="last block" if "videomae" in full else base.contract.layer,
    )
    file = f"{network_name}.safetensors"
    source = WeightsSource(file=file, url="https://example.org/tiny", page="", licence="none")
    entry = replace(base, name=NAME, contract=contract, blueprint=f"tiny_dense:{network_name}", weights=(source,))
    monkeypatch.setitem(BACKBONES.built_in, NAME, entry)
    with torch.device("meta"):
        (network,) = globals()[network_name].networks(contract)
    path = weights_path(source)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(filled(network), path)


def extract(videos: Path, folder: Path) -> None:
    """The frozen features of every video in a folder."""
    backbone = create_backbone(NAME)
    for video in sorted(videos.glob("*.mp4")):
        sequence = replace(extract_features(video, backbone), source=identity_of(str(video)))
        save_features(sequence, folder / f"{video.stem}.npy")


def write_video(path: Path, frames: np.ndarray) -> None:
    """Frames uint8 [N, H, W, 3] as a video of 8 frames per second."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(8))
        stream.width, stream.height, stream.pix_fmt = frames.shape[2], frames.shape[1], "yuv420p"
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def moving_frames(seconds: int, action: tuple[int, int], seed: int) -> np.ndarray:
    """Dim noise at 8 frames per second, in which stripes move from second to second of the action."""
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 80, (8 * seconds, 48, 64, 3), dtype=np.uint8)
    for index in range(8 * action[0], 8 * action[1]):
        frames[index, :, (np.arange(64) + 4 * index) % 16 < 8] += 150
    return frames
