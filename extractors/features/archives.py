"""Reading features from the forms that can hold many videos: HDF5, pickles, `.npz`, safetensors, `.pt`.

Nothing in a file is executed, and an HDF5 file leads to no other file. What goes wrong raises whatever the form's
reader raises; `feature_files` turns it into an error that names the file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tal_cli.extractors.errors import MissingError
from tal_cli.extractors.features.files import LARGEST, load_tensors, only_name, open_npz

PARTS = ("slow_feature", "fast_feature")  # TCANet's SlowFast features: two arrays [1, channels, T] of one video


@dataclass(frozen=True)
class Form:
    """How a form is read: the names of what a file holds; and the array of a name, or without one the file's."""

    keys: Callable[[Path], Iterable[str]]
    read: Callable[[Path, str | None], NDArray[Any]]


def _only(content: Any) -> NDArray[Any]:
    """One video's array [T, C], from an array or the dictionary around it."""
    if isinstance(content, dict):
        if all(isinstance(content.get(part), np.ndarray) for part in PARTS):
            joined = np.concatenate([content[part] for part in PARTS], axis=-2)
            return np.moveaxis(joined.reshape(joined.shape[-2:]), 0, 1)
        content = content[only_name(content)]
    if not isinstance(content, np.ndarray):
        raise ValueError("no array")
    return content


@lru_cache(maxsize=2)
def _content(path: Path, changed: int) -> Any:
    """What a file holds that can only be read as a whole; `changed` is its time."""
    return WHOLE[path.suffix[1:].lower()](path)


def _whole_keys(path: Path) -> Iterable[str]:
    content = _content(path, path.stat().st_mtime_ns)
    if not isinstance(content, dict):
        raise ValueError("one array, not videos by name")
    return [key for key in content if isinstance(key, str)]


def _whole_read(path: Path, key: str | None) -> NDArray[Any]:
    if key is None:
        return _only(WHOLE[path.suffix[1:].lower()](path))
    return _only(_content(path, path.stat().st_mtime_ns)[key])


def _read_pkl(path: Path) -> Any:
    from tal_cli.extractors.files.pickles import load_arrays

    return load_arrays(path)


def _read_pt(path: Path) -> Any:
    content = load_tensors(path)
    if not isinstance(content, dict):
        return content.detach().float().numpy()
    tensors = {key: value for key, value in content.items() if hasattr(value, "detach")}
    return {key: tensor.detach().float().numpy() for key, tensor in tensors.items()}


WHOLE: dict[str, Callable[[Path], Any]] = {"pkl": _read_pkl, "pt": _read_pt}


def _npz_keys(path: Path) -> Iterable[str]:
    with open_npz(path) as arrays:
        return list(arrays.files)


def _npz_read(path: Path, key: str | None) -> NDArray[Any]:
    with open_npz(path) as arrays:
        return _only(arrays[only_name(arrays.files) if key is None else key])


def _safetensors_keys(path: Path) -> Iterable[str]:
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return list(file.keys())


def _safetensors_read(path: Path, key: str | None) -> NDArray[Any]:
    from safetensors import safe_open

    with safe_open(path, "np") as file:
        return _only(file.get_tensor(only_name(file.keys()) if key is None else key))


def _h5() -> Any:
    try:
        import h5py
    except ImportError as error:
        raise MissingError("features in HDF5 need h5py", "pip install 'tal-cli[h5]'") from error
    return h5py


def _h5_keys(path: Path) -> list[str]:
    with _h5().File(path, "r") as file:
        return list(file.keys())


def _h5_read(path: Path, key: str | None) -> NDArray[Any]:
    with _h5().File(path, "r") as file:
        values: NDArray[Any] = _h5_data(file, key)[()]
        return values


def h5_shape(path: Path, key: str | None) -> tuple[int, ...]:
    """The shape of one video's array in an HDF5 file, without reading it."""
    with _h5().File(path, "r") as file:
        return tuple(_h5_data(file, key).shape)


def _h5_data(file: Any, key: str | None) -> Any:
    """One video's numbers, not read yet. Raises ValueError where there are none in the file itself."""
    h5py = _h5()
    node = _h5_child(file, key) if key is not None else file
    if isinstance(node, h5py.Group):
        node = _h5_child(node, only_name(node.keys()))
    # Links, virtual and external data sets are ways into other files.
    if not isinstance(node, h5py.Dataset) or node.external or node.is_virtual:
        raise ValueError("no array of its own")
    if node.dtype.kind not in "iuf" or node.size * node.dtype.itemsize > LARGEST:
        raise ValueError(f"{node.dtype} {list(node.shape)} instead of numbers, or too many")
    return node


def _h5_child(group: Any, name: str) -> Any:
    if not isinstance(group.get(name, getlink=True), _h5().HardLink):
        raise ValueError(f"{name} is a link")
    return group[name]


_H5 = Form(_h5_keys, _h5_read)
_WHOLE = Form(_whole_keys, _whole_read)
FORMS = {
    "h5": _H5,
    "hdf5": _H5,
    "pkl": _WHOLE,
    "npz": Form(_npz_keys, _npz_read),
    "safetensors": Form(_safetensors_keys, _safetensors_read),
    "pt": _WHOLE,
}
