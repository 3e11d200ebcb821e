"""Where a video's features are: a file of its own, or one entry of a file that holds many videos; and reading them.

Published features come as `.npy`, `.npz`, `.pt`, `.safetensors`, `.pkl` and `.h5`. Nothing in them is executed, and an
HDF5 file leads to no other file.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from extractors.store import (
    FORMATS,
    FeatureError,
    FeatureSequence,
    as_features,
    description_path,
    first_line,
    load_features,
    parse_description,
)
from tal_cli.errors import Missing

KEYED = ("h5", "hdf5", "pkl", "npz", "safetensors", "pt")  # what can hold many videos
ALONE = (*FORMATS, "pkl", "h5", "hdf5")
ARRAY_NAMES = ("features", "feats", "feature")
PARTS = ("slow_feature", "fast_feature")  # TCANet's SlowFast features: two arrays [1, channels, T] of one video
PREFIX = "v_"  # of ActivityNet's video files, which its annotations leave out
LARGEST = 8 << 30  # bytes of one video's features in HDF5, whose size says nothing of what it unpacks to


@dataclass(frozen=True)
class FeatureFile:
    """One video's features: a file, and where that holds many videos, the video's entry."""

    path: Path
    key: str | None = None

    def __str__(self) -> str:
        return f"{self.path}" if self.key is None else f"{self.path}[{self.key}]"

    def outline(self) -> FeatureSequence:
        """The same as `load`, without reading values where the form allows it: all features are then zero.

        Raises:
            FeatureError, Missing: as `load` does.
        """
        suffix = self.path.suffix[1:].lower()
        shape = self._shape(suffix)
        if len(shape) != 2 or 0 in shape:
            return self.load()
        return self._sequence(np.broadcast_to(np.float32(0), shape))

    def _shape(self, suffix: str) -> tuple[int, ...]:
        """The array's shape, empty where only reading it tells."""
        try:
            if suffix == "npy":
                return tuple(np.load(self.path, mmap_mode="r", allow_pickle=False).shape)
            return _h5_shape(self.path, self.key) if suffix in ("h5", "hdf5") else ()
        except (OSError, ValueError, EOFError):
            return ()

    def load(self) -> FeatureSequence:
        """Read them; the contract is None where nothing beside the file tells it.

        Raises:
            FeatureError: missing, damaged, or no finite numbers [T, C].
            Missing: a package that reads this form is not installed.
        """
        suffix = self.path.suffix[1:].lower()
        if self.key is None and suffix in FORMATS:
            return load_features(self.path)
        return self._sequence(as_features(self._array(suffix), self.path))

    def _sequence(self, features: NDArray[np.float32]) -> FeatureSequence:
        description = description_path(self.path)
        if self.key is None and description.exists():
            return parse_description(description, features)
        return FeatureSequence(features=features, contract=None, fps=0.0, frames=0, duration=0.0)

    def _array(self, suffix: str) -> NDArray[Any]:
        try:
            return READERS[suffix](self.path, self.key)
        except (Missing, FeatureError):
            raise
        except FileNotFoundError:
            raise FeatureError(self.path, "no such file") from None
        except Exception as error:  # each reader has its own kinds; a hostile file can raise any of them
            raise FeatureError(self.path, f"it holds no features that can be read ({first_line(error)})") from None


def find_features(place: Path, name: str, subset: str | None = None) -> FeatureFile | None:
    """A video's features, whatever their format; no name leads out of the folder.

    Args:
        place: a folder of files VIDEO.npy (or v_VIDEO.npy, SUBSET/VIDEO.npy, SUBSET.h5), or a file that holds all.
        name: the video's.
        subset: the video's, for data sets that keep subsets apart.
    """
    if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
        return None
    if place.is_file():
        return _entry(place, name)
    folders = [place] if subset is None else [place, place / subset]
    for folder in folders:
        for stem in (name, PREFIX + name):
            for suffix in ALONE:
                path = folder / f"{stem}.{suffix}"
                if path.is_file():
                    return FeatureFile(path)
    files = (place / f"{subset}.{suffix}" for suffix in KEYED) if subset is not None else ()
    return next((found for path in files if path.is_file() and (found := _entry(path, name))), None)


def usual_place(root: Path) -> Path:
    """`features/` in a data set's folder, or the file features.h5 (.pkl, .npz, ...) there that holds all videos."""
    files = (root / f"features.{suffix}" for suffix in KEYED)
    folder = root / "features"
    return folder if folder.is_dir() else next((path for path in files if path.is_file()), folder)


def _entry(path: Path, name: str) -> FeatureFile | None:
    keys = keys_of(path, path.stat().st_mtime_ns)
    key = next((key for key in (name, PREFIX + name) if key in keys), None)
    return None if key is None else FeatureFile(path, key)


@lru_cache(maxsize=4)
def keys_of(path: Path, changed: int) -> frozenset[str]:
    """Names of the videos in a file that holds many; `changed` is the file's time, so that a new file is read anew.

    Raises:
        FeatureError: the file cannot be read, or holds no videos by name.
        Missing: a package that reads this form is not installed.
    """
    suffix = path.suffix[1:].lower()
    if suffix not in KEYED:
        raise FeatureError(path, f"features of many videos are read from {', '.join(KEYED)}")
    try:
        return frozenset(_h5_keys(path) if suffix in ("h5", "hdf5") else _whole(path, changed))
    except (Missing, FeatureError):
        raise
    except Exception as error:
        raise FeatureError(path, f"it holds no features that can be read ({first_line(error)})") from None


@lru_cache(maxsize=2)
def _whole(path: Path, changed: int) -> dict[str, Any]:
    """All entries of a file that is read as a whole."""
    content = WHOLE[path.suffix[1:].lower()](path)
    if not isinstance(content, dict):
        raise FeatureError(path, "it holds one array, not videos by name")
    return {str(key): value for key, value in content.items()}


def _read_pkl(path: Path) -> Any:
    from tal_cli.datasets.safe_pickle import load_arrays

    return load_arrays(path)


def _read_npz(path: Path) -> Any:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _read_pt(path: Path) -> Any:
    import torch

    content = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(content, dict):
        return content.float().numpy()
    return {key: tensor.float().numpy() for key, tensor in content.items()}


def _read_safetensors(path: Path) -> Any:
    from safetensors.numpy import load_file

    return load_file(path)


WHOLE: dict[str, Callable[[Path], Any]] = {
    "pkl": _read_pkl,
    "npz": _read_npz,
    "pt": _read_pt,
    "safetensors": _read_safetensors,
}


def _from_whole(path: Path, key: str | None) -> NDArray[Any]:
    if key is not None:
        return _only(_whole(path, path.stat().st_mtime_ns)[key])
    return _only(WHOLE[path.suffix[1:].lower()](path))


def _only(content: Any) -> NDArray[Any]:
    """One video's array [T, C], from an array or the dictionary around it."""
    if isinstance(content, dict):
        if all(isinstance(content.get(part), np.ndarray) for part in PARTS):
            joined = np.concatenate([content[part] for part in PARTS], axis=-2)
            return np.moveaxis(joined.reshape(joined.shape[-2:]), 0, 1)
        named = next((content[name] for name in ARRAY_NAMES if name in content), None)
        if named is None and len(content) != 1:
            raise ValueError(f"{len(content)} entries, none called {ARRAY_NAMES[0]}")
        content = next(iter(content.values())) if named is None else named
    if not isinstance(content, np.ndarray):
        raise ValueError("no array")
    return content


def _h5() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise Missing("features in HDF5 need h5py", "pip install 'tal-cli[h5]'") from error
    return h5py


def _h5_keys(path: Path) -> list[str]:
    with _h5().File(path, "r") as file:
        return list(file.keys())


def _from_h5(path: Path, key: str | None) -> NDArray[Any]:
    with _h5().File(path, "r") as file:
        values: NDArray[Any] = _h5_data(file, key)[()]
        return values


def _h5_shape(path: Path, key: str | None) -> tuple[int, ...]:
    with _h5().File(path, "r") as file:
        return tuple(_h5_data(file, key).shape)


def _h5_data(file: Any, key: str | None) -> Any:
    """One video's numbers, not read yet. Raises ValueError where there are none in the file itself."""
    h5py = _h5()
    node = _h5_child(file, key) if key is not None else file
    if isinstance(node, h5py.Group):
        names = [name for name in ARRAY_NAMES if name in node] or list(node.keys())
        if len(names) != 1:
            raise ValueError(f"{len(names)} entries, none called {ARRAY_NAMES[0]}")
        node = _h5_child(node, names[0])
    # Links, virtual and external data sets are ways into other files.
    if not isinstance(node, h5py.Dataset) or node.external or node.is_virtual:
        raise ValueError("no array of its own")
    if node.dtype.kind not in "biuf" or node.size * node.dtype.itemsize > LARGEST:
        raise ValueError(f"{node.dtype} {list(node.shape)} instead of numbers, or too many")
    return node


def _h5_child(group: Any, name: str) -> Any:
    if not isinstance(group.get(name, getlink=True), _h5().HardLink):
        raise ValueError(f"{name} is a link")
    return group[name]


READERS: dict[str, Callable[[Path, str | None], NDArray[Any]]] = {
    **dict.fromkeys(WHOLE, _from_whole),
    "h5": _from_h5,
    "hdf5": _from_h5,
}
