"""Kernel-3 convolution over time with half the multiplications (Winograd's F(4, 3); Lavin and Gray 2016).

Four outputs come from six products instead of twelve, and so do the gradients of input and weight. Float32 only:
rounding errors are a few times those of a direct convolution, about 2e-6 of the largest value, and half precision would
lose too much.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

TILE = 4  # outputs per tile
CHUNK = 3_000_000  # transformed numbers held at once per thread: few sweeps over the data, bounded memory
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
        and x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


def transform_weight(weight: Tensor) -> Tensor:
    """Convolution weight [O, C, 3] -> [6, C, O]."""
    return torch.einsum("ik,ock->ico", _kernel_transform(weight), weight).contiguous()


class Convolution(torch.autograd.Function):
    """`convolve` of x [B, T, C] with a weight [O, C, 3], differentiable once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        """-> [B, T, O]."""
        ctx.save_for_backward(x, weight)
        return convolve(x, transform_weight(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Gradient of the output -> those of x and weight."""
        x, weight = ctx.saved_tensors
        need_x, need_weight = ctx.needs_input_grad
        turned = weight.flip(2).transpose(0, 1)
        return (
            convolve(gradient, transform_weight(turned)) if need_x else None,
            _weight_gradient(x, gradient) if need_weight else None,
        )


def convolve(x: Tensor, transformed: Tensor) -> Tensor:
    """x [B, T, C] with a transformed weight [6, C, O] -> [B, T, O], zeros around the sequence, no bias."""
    batch, length, channels = x.shape
    tiles, chunk = -(-length // TILE), _chunk(x)
    out = x.new_empty(batch, tiles, TILE, transformed.shape[2])
    for first in range(0, tiles, chunk):
        count = min(chunk, tiles - first)
        products = torch.bmm(_input_tiles(x, first, count).view(6, batch * count, channels), transformed)
        _transform_output(products.view(6, batch, count, -1), out[:, first : first + count])
    return out.view(batch, TILE * tiles, -1)[:, :length]


def _weight_gradient(x: Tensor, gradient: Tensor) -> Tensor:
    """Input [B, T, C] and gradient of the output [B, T, O] -> gradient of the weight [O, C, 3]."""
    batch, length, channels = x.shape
    outputs = gradient.shape[2]
    tiles, chunk = -(-length // TILE), _chunk(x)
    total = x.new_zeros(6, channels, outputs)
    for first in range(0, tiles, chunk):
        count = min(chunk, tiles - first)
        window = _window(gradient, TILE * first, TILE * (first + count))
        shifted = [window[:, i::TILE] for i in range(TILE)]
        inputs = _input_tiles(x, first, count).view(6, batch * count, channels)
        total.baddbmm_(inputs.transpose(1, 2), _spread_gradient(shifted).view(6, batch * count, outputs))
    return torch.einsum("ik,ico->ock", _kernel_transform(x), total)


def _chunk(x: Tensor) -> int:
    """Tiles of x [B, T, C] to transform at once."""
    return max(1, CHUNK * torch.get_num_threads() // (6 * x.shape[0] * x.shape[2]))


def _kernel_transform(like: Tensor) -> Tensor:
    return torch.tensor(_KERNEL_TRANSFORM, dtype=like.dtype, device=like.device)


def _input_tiles(x: Tensor, first: int, count: int) -> Tensor:
    """Tiles [first, first + count) of x [B, T, C], transformed, [6, B, count, C]."""
    window = _window(x, TILE * first - 1, TILE * (first + count) + 1)
    return _transform_input([window[:, i : i + TILE * count - TILE + 1 : TILE] for i in range(6)])


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


def _spread_gradient(g: list[Tensor]) -> Tensor:
    """Gradients of four outputs per tile, [B, n, O] each -> of the six products, [6, B, n, O]."""
    m = g[0].new_empty(6, *g[0].shape)
    even, odd = torch.add(g[0], g[2]), torch.add(g[1], g[3])
    torch.add(even, odd, out=m[1])
    torch.sub(even, odd, out=m[2])
    torch.add(g[0], g[2], alpha=4, out=even)
    torch.add(g[1], g[3], alpha=4, out=odd)
    torch.add(even, odd, alpha=2, out=m[3])
    torch.sub(even, odd, alpha=2, out=m[4])
    m[0].copy_(g[0])
    m[5].copy_(g[3])
    return m
