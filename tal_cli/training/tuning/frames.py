"""Frames of the videos of a run, on disk: decoded and resized once, read in any order."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal_cli.datasets.training_data import FeatureVideo
from tal_cli.extractors.backbones.preprocessing import Preparation, channels_first, resize, rounded
from tal_cli.extractors.errors import InputError, MissingError
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.grid import WindowGrid
from tal_cli.extractors.features.identity import identity_of
from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.extractors.video.stream import read_frames
from tal_cli.inputs import find_videos

SIZE = np.dtype("<u4")  # height and width, at the beginning of a file
VERSION = 2  # of the files
NAMED = 5  # missing videos are listed up to this number


@dataclass(frozen=True)
class FrameStore:
    """Frames as an extractor reads them, resized and not yet cropped; one file of raw pixels per video.

    folder: of the files. contract: how frames are sampled and resized. paths: the video files by name.
    """

    folder: Path
    contract: FeatureContract
    paths: Mapping[str, Path]

    @cached_property
    def keys(self) -> dict[str, str]:
        """What the frames of each video depend on, in hexadecimal digits: the file, and how it is read."""
        read = (VERSION, self.contract.sampling_rate, self.contract.max_rate, self.contract.resize)
        said = {name: repr((identity_of(str(path)).sha256, *read)) for name, path in self.paths.items()}
        return {name: hashlib.sha256(text.encode()).hexdigest()[:16] for name, text in said.items()}

    def prepare(self, progress: Callable[[int, int], None]) -> None:
        """Decode the videos whose frames are not there. Raises VideoError; InputError where they cannot be written."""
        for number, name in enumerate(self.paths):
            if not self._file(name).is_file():
                write_atomically(self._file(name), partial(self._decode, name))
            progress(number + 1, len(self.paths))

    def check(self, videos: Sequence[FeatureVideo]) -> None:
        """Raise InputError if the frames of a video, prepared, are not those of which it has features."""
        grid = WindowGrid.of(self.contract)
        for video in videos:
            name = video.annotation.name
            rows = video.length if video.resampling is None else video.resampling.cells
            made = grid.count(len(self.all(name)))
            if made != rows:
                raise InputError(
                    self.paths[name],
                    f"its {len(self.all(name))} frames make {made} rows of features, and {video.file} has {rows}",
                    "extract its features again with `tal extract-features`",
                )

    def all(self, name: str) -> NDArray[np.uint8]:
        """Every frame of a video, uint8 [N, height, width, 3], mapped from its file."""
        height, width = np.fromfile(self._file(name), SIZE, 2).tolist()
        pixels = np.memmap(self._file(name), np.uint8, "r", offset=2 * SIZE.itemsize)
        return pixels.reshape(-1, height, width, 3)

    def read(self, name: str, start: int, stop: int) -> Tensor:
        """The frames [start, stop) of a video, the first and the last one repeated beyond its ends."""
        frames = self.all(name)
        return torch.from_numpy(frames[np.clip(np.arange(start, stop), 0, len(frames) - 1)])

    def _file(self, name: str) -> Path:
        return self.folder / f"{self.keys[name]}.rgb"

    def _decode(self, name: str, file: BinaryIO) -> None:
        preparation = Preparation.of(self.contract)
        stream = read_frames(
            self.paths[name],
            frame_size=preparation.frame_size,
            sampling_rate=self.contract.sampling_rate,
            max_rate=self.contract.max_rate,
        )
        with stream:
            for chunk in stream:
                images = resize(channels_first(torch.from_numpy(chunk.frames)), preparation.resize)
                pixels = images if images.dtype == torch.uint8 else rounded(images)
                if not file.tell():
                    file.write(np.array(pixels.shape[2:], SIZE).tobytes())
                file.write(pixels.permute(0, 2, 3, 1).contiguous().numpy().tobytes())
        if not file.tell():
            raise InputError(self.paths[name], "no frame of it can be decoded")


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
