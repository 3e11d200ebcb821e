"""Small videos to test on: encoded here, or broken on purpose by the shared folder's script."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from tal_cli.extractors.features.contract import FeatureContract

Encode = Callable[..., Path]


def moving_pictures(count: int, width: int = 64, height: int = 48) -> NDArray[np.uint8]:
    """uint8 [count, height, width, 3]: a ramp that moves, brighter to the right, its blue counting the frames."""
    y, x = np.mgrid[:height, :width]
    frames = np.zeros((count, height, width, 3), np.uint8)
    for index in range(count):
        frames[index, ..., 0] = 40 + x * 150 // width
        frames[index, ..., 1] = (60 + y * 2 + index * 3) % 200
        frames[index, ..., 2] = 20 + index * 5 % 200
    return frames


@pytest.fixture(scope="session")
def encode() -> Encode:
    """A function that writes uint8 [N, H, W, 3] to a video file; stamps in milliseconds, or a constant rate."""

    def write(
        path: Path,
        frames: NDArray[np.uint8],
        *,
        rate: int = 25,
        stamps: Sequence[int] | None = None,
        codec: str = "libx264",
        pixels: str = "yuv420p",
    ) -> Path:
        with av.open(str(path), "w") as container:
            stream = container.add_stream(codec, rate=rate)
            stream.height, stream.width = frames.shape[1:3]
            stream.pix_fmt = pixels
            stream.options = {"crf": "10", "preset": "ultrafast"} if codec == "libx264" else {}
            if stamps is not None:
                stream.codec_context.time_base = Fraction(1, 1000)
            for index, picture in enumerate(frames):
                frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
                frame.pts = index if stamps is None else stamps[index]
                frame.time_base = Fraction(1, rate) if stamps is None else Fraction(1, 1000)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path

    return write


@pytest.fixture(scope="session")
def plain(encode: Encode, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 frames of 64x48 at 25 per second."""
    return encode(tmp_path_factory.mktemp("plain") / "plain.mp4", moving_pictures(60))


@dataclass(frozen=True)
class Broken:
    """A folder of broken and unusual files, and what its manifest expects of each."""

    folder: Path
    manifest: dict[str, dict[str, object]]

    def expecting(self, what: str) -> list[tuple[Path, dict[str, object]]]:
        """The files of which that is expected, with their entries."""
        return [
            (self.folder / name.replace("\\xff", "\udcff"), entry)
            for name, entry in self.manifest.items()
            if entry["expect"] == what
        ]


@pytest.fixture(scope="session")
def broken(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Broken:
    """All files of make_broken.py."""
    folder = tmp_path_factory.mktemp("broken")
    script = shared / "videos" / "make_broken.py"
    subprocess.run([sys.executable, str(script), str(folder), "--extra"], check=True, capture_output=True)
    return Broken(folder, json.loads((folder / "manifest.json").read_text(encoding="utf8")))


def mean_contract(**changes: object) -> FeatureContract:
    """The contract of MeanColour, with changes."""
    values: dict[str, object] = {
        "extractor": "mean",
        "weights_sha256": None,
        "sampling_rate": None,
        "max_rate": None,
        "window": 16,
        "stride": 4,
        "alignment": "center",
        "resize": "area",
        "crop": "none",
        "value_range": "0..255",
        "layer": "mean",
        "pooling": "mean",
        "channels": 3,
    }
    return FeatureContract(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def contract() -> Callable[..., FeatureContract]:
    """A function that makes a contract with some fields changed."""
    return mean_contract
