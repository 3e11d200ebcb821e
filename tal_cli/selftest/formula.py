"""Weights and a clip made by formula, so that recorded outputs need neither weights files nor videos beside them.

The unit sequence of a name: crc32 of the name plus a seed is the key of an integer hash of 1, 2, 3, ...; all of it
unsigned 32-bit arithmetic with wrap-around, exact everywhere.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

CHUNK = 1 << 18  # what is filled at a time stays in the cache


def unit(start: int, stop: int, key: int) -> NDArray[np.float64]:
    """Values start to stop of the sequence of that key, each in [-1, 1)."""
    state = np.arange(start + 1, stop + 1, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(key & 0xFFFFFFFF)
    for _ in range(2):
        state ^= state >> np.uint32(16)
        state *= np.uint32(0x45D9F3B)
    state ^= state >> np.uint32(16)
    return state / 2.0**31 - 1.0


def fill(name: str, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """The tensor of that name in a checkpoint: float32, or int64 zeros for a counter of batches.

    Matrices have variance 2 / fan-in, tables (first axis of size 1) 0.5 u, scales 1 + 0.1 u, running means 0.05 u and
    variances 1 + 0.5 u^2, everything else 0.05 u.
    """
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    count = int(np.prod(shape, dtype=np.int64))
    values = np.empty(count, np.float32)
    key = zlib.crc32(name.encode()) + seed
    for start in range(0, count, CHUNK):
        stop = min(start + CHUNK, count)
        values[start:stop] = spread(unit(start, stop, key), leaf, shape, count)
    return torch.from_numpy(values.reshape(shape))


def spread(u: NDArray[np.float64], leaf: str, shape: tuple[int, ...], count: int) -> NDArray[np.float64]:
    """Unit values as `fill` spreads them."""
    if leaf == "running_mean":
        return 0.05 * u
    if leaf == "running_var":
        return 1.0 + 0.5 * u * u
    if len(shape) > 1:
        return 0.5 * u if shape[0] == 1 else u * np.sqrt(6.0 * shape[0] / count)
    return 1.0 + 0.1 * u if leaf in ("weight", "gamma") else 0.05 * u


def filled(network: nn.Module, seed: int = 0) -> dict[str, Tensor]:
    """A state dict for a network (it may be on the meta device)."""
    return fill_all({name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}, seed)


def fill_all(shapes: Mapping[str, tuple[int, ...]], seed: int = 0) -> dict[str, Tensor]:
    """A state dict of tensors of those shapes."""
    return {name: fill(name, tuple(shape), seed) for name, shape in shapes.items()}


def triangle(z: NDArray[np.int64]) -> NDArray[np.int64]:
    """0 to 256 and back, period 512."""
    return np.abs(z % 512 - 256)


def clip(frames: int, height: int, width: int, channels: int = 3, seed: int = 0) -> Tensor:
    """uint8 [frames, height, width, channels]: two gratings that move differently in each channel, with a pattern."""
    t, y, x, c = np.ogrid[:frames, :height, :width, :channels]
    one = triangle(3 * x + 2 * y + 11 * t + 50 * c + 37 * seed)
    other = triangle(5 * y + 2 * (width - 1 - x) + 7 * t * (c + 1) + 101 * seed + 90)
    pattern = (7 * x + 13 * y + 29 * t + 31 * c) % 17
    return torch.from_numpy(np.minimum(255, (one + other) // 2 + pattern).astype(np.uint8))
