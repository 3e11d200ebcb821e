"""Weights written by Caffe2: a pickled dict of arrays, read without letting the pickle call anything of its choice."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np

# All that a pickle of arrays needs; anything else in it is an error.
ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): str.encode,
}
REBUILD = "_reconstruct"
MODULES = ("numpy.core.multiarray", "numpy._core.multiarray")
TRAINING = ("lr", "model_iter")  # blobs of the optimiser, beside every name with this ending
MOMENTUM = "_momentum"


def rebuild(kind: type, shape: tuple[int, ...], code: bytes) -> np.ndarray[Any, Any]:
    """An empty array that the pickle fills afterwards."""
    if kind is not np.ndarray:
        raise pickle.UnpicklingError("it holds something else than arrays")
    return np.ndarray.__new__(np.ndarray, shape, "b")


class ArrayUnpickler(pickle.Unpickler):
    """Reads numbers, texts, containers and arrays. Raises UnpicklingError for a pickle that names anything else."""

    def find_class(self, module: str, name: str) -> Any:
        if module in MODULES and name == REBUILD:
            return rebuild
        if (module, name) not in ALLOWED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which weights do not need")
        return ALLOWED[module, name]


def read_blobs(name: str) -> dict[str, Any]:
    """Name -> float32 tensor, without what only training needs. Raises UnpicklingError and whatever damage leads to."""
    import torch

    with open(name, "rb") as file:
        content = ArrayUnpickler(file, encoding="latin1").load()
    blobs = content.get("blobs", content) if isinstance(content, dict) else {}
    return {
        str(key): torch.from_numpy(np.ascontiguousarray(value, np.float32))
        for key, value in blobs.items()
        if isinstance(value, np.ndarray)
        and value.dtype.kind == "f"
        and key not in TRAINING
        and not str(key).endswith(MOMENTUM)
    }
