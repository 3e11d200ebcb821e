"""Kernel-3 convolution over time with half the multiplications (Winograd's F(4, 3); Lavin and Gray 2016).

Four outputs come from six products instead of twelve. Inference only, float32 only: rounding errors are a few times
those of a direct convolution, about 2e-6 of the largest value, and half precision would lose too much.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

TILE = 4  # outputs per tile
CHUNK = 1536  # tiles transformed at once: bounds the memory of intermediate values
SMALLEST = 256  # channels from which saved multiplications outweigh the transforms

_KERNEL_TRANSFORM = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)


def worthwhile(x: Tensor, weight: Tensor) -> bool:
    """Whether `convolve` can stand in for a convolution of x with weight [O, C, k] here, and is quicker."""
    return (
        weight.shape[2] == 3
        and min(weight.shape[:2]) >= SMALLEST
        and not torch.is_grad_enabled()
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def transform_weight(weight: Tensor) -> Tensor:
    """Convolution weight [O, C, 3] -> [6, C, O]."""
    transform = torch.tensor(_KERNEL_TRANSFORM, dtype=weight.dtype, device=weight.device)
    return torch.einsum("ik,ock->ico", transform, weight).contiguous()


def convolve(x: Tensor, transformed: Tensor) -> Tensor:
    """x [B, T, C] with a transformed weight [6, C, O] -> [B, T, O], zeros around the sequence, no bias."""
    batch, length, channels = x.shape
    tiles = -(-length // TILE)
    out = x.new_empty(batch, tiles, TILE, transformed.shape[2])
    for first in range(0, tiles, CHUNK):
        count = min(CHUNK, tiles - first)
        window = _window(x, TILE * first - 1, TILE * (first + count) + 1)
        shifted = [window[:, i : i + TILE * count - TILE + 1 : TILE] for i in range(6)]
        products = torch.bmm(_transform_input(shifted).view(6, batch * count, channels), transformed)
        _transform_output(products.view(6, batch, count, -1), out[:, first : first + count])
    return out.view(batch, TILE * tiles, -1)[:, :length]


def _window(x: Tensor, first: int, end: int) -> Tensor:
    """Cells [first, end) of x, zeros beyond its ends; copies only where it reaches beyond."""
    before, behind = max(0, -first), max(0, end - x.shape[1])
    inner = x[:, first + before : end - behind]
    return F.pad(inner, (0, 0, before, behind)) if before or behind else inner


def _transform_input(d: list[Tensor]) -> Tensor:
    """Six input cells per tile, [B, n, C] each -> [6, B, n, C]."""
    v = d[0].new_empty(6, *d[0].shape)
    even, odd = torch.sub(d[4], d[2], alpha=4), torch.sub(d[3], d[1], alpha=4)
    torch.add(even, odd, out=v[1])
    torch.sub(even, odd, out=v[2])
    torch.sub(d[4], d[2], out=even)
    torch.sub(d[3], d[1], out=odd)
    torch.add(even, odd, alpha=2, out=v[3])
    torch.sub(even, odd, alpha=2, out=v[4])
    torch.sub(d[0], d[2], out=v[0]).mul_(4).add_(even)
    torch.sub(d[5], d[3], out=v[5]).sub_(odd, alpha=4)
    return v


def _transform_output(m: Tensor, out: Tensor) -> None:
    """Six products per tile [6, B, n, O] (overwritten) -> four outputs [B, n, 4, O]."""
    near, near_odd = m[1] + m[2], m[1].sub_(m[2])
    far, far_odd = m[3] + m[4], m[3].sub_(m[4])
    torch.add(near, m[0].add_(far), out=out[:, :, 0])
    torch.add(near_odd, far_odd, alpha=2, out=out[:, :, 1])
    torch.add(near, far, alpha=4, out=out[:, :, 2])
    torch.add(m[5].add_(near_odd), far_odd, alpha=8, out=out[:, :, 3])
