"""Formats of feature files: how each is read and written, with one video in a file or many.

No library is imported before a format needs it. Nothing in a file is executed, and an HDF5 file leads to no other file.
Reading raises whatever a format's library raises; `files.py` turns it into an error that names the file.
"""

from __future__ import annotations

import math
import os
import pickle
import zipfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from tal_cli.extractors.errors import MissingError
from tal_cli.extractors.files.bounds import FREE, check_archive, check_safetensors, check_size, load_tensors

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DEFLATED = 1032  # bytes that one can stand for at most
ARRAY_NAMES = ("features", "feats", "feature")
SLOW_FAST = ("slow_feature", "fast_feature")  # TCANet's SlowFast features: two arrays [1, channels, T] of one video


@dataclass(frozen=True)
class Format:
    """One format.

    read: reads the array of the video of that name, or without a name the only video's.
    names: lists the names in a file; None for formats with one array without a name.
    shape: reads the array's shape without its values; None for formats that must be read in full.
    map: maps the array into memory, copy-on-write; None for formats that cannot be mapped.
    write: writes features [T, C]; None for read-only formats.
    """

    read: Callable[[Path, str | None], NDArray[Any]]
    names: Callable[[Path], Iterable[str]] | None = None
    shape: Callable[[Path, str | None], tuple[int, ...]] | None = None
    map: Callable[[Path], NDArray[Any]] | None = None
    write: Callable[[NDArray[np.float32], BinaryIO], object] | None = None


def suffix_of(path: str | os.PathLike[str]) -> str:
    """The key in FORMATS for a path's suffix, if known."""
    return os.path.splitext(path)[1][1:].lower()


def is_feature_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file's suffix is that of a feature format."""
    return suffix_of(path) in FORMATS


def only_name(names: Iterable[str]) -> str:
    """The name of the features among those in a file of one video. Raises ValueError."""
    known = list(names)
    named = next((name for name in ARRAY_NAMES if name in known), None)
    if named is None and len(known) != 1:
        raise ValueError(f"{len(known)} arrays, none called {ARRAY_NAMES[0]}")
    return known[0] if named is None else named


def array_in(content: Any) -> NDArray[Any]:
    """One video's array [T, C], from an array or the dictionary around it. Raises ValueError."""
    import numpy as np

    if isinstance(content, dict):
        if all(isinstance(content.get(name), np.ndarray) for name in SLOW_FAST):
            joined = np.concatenate([content[name] for name in SLOW_FAST], axis=-2)
            return np.moveaxis(joined.reshape(joined.shape[-2:]), 0, 1)
        content = content[only_name(content)]
    if not isinstance(content, np.ndarray):
        raise ValueError("no array")
    return content


def read_npy(path: Path, name: str | None) -> NDArray[Any]:
    import numpy as np

    with path.open("rb") as file:
        values: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
        return values


def map_npy(path: Path) -> NDArray[Any]:
    import numpy as np

    # A plain array, so that a copy of it is one, too, and no `memmap` without a map.
    return np.asarray(np.load(path, mmap_mode="c", allow_pickle=False))


def npy_shape(path: Path, name: str | None) -> tuple[int, ...]:
    array = map_npy(path)
    return tuple(array.shape) if array.dtype.kind in "iuf" else ()


def write_npy(features: NDArray[np.float32], file: BinaryIO) -> None:
    from numpy.lib import format

    format.write_array_header_1_0(file, format.header_data_from_array_1_0(features))
    file.write(features.data)  # not through numpy, whose error says nothing of a full disk


def open_npz(path: Path) -> Any:
    """The arrays in an .npz file, to be closed by the caller.

    Raises ValueError for another kind of file, or one that unpacks to far more than it is long.
    """
    import numpy as np

    if not zipfile.is_zipfile(path):
        raise ValueError("not an archive of arrays")
    check_archive(path)
    return np.load(path, allow_pickle=False)


def npz_names(path: Path) -> list[str]:
    with open_npz(path) as arrays:
        return list(arrays.files)


def read_npz(path: Path, name: str | None) -> NDArray[Any]:
    with open_npz(path) as arrays:
        return array_in(arrays[only_name(arrays.files) if name is None else name])


def write_npz(features: NDArray[np.float32], file: BinaryIO) -> None:
    import numpy as np

    np.savez(file, features=features)


def safetensors_names(path: Path) -> list[str]:
    from safetensors import safe_open

    check_safetensors(path)
    with safe_open(path, "np") as file:
        return list(file.keys())


def read_safetensors(path: Path, name: str | None) -> NDArray[Any]:
    from safetensors import safe_open

    check_safetensors(path)
    with safe_open(path, "np") as file:
        return array_in(file.get_tensor(only_name(file.keys()) if name is None else name))


def write_safetensors(features: NDArray[np.float32], file: BinaryIO) -> None:
    from safetensors.numpy import save

    file.write(save({"features": features}))


def load_pt(path: Path) -> Any:
    """An array, or arrays by name. Raises ValueError for anything else; nothing in the file is executed."""
    import torch

    try:
        content = load_tensors(path)
    except pickle.UnpicklingError:
        raise ValueError("it is damaged or holds something other than tensors") from None
    if isinstance(content, torch.Tensor):
        return content.detach().float().numpy()
    if not isinstance(content, dict):
        raise ValueError(f"a {type(content).__name__} instead of a tensor")
    tensors = {key: value for key, value in content.items() if isinstance(value, torch.Tensor)}
    return {key: tensor.detach().float().numpy() for key, tensor in tensors.items()}


def write_pt(features: NDArray[np.float32], file: BinaryIO) -> None:
    import io

    import torch

    content = io.BytesIO()  # torch's own error says nothing of a full disk
    torch.save(torch.from_numpy(features), content)
    file.write(content.getbuffer())


def load_pkl(path: Path) -> Any:
    """An array, or arrays by name. Raises UnpicklingError for anything else; nothing in the file is executed."""
    from tal_cli.extractors.files.pickles import ARRAYS, TENSORS, read_arrays

    return read_arrays(path, ARRAYS | TENSORS)


LOAD: dict[str, Callable[[Path], Any]] = {"pkl": load_pkl, "pt": load_pt}  # formats that are read in full


@lru_cache(maxsize=2)
def _loaded(path: Path, changed: int) -> Any:
    """The content of a file, cached for its other videos; `changed` is its modification time."""
    return LOAD[suffix_of(path)](path)


def loaded_names(path: Path) -> list[str]:
    content = _loaded(path, path.stat().st_mtime_ns)
    if not isinstance(content, dict):
        raise ValueError("one array, not one per video name")
    return [key for key in content if isinstance(key, str)]


def read_loaded(path: Path, name: str | None) -> NDArray[Any]:
    if name is None:
        return array_in(LOAD[suffix_of(path)](path))
    return array_in(_loaded(path, path.stat().st_mtime_ns)[name])


def h5py() -> Any:
    """The package h5py. Raises MissingError if it is not installed."""
    try:
        import h5py
    except ImportError as error:
        raise MissingError("features in HDF5 need h5py", "pip install 'tal-cli[h5]'") from error
    return h5py


def h5_names(path: Path) -> list[str]:
    with h5py().File(path, "r") as file:
        return list(file.keys())


def read_h5(path: Path, name: str | None) -> NDArray[Any]:
    with h5py().File(path, "r") as file:
        values: NDArray[Any] = _h5_data(file, name)[()]
        return values


def h5_shape(path: Path, name: str | None) -> tuple[int, ...]:
    with h5py().File(path, "r") as file:
        return tuple(_h5_data(file, name).shape)


def _h5_data(file: Any, name: str | None) -> Any:
    """One video's data set, not read yet. Raises ValueError if the file itself does not contain it."""
    node = _h5_child(file, name) if name is not None else file
    if isinstance(node, h5py().Group):
        node = _h5_child(node, only_name(node.keys()))
    # Links, virtual and external data sets can lead to other files.
    if not isinstance(node, h5py().Dataset) or node.external or node.is_virtual:
        raise ValueError("no array of its own")
    if node.dtype.kind not in "iuf":
        raise ValueError(f"{node.dtype} {list(node.shape)} instead of numbers")
    _check_h5_size(node)
    return node


def _check_h5_size(node: Any) -> None:
    """Raises ValueError for an array of which the file stores little, or chunks that unpack to more than they are."""
    stored = min(node.id.get_storage_size(), os.path.getsize(node.file.filename))
    check_size(node.size * node.dtype.itemsize, stored)
    if node.chunks is None:
        return
    chunk = math.prod(node.chunks) * node.dtype.itemsize
    check_size(chunk, stored)
    if node.compression != "gzip":
        return
    for number in range(node.id.get_num_chunks()):
        found = node.id.get_chunk_info(number)
        if found.size * DEFLATED > chunk + FREE:
            packed = node.id.read_direct_chunk(found.chunk_offset)[1]
            with suppress(zlib.error):  # stored without compression, or damaged, which HDF5 tells
                if len(zlib.decompressobj().decompress(packed, chunk + 1)) > chunk:
                    raise ValueError("a chunk that unpacks to more than its size")


def _h5_child(group: Any, name: str) -> Any:
    if not isinstance(group.get(name, getlink=True), h5py().HardLink):
        raise ValueError(f"{name} is a link")
    return group[name]


# By suffix, in order of preference when a video has several files.
FORMATS = {
    "npy": Format(read_npy, shape=npy_shape, map=map_npy, write=write_npy),
    "npz": Format(read_npz, npz_names, write=write_npz),
    "safetensors": Format(read_safetensors, safetensors_names, write=write_safetensors),
    "pt": Format(read_loaded, loaded_names, write=write_pt),
    "h5": Format(read_h5, h5_names, h5_shape),
    "hdf5": Format(read_h5, h5_names, h5_shape),
    "pkl": Format(read_loaded, loaded_names),
}
WRITTEN = tuple(suffix for suffix, format in FORMATS.items() if format.write is not None)
ARCHIVES = tuple(suffix for suffix, format in FORMATS.items() if format.names is not None)  # may hold many videos
