"""Mamba's selective scan (Gu and Dao 2024, "Mamba", algorithm 2) in plain PyTorch, or by `mamba-ssm` where installed.

Per video and channel d a state of N numbers runs along time:

    h_t = exp(delta_t A) h_(t-1) + delta_t B_t x_t        y_t = C_t h_t + D x_t

Decays are only ever multiplied, never divided by, so that long sequences cannot overflow. Time goes in blocks whose
states fit into a bounded amount of memory; within a block, chunks run in parallel where one step alone would not
occupy the device, and their initial states are corrected afterwards. The backward pass keeps one state per block
and recomputes the others.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor
from torch.nn import functional as F

# Numbers held per block and numbers processed per step: limited by a core's cache, and by what fills a GPU.
CPU_BLOCK, CPU_STEP = 1 << 18, 1 << 12
ACCELERATOR_BLOCK, ACCELERATOR_STEP = 1 << 25, 1 << 20


def selective_scan(x: Tensor, delta: Tensor, decay: Tensor, inputs: Tensor, outputs: Tensor, skip: Tensor) -> Tensor:
    """Rows in, rows out: x and delta [B, T, D], inputs (B_t) and outputs (C_t) [B, T, N] -> y [B, T, D].

    decay (A) [D, N], negative; skip (D) [D]; delta positive. Computed in float32 whatever the input's type, which the
    result has. Differentiable once in all arguments.
    """
    kernel = _installed_kernel() if x.is_cuda else None
    arguments = (x.float(), delta.float(), decay.float(), inputs.float(), outputs.float())
    if kernel is None:
        scanned = cast(Tensor, _scan(*arguments)[0])
    else:
        rows, steps, rates, *projections = arguments
        columns = (rows.transpose(1, 2), steps.transpose(1, 2), rates, *(p.transpose(1, 2) for p in projections))
        scanned = kernel(*(tensor.contiguous() for tensor in columns)).transpose(1, 2)
    return (scanned + x.float() * skip.float()).to(x.dtype)


@cache
def _installed_kernel() -> Callable[..., Tensor] | None:
    """`mamba-ssm`'s CUDA kernel, or None if it is not installed or does not match this PyTorch."""
    if importlib.util.find_spec("mamba_ssm") is None:
        return None
    try:
        module = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
    except (ImportError, OSError):  # built for another PyTorch or CUDA: the plain form gives the same result
        return None
    return cast("Callable[..., Tensor]", module.selective_scan_fn)


# Custom operators, so that torch.compile takes each as a whole instead of unrolling its steps. States are [B, t, N, D]:
# with channels last, products and sums over N or over steps run through memory in order.
@torch.library.custom_op("tal::selective_scan", mutates_args=())
def _scan(x: Tensor, delta: Tensor, decay: Tensor, inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    """y without the skip path [B, T, D], and the states [blocks, B, N, D] that the blocks start from."""
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    rates = decay.t().contiguous()
    state = x.new_zeros(x.shape[0], *rates.shape)
    starts = []
    for span in _blocks(x, decay):
        starts.append(state)
        states = _states(x[:, span], delta[:, span], rates, inputs[:, span], state)
        state = states[:, -1].clone()
        y[:, span] = states.mul_(outputs[:, span, :, None]).sum(2)
    return y, torch.stack(starts)


@torch.library.custom_op("tal::selective_scan_backward", mutates_args=())
def _scan_backward(
    grad: Tensor, x: Tensor, delta: Tensor, decay: Tensor, inputs: Tensor, outputs: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of x, delta, decay, inputs and outputs, given that of y [B, T, D]."""
    grad_x, grad_delta = torch.empty_like(x), torch.empty_like(delta)
    grad_inputs, grad_outputs = torch.empty_like(inputs), torch.empty_like(outputs)
    rates = decay.t().contiguous()
    grad_rates = torch.zeros_like(rates)
    # Step t + 1 decays state t, so the states' gradients run backwards with the steps shifted by one.
    following = torch.cat((delta[:, 1:], torch.zeros_like(delta[:, :1])), 1)
    grad_state = torch.zeros_like(starts[0])
    for span, start in reversed(list(zip(_blocks(x, decay), starts, strict=True))):
        states = _states(x[:, span], delta[:, span], rates, inputs[:, span], start)
        grad_outputs[:, span] = (states * grad[:, span, None]).sum(3)
        arriving = grad[:, span, None] * outputs[:, span, :, None]
        kept = torch.exp(following[:, span, None] * rates)
        grad_states = _run(kept.flip(1), arriving.flip(1), grad_state).flip(1)
        grad_state = grad_states[:, 0].clone()
        grad_drive = (grad_states * inputs[:, span, :, None]).sum(2)
        driven = delta[:, span] * x[:, span]
        grad_inputs[:, span] = (grad_states * driven[:, :, None]).sum(3)
        grad_x[:, span] = grad_drive * delta[:, span]
        previous = torch.cat((start[:, None], states[:, :-1]), 1)
        through_decay = grad_states.mul_(previous).mul_(torch.exp(delta[:, span, None] * rates))
        grad_delta[:, span] = grad_drive * x[:, span] + (through_decay * rates).sum(2)
        grad_rates += (through_decay * delta[:, span, None]).sum((0, 1))
    return grad_x, grad_delta, grad_rates.t().contiguous(), grad_inputs, grad_outputs


def _blocks(x: Tensor, decay: Tensor) -> Iterator[slice]:
    """Spans of time, each with as many states as a block may hold."""
    step = x.shape[0] * decay.numel()
    length = max((CPU_BLOCK if x.device.type == "cpu" else ACCELERATOR_BLOCK) // max(step, 1), 1)
    return (slice(first, first + length) for first in range(0, x.shape[1], length))


def _states(x: Tensor, delta: Tensor, rates: Tensor, inputs: Tensor, start: Tensor) -> Tensor:
    """States [B, t, N, D] after each of t steps from `start` [B, N, D]; rates [N, D]."""
    return _run((delta[:, :, None] * rates).exp_(), (delta * x)[:, :, None] * inputs[..., None], start)


def _run(kept: Tensor, added: Tensor, start: Tensor) -> Tensor:
    """h_t = kept_t h_(t-1) + added_t from h_0 = start: [B, t, N, D] -> [B, t, N, D]. Overwrites its arguments."""
    batch, steps = added.shape[:2]
    wanted = CPU_STEP if added.device.type == "cpu" else ACCELERATOR_STEP
    # Chunks of about sqrt(t) steps make the fewest steps in all.
    chunks = min(-(-wanted // start.numel()), max(math.isqrt(steps), 1))
    length = -(-steps // chunks)
    if chunks * length > steps:
        fill = (0, 0, 0, 0, 0, chunks * length - steps)
        kept, added = F.pad(kept, fill, value=1.0), F.pad(added, fill)
    kept, added = (values.view(batch, chunks, length, *start.shape[1:]) for values in (kept, added))
    if chunks == 1:
        added[:, :, 0].addcmul_(kept[:, :, 0], start[:, None])
    for step in range(1, length):
        added[:, :, step].addcmul_(kept[:, :, step], added[:, :, step - 1])
        if chunks > 1:
            kept[:, :, step].mul_(kept[:, :, step - 1])
    if chunks > 1:
        entering = [start]
        for chunk in range(chunks - 1):
            entering.append(torch.addcmul(added[:, chunk, -1], kept[:, chunk, -1], entering[-1]))
        added.addcmul_(kept, torch.stack(entering, 1)[:, :, None])
    return added.flatten(1, 2)[:, :steps]


def _keep_for_backward(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    ctx.save_for_backward(*inputs, output[1])
    ctx.mark_non_differentiable(output[1])


def _backward(ctx: Any, grad: Tensor, _: Tensor | None) -> tuple[Tensor, ...]:
    return tuple(_scan_backward(grad, *ctx.saved_tensors))


@_scan.register_fake
def _(x: Tensor, delta: Tensor, decay: Tensor, inputs: Tensor, outputs: Tensor) -> tuple[Tensor, Tensor]:
    blocks = sum(1 for _ in _blocks(x, decay))
    return x.new_empty(x.shape), x.new_empty(blocks, x.shape[0], *decay.t().shape)


@_scan_backward.register_fake
def _(
    grad: Tensor, x: Tensor, delta: Tensor, decay: Tensor, inputs: Tensor, outputs: Tensor, starts: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    new_x, new_delta = x.new_empty(x.shape), delta.new_empty(x.shape)
    return new_x, new_delta, torch.empty_like(decay), torch.empty_like(inputs), torch.empty_like(outputs)


_scan.register_autograd(_backward, setup_context=_keep_for_backward)
