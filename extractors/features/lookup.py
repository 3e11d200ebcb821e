"""Finds a video's features: a file of its own, or one entry of a file with many videos."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath

import numpy as np

from tal_cli.extractors.errors import FeatureError
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.files import (
    description_path,
    load_features,
    parse_contract,
    read_description,
    reading,
    with_description,
)
from tal_cli.extractors.features.formats import ARCHIVES, FORMATS, suffix_of
from tal_cli.extractors.features.sequence import FeatureSequence

PREFIX = "v_"  # prefix of ActivityNet's video files, which its annotations omit


@dataclass(frozen=True)
class FeatureFile:
    """Location of one video's features: a file, and the video's entry if the file holds many."""

    path: Path
    key: str | None = None

    def __str__(self) -> str:
        return f"{self.path}" if self.key is None else f"{self.path}[{self.key}]"

    def contract(self) -> FeatureContract | None:
        """What the description beside the file says, if there is one; the features are not looked at.

        Raises:
            FeatureError: the description is damaged.
        """
        description = description_path(self.path)
        if self.key is not None or not description.exists():
            return None
        return parse_contract(description, read_description(description))

    def outline(self) -> FeatureSequence:
        """As `load`, without reading values if the format allows it: all features are then zero.

        Raises:
            FeatureError, MissingError: as `load` does.
        """
        shape = self._shape()
        if len(shape) != 2 or 0 in shape:
            return self.load()
        return with_description(np.broadcast_to(np.float32(0), shape), self.path, self.key)

    def _shape(self) -> tuple[int, ...]:
        """The array's shape, empty if the array must be read for it."""
        try:
            shape = FORMATS[suffix_of(self.path)].shape
            return () if shape is None else shape(self.path, self.key)
        except Exception:  # reading the file raises the actual error
            return ()

    def load(self, *, mapped: bool = False) -> FeatureSequence:
        """Reads the features, or with `mapped` maps them into memory if the format allows; the contract is None if
        there is no description beside the file.

        Raises:
            FeatureError: missing, damaged, or not finite numbers [T, C].
            MissingError: a package that reads this format is not installed.
        """
        return load_features(self.path, self.key, mapped=mapped)


def find_features(source: Path, name: str, subset: str | None = None) -> FeatureFile | None:
    """The location of a video's features in any format; no name can lead out of the folder.

    Args:
        source: a folder of files VIDEO.npy (or v_VIDEO.npy, SUBSET/VIDEO.npy, SUBSET.h5), or a file that holds all.
        name: the video's name.
        subset: the video's subset, for data sets with one folder or file per subset.
    """
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return None
    if source.is_file():
        return _entry(source, name)
    folders = [source] if subset is None else [source, source / subset]
    for folder in folders:
        for stem in (name, PREFIX + name):
            for suffix in FORMATS:
                path = folder / f"{stem}.{suffix}"
                if path.is_file():
                    return FeatureFile(path)
    files = (source / f"{subset}.{suffix}" for suffix in ARCHIVES) if subset is not None else ()
    return next((found for path in files if path.is_file() and (found := _entry(path, name))), None)


def default_source(root: Path) -> Path:
    """`features/` in a data set's folder, or the file features.h5 (.pkl, .npz, ...) there that holds all videos."""
    files = (root / f"features.{suffix}" for suffix in ARCHIVES)
    folder = root / "features"
    return folder if folder.is_dir() else next((path for path in files if path.is_file()), folder)


def _entry(path: Path, name: str) -> FeatureFile | None:
    keys = keys_of(path, path.stat().st_mtime_ns)
    key = next((key for key in (name, PREFIX + name) if key in keys), None)
    return None if key is None else FeatureFile(path, key)


@lru_cache(maxsize=4)
def keys_of(path: Path, changed: int) -> frozenset[str]:
    """Names of the videos in a file that holds many; a new modification time `changed` makes it read again.

    Raises:
        FeatureError: the file cannot be read, or holds no videos by name.
        MissingError: a package that reads this format is not installed.
    """
    names = FORMATS[suffix_of(path)].names if suffix_of(path) in FORMATS else None
    if names is None:
        raise FeatureError(path, f"features of many videos are read from {', '.join(ARCHIVES)}")
    with reading(path):
        return frozenset(names(path))
