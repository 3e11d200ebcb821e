"""Pixel kernels of the camera renderer, compiled by numba: every frame passes through them once."""

from __future__ import annotations

import numba
import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]


@numba.njit(cache=True, nogil=True)
def _reflect(value: float, size: int) -> float:
    if 0.0 <= value <= size - 1:
        return value
    period = 2.0 * (size - 1)
    value = abs(value) % period
    return period - value if value > size - 1 else value


@numba.njit(cache=True, nogil=True)
def warp(out: UInt8, texture: UInt8, matrix: Float32, rows: Float32, columns: Float32) -> None:
    """Fill ``out`` [H, W, 3] with ``texture`` [h, w, 3] seen through ``matrix`` [2, 3], which takes (x, y, 1) of
    ``out`` to a texture position. Bilinear; beyond its edges the texture goes on as its own mirror image. ``rows`` [H]
    and ``columns`` [W] shift each row sideways and each column up or down by so many texture pixels."""
    height, width = texture.shape[0], texture.shape[1]
    for y in range(out.shape[0]):
        row_u = matrix[0, 1] * y + matrix[0, 2] + rows[y]
        row_v = matrix[1, 1] * y + matrix[1, 2]
        for x in range(out.shape[1]):
            u = _reflect(matrix[0, 0] * x + row_u, width)
            v = _reflect(matrix[1, 0] * x + row_v + columns[x], height)
            u0, v0 = int(u), int(v)
            u1, v1 = min(u0 + 1, width - 1), min(v0 + 1, height - 1)
            right, below = np.int32((u - u0) * 256), np.int32((v - v0) * 256)
            w11 = right * below
            w01 = (right << 8) - w11
            w10 = (below << 8) - w11
            w00 = 65536 - (right << 8) - w10
            for c in range(3):
                value = (
                    np.int32(texture[v0, u0, c]) * w00
                    + np.int32(texture[v0, u1, c]) * w01
                    + np.int32(texture[v1, u0, c]) * w10
                    + np.int32(texture[v1, u1, c]) * w11
                )
                out[y, x, c] = (value + 32768) >> 16


@numba.njit(cache=True, nogil=True)
def draw(out: UInt8, sprite: UInt8, matrix: Float32, box: tuple[int, int, int, int]) -> None:
    """Blend ``sprite`` [h, w, 4] (RGBA) over ``out`` inside ``box`` (left, top, right, bottom); ``matrix`` as above."""
    height, width = sprite.shape[0], sprite.shape[1]
    for y in range(max(0, box[1]), min(out.shape[0], box[3])):
        for x in range(max(0, box[0]), min(out.shape[1], box[2])):
            u = matrix[0, 0] * x + matrix[0, 1] * y + matrix[0, 2]
            v = matrix[1, 0] * x + matrix[1, 1] * y + matrix[1, 2]
            if u < 0 or v < 0 or u >= width - 1 or v >= height - 1:
                continue
            u0, v0 = int(u), int(v)
            fu, fv = u - u0, v - v0
            w00, w01, w10, w11 = (1 - fu) * (1 - fv), fu * (1 - fv), (1 - fu) * fv, fu * fv
            alpha = (
                sprite[v0, u0, 3] * w00
                + sprite[v0, u0 + 1, 3] * w01
                + sprite[v0 + 1, u0, 3] * w10
                + sprite[v0 + 1, u0 + 1, 3] * w11
            ) / 255.0
            for c in range(3):
                colour = (
                    sprite[v0, u0, c] * w00
                    + sprite[v0, u0 + 1, c] * w01
                    + sprite[v0 + 1, u0, c] * w10
                    + sprite[v0 + 1, u0 + 1, c] * w11
                )
                out[y, x, c] = int(out[y, x, c] * (1 - alpha) + colour * alpha + 0.5)


@numba.njit(cache=True, nogil=True)
def mix(out: UInt8, other: UInt8, weight: Float32) -> None:
    """Blend ``other`` over ``out``, both [H, W, 3], with ``weight`` [H, W] in [0, 1]."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            w = weight[y, x]
            for c in range(3):
                out[y, x, c] = int(out[y, x, c] * (1 - w) + other[y, x, c] * w + 0.5)


@numba.njit(cache=True, nogil=True)
def finish(
    out: UInt8, gain: float, plain: Float32, plain_weight: float, noise: NDArray[np.int8], row: int, column: int
) -> None:
    """Apply exposure ``gain``, blend towards the colour ``plain`` [3] and add ``noise`` [h, w], read from (row,
    column); it reaches at least H + row and W + column."""
    for y in range(out.shape[0]):
        for x in range(out.shape[1]):
            grain = noise[y + row, x + column]
            for c in range(3):
                value = out[y, x, c] * gain * (1 - plain_weight) + plain[c] * plain_weight + grain
                out[y, x, c] = min(255, max(0, int(value + 0.5)))
