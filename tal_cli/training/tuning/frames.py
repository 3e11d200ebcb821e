"""Frames of the videos of a run, on disk: decoded and resized once, read in any order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal_cli.datasets.training_data import FeatureVideo
from tal_cli.extractors.backbones.preprocessing import Preparation, channels_first, resize, rounded
from tal_cli.extractors.errors import InputError, MissingError
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.files.atomic import naming
from tal_cli.extractors.video.stream import read_frames
from tal_cli.inputs import find_videos

NAMED = 5  # missing videos are listed up to this number


@dataclass(frozen=True)
class FrameStore:
    """Frames as an extractor reads them, resized and not yet cropped; one file of raw pixels per video.

    folder: of the files. contract: how frames are sampled and resized. paths: the video files by name.
    """

    folder: Path
    contract: FeatureContract
    paths: Mapping[str, Path]

    def prepare(self, progress: Callable[[int, int], None]) -> None:
        """Decode the videos whose frames are not there. Raises VideoError; InputError where they cannot be written."""
        with naming(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(self.paths):
            if not self._found(name):
                self._decode(name)
            progress(number + 1, len(self.paths))

    def all(self, name: str) -> NDArray[np.uint8]:
        """Every frame of a video, uint8 [N, height, width, 3], mapped from its file."""
        (path,) = self._found(name)
        height, width = map(int, path.stem.rpartition("-")[2].split("x"))
        return np.memmap(path, np.uint8, "r").reshape(-1, height, width, 3)

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """The frames [start, stop) of a video, the first and the last one repeated beyond its ends."""
        frames = self.all(name)
        return torch.from_numpy(frames[np.clip(np.arange(start, stop), 0, len(frames) - 1)])

    def _found(self, name: str) -> list[Path]:
        return list(self.folder.glob(f"{self._digest(name)}-*.rgb"))

    def _digest(self, name: str) -> str:
        said = (self.contract.sampling_rate, self.contract.max_rate, self.contract.resize)
        return hashlib.sha256(repr((name, *said)).encode()).hexdigest()[:16]

    def _decode(self, name: str) -> None:
        preparation = Preparation.of(self.contract)
        partial = self.folder / f"{self._digest(name)}.partial"
        size = (0, 0)
        stream = read_frames(
            self.paths[name],
            frame_size=preparation.frame_size,
            sampling_rate=self.contract.sampling_rate,
            max_rate=self.contract.max_rate,
        )
        with stream, naming(partial), partial.open("wb") as file:
            for chunk in stream:
                images = resize(channels_first(torch.from_numpy(chunk.frames)), preparation.resize)
                pixels = images if images.dtype == torch.uint8 else rounded(images)
                size = (pixels.shape[2], pixels.shape[3])
                file.write(pixels.permute(0, 2, 3, 1).contiguous().numpy().tobytes())
        if not size[0]:
            raise InputError(self.paths[name], "no frame of it can be decoded")
        partial.rename(self.folder / f"{self._digest(name)}-{size[0]}x{size[1]}.rgb")


def video_paths(videos: Sequence[FeatureVideo], folder: Path | None) -> dict[str, Path]:
    """The file of every video by name: in a folder, or where its features were extracted from.

    Raises:
        MissingError: some are not there.
    """
    if folder is not None and not folder.is_dir():
        raise MissingError(f"{folder}: no such folder of videos")
    by_name = {} if folder is None else {path.stem: path for path in find_videos(folder)}
    paths: dict[str, Path] = {}
    missing = []
    for video in videos:
        name, source = video.annotation.name, video.sequence.source
        path = by_name.get(name) if folder is not None else Path(source.path) if source is not None else None
        if path is None or not path.is_file():
            missing.append(name)
        else:
            paths[name] = path
    if missing:
        rest = f" and {len(missing) - NAMED} more" if len(missing) > NAMED else ""
        where = "where its features were extracted from" if folder is None else f"in {folder}"
        raise MissingError(
            f"no video file of {', '.join(missing[:NAMED])}{rest} {where}", "give the folder with --videos DIR"
        )
    return paths
