"""The selective scan agrees with the step-by-step recurrence, and ActionMamba's encoder with what it should be."""

from __future__ import annotations

import sys
from types import ModuleType

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from tal_cli.models.encoders.mamba import BidirectionalMamba, MambaEncoder
from tal_cli.models.layers import selective_scan as scan_module
from tal_cli.models.layers.selective_scan import selective_scan
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.encoders import MambaSettings

Arguments = tuple[Tensor, ...]


def recurrence(x: Tensor, delta: Tensor, decay: Tensor, inputs: Tensor, outputs: Tensor, skip: Tensor) -> Tensor:
    """The definition, one step after the other."""
    state = x.new_zeros(x.shape[0], x.shape[2], decay.shape[1])
    rows = []
    for step in range(x.shape[1]):
        kept = torch.exp(delta[:, step, :, None] * decay)
        state = kept * state + (delta[:, step] * x[:, step])[..., None] * inputs[:, step, None]
        rows.append((state * outputs[:, step, None]).sum(-1) + skip * x[:, step])
    return torch.stack(rows, 1)


def draw(seed: int, batch: int, length: int, channels: int, states: int, *, pace: float = 1.0) -> Arguments:
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    delta = pace * torch.rand(batch, length, channels, generator=generator)
    decay = -16 * torch.rand(channels, states, generator=generator)
    projections = (normal(batch, length, states) for _ in range(2))
    return normal(batch, length, channels), delta, decay, *projections, normal(channels)


def with_gradients(function: object, arguments: Arguments, weight: Tensor) -> tuple[Tensor, list[Tensor]]:
    leaves = [argument.detach().clone().requires_grad_() for argument in arguments]
    result: Tensor = function(*leaves)  # type: ignore[operator]
    gradients = torch.autograd.grad((result * weight.to(result.dtype)).sum(), leaves)
    return result, list(gradients)


@given(
    seed=st.integers(0, 1000),
    batch=st.integers(1, 3),
    length=st.integers(1, 70),
    channels=st.integers(1, 5),
    states=st.integers(1, 4),
    block=st.sampled_from([1, 64, 256, scan_module.CPU_BLOCK]),
    step=st.sampled_from([1, 64, scan_module.CPU_STEP]),
)
@pytest.mark.slow
def test_any_split_into_blocks_and_chunks_is_the_recurrence(
    seed: int, batch: int, length: int, channels: int, states: int, block: int, step: int
) -> None:
    arguments = draw(seed, batch, length, channels, states)
    weight = torch.randn(batch, length, channels, generator=torch.Generator().manual_seed(seed + 1))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scan_module, "CPU_BLOCK", block)
        patch.setattr(scan_module, "CPU_STEP", step)
        found, gradients = with_gradients(selective_scan, arguments, weight)
    exact = tuple(argument.double() for argument in arguments)
    wanted, exact_gradients = with_gradients(recurrence, exact, weight)
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=3e-5)
    for gradient, reference in zip(gradients, exact_gradients, strict=True):
        torch.testing.assert_close(gradient.double(), reference, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("pace", [1e-6, 50.0])
def test_slow_and_fast_decays_stay_finite_and_right_over_long_sequences(pace: float) -> None:
    arguments = draw(3, 1, 3000, 2, 3, pace=pace)
    found, gradients = with_gradients(selective_scan, arguments, torch.ones(1, 3000, 2))
    assert all(bool(tensor.isfinite().all()) for tensor in (found, *gradients))
    wanted = recurrence(*(argument.double() for argument in arguments))
    torch.testing.assert_close(found.double(), wanted, rtol=1e-4, atol=1e-4)


def test_memory_does_not_grow_with_states_times_length() -> None:
    channels, states, length = 16, 16, 4096
    arguments = draw(0, 1, length, channels, states)
    kept: list[int] = []

    def measure(tensor: Tensor) -> Tensor:
        kept.append(tensor.numel())
        return tensor

    leaves = [argument.requires_grad_() for argument in arguments]
    with torch.autograd.graph.saved_tensors_hooks(measure, lambda tensor: tensor):
        selective_scan(*leaves)
    assert sum(kept) < length * channels * states / 2


@pytest.mark.slow
def test_compiled_whole() -> None:
    arguments = draw(1, 2, 33, 4, 3)
    compiled = torch.compile(selective_scan, backend="aot_eager", fullgraph=True)
    weight = torch.ones(2, 33, 4)
    plain, plain_gradients = with_gradients(selective_scan, arguments, weight)
    found, gradients = with_gradients(compiled, arguments, weight)
    torch.testing.assert_close(found, plain)
    for gradient, reference in zip(gradients, plain_gradients, strict=True):
        torch.testing.assert_close(gradient, reference)


def test_half_types_are_computed_in_float32() -> None:
    arguments = draw(2, 1, 50, 4, 3)
    halves = tuple(argument.bfloat16() for argument in arguments)
    found = selective_scan(*halves)
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found, selective_scan(*(half.float() for half in halves)).bfloat16())


class OnGpu(Tensor):
    """A tensor that claims to be on a GPU but is not."""

    is_cuda = True  # type: ignore[assignment]


def test_installed_kernel_is_used_on_a_gpu_and_only_there(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def selective_scan_fn(x: Tensor, delta: Tensor, decay: Tensor, inputs: Tensor, outputs: Tensor) -> Tensor:
        calls.append([tuple(tensor.shape) for tensor in (x, delta, decay, inputs, outputs)])
        assert all(tensor.is_contiguous() and tensor.dtype == torch.float32 for tensor in (x, delta, inputs, outputs))
        rows = (x.transpose(1, 2), delta.transpose(1, 2), decay, inputs.transpose(1, 2), outputs.transpose(1, 2))
        return recurrence(*rows, torch.zeros(x.shape[1])).transpose(1, 2)

    kernel = ModuleType("mamba_ssm.ops.selective_scan_interface")
    kernel.selective_scan_fn = selective_scan_fn  # type: ignore[attr-defined]
    monkeypatch.setattr(scan_module, "_installed_kernel", lambda: selective_scan_fn)
    arguments = draw(5, 2, 20, 3, 4)
    plain = selective_scan(*arguments)
    assert not calls
    found = selective_scan(*(argument.as_subclass(OnGpu) for argument in arguments))
    assert calls == [[(2, 3, 20), (2, 3, 20), (3, 4), (2, 4, 20), (2, 4, 20)]]
    torch.testing.assert_close(found.as_subclass(Tensor), plain)


def test_an_installed_kernel_is_found_and_a_broken_one_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    lookup = scan_module._installed_kernel.__wrapped__
    interface = ModuleType("mamba_ssm.ops.selective_scan_interface")
    interface.selective_scan_fn = recurrence  # type: ignore[attr-defined]
    package = ModuleType("mamba_ssm")
    package.__spec__ = scan_module.importlib.util.spec_from_loader("mamba_ssm", None)
    monkeypatch.setitem(sys.modules, "mamba_ssm", package)
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops", ModuleType("mamba_ssm.ops"))
    monkeypatch.setitem(sys.modules, interface.__name__, interface)
    assert lookup() is recurrence
    monkeypatch.setitem(sys.modules, interface.__name__, None)  # importing it raises ImportError
    assert lookup() is None


def test_both_directions_share_weights() -> None:
    torch.manual_seed(0)
    block = BidirectionalMamba(32, state=4, kernel=4).eval()
    with torch.no_grad():
        # With mirrored projections, reversing time exchanges the directions and nothing else.
        half = block.project_in.weight.shape[0] // 2
        block.project_in.weight[half:] = block.project_in.weight[:half]
        block.project_out.weight[:, 32:] = block.project_out.weight[:, :32]
        x = torch.randn(2, 17, 32)
        torch.testing.assert_close(block(x.flip(1)).flip(1), block(x), rtol=1e-4, atol=1e-5)


def test_every_cell_sees_the_whole_sequence_and_no_other_video() -> None:
    torch.manual_seed(0)
    config = ModelConfig(classes=3, width=32, levels=3, pad_length=64, encoder="mamba")
    encoder = MambaEncoder(config, MambaSettings(), 0.0).eval()
    x = torch.randn(2, 64, 32, requires_grad=True)
    levels = encoder(x, [None] * 3)
    assert [tuple(level.shape) for level in levels] == [(2, 64, 32), (2, 32, 32), (2, 16, 32)]
    (gradient,) = torch.autograd.grad(levels[0][0, 30].sum(), x)
    assert bool((gradient[0].abs().sum(-1) > 0).all())
    assert not bool(gradient[1].any())


def test_padding_is_masked_at_pooled_levels() -> None:
    torch.manual_seed(0)
    config = ModelConfig(classes=3, width=32, levels=2, pad_length=16, encoder="mamba")
    encoder = MambaEncoder(config, MambaSettings(branch_scale=1.0), 0.0).eval()
    valid = (torch.arange(16) < 9)[None, :, None]
    levels = encoder(torch.randn(1, 16, 32), [valid, valid[:, ::2]])
    assert not bool(levels[1][0, 5:].any())
    assert bool((levels[1][0, :5] != 0).all())
