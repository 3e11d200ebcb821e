"""Quicker ways to compute a convolution give what the convolution gives."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from tal_cli.models.layers import winograd
from tal_cli.models.layers.common import (
    ColumnLinear,
    DepthwiseConv1d,
    RowConv1d,
    RowOutput,
    ScaledDropPath,
    convolve_rows,
)


@pytest.mark.parametrize("length", [1, 2, 3, 4, 5, 63, 64, 7000])
@pytest.mark.parametrize("batch", [1, 2])
def test_winograd_is_a_convolution(length: int, batch: int) -> None:
    torch.manual_seed(length)
    x, weight = torch.randn(batch, length, 24), torch.randn(32, 24, 3) / 8
    ours = winograd.convolve(x, winograd.transform_weight(weight))
    exact = F.conv1d(x.transpose(1, 2).double(), weight.double(), padding=1).transpose(1, 2)
    torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=1e-5)


def test_wide_convolutions_follow_their_weights() -> None:
    """The transformed weight is kept, but not beyond a change of the weight."""
    torch.manual_seed(0)
    conv, x = RowConv1d(256, 256, 3), torch.randn(1, 40, 256)
    with torch.inference_mode():
        assert winograd.worthwhile(x, conv.weight)
        before = conv(x)
        torch.testing.assert_close(before, convolve_rows(x, conv.weight, None), rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        conv.weight.mul_(2.0)
    with torch.inference_mode():
        torch.testing.assert_close(conv(x), 2 * before)
    torch.testing.assert_close(conv(x), 2 * before, rtol=1e-4, atol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not winograd.worthwhile(x, conv.weight)


@pytest.mark.parametrize("length", [1, 2, 5, 64, 7000])
@pytest.mark.parametrize("batch", [1, 2])
def test_gradients_of_winograd_are_those_of_a_convolution(length: int, batch: int) -> None:
    torch.manual_seed(length)
    x, weight = torch.randn(batch, length, 24, requires_grad=True), torch.randn(32, 24, 3, requires_grad=True)
    gradient = torch.randn(batch, length, 32)
    plain = F.conv1d(x.transpose(1, 2).double(), weight.double(), padding=1).transpose(1, 2)
    expected = torch.autograd.grad(plain, (x, weight), gradient.double())
    found = torch.autograd.grad(winograd.Convolution.apply(x, weight), (x, weight), gradient)
    for ours, exact in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, exact, rtol=1e-4, atol=1e-5 * float(exact.abs().max()))
    (alone,) = torch.autograd.grad(winograd.Convolution.apply(x.detach(), weight), weight, gradient)
    assert torch.equal(alone, found[1])


@pytest.mark.parametrize("length", [1, 7])
def test_a_linear_map_of_columns_is_a_convolution_of_kernel_one(length: int) -> None:
    layer, x = ColumnLinear(6, 9), torch.randn(2, 6, length)
    torch.testing.assert_close(layer(x), nn.Conv1d.forward(layer, x))


@pytest.mark.parametrize("kernel", [1, 3, 7])
def test_outputs_by_taps(kernel: int) -> None:
    torch.manual_seed(0)
    layer, x = RowOutput(16, 5, kernel), torch.randn(2, 11, 16)
    plain = F.conv1d(x.transpose(1, 2), layer.weight, layer.bias, padding=kernel // 2).transpose(1, 2)
    torch.testing.assert_close(layer(x), plain)
    torch.testing.assert_close(convolve_rows(x, layer.weight, layer.bias), plain)


@pytest.mark.parametrize("kernel", [1, 5, 15])
@pytest.mark.parametrize("length", [1, 4, 40])
def test_depthwise_by_taps(kernel: int, length: int) -> None:
    torch.manual_seed(0)
    layer, x = DepthwiseConv1d(8, kernel), torch.randn(2, 8, length)
    torch.testing.assert_close(layer(x), nn.Conv1d.forward(layer, x))


def test_drop_path_keeps_the_expectation() -> None:
    torch.manual_seed(0)
    layer = ScaledDropPath(4, 0.5, 0.25).train()
    out = layer(torch.ones(4000, 4, 1))
    assert out.unique().tolist() == pytest.approx([0.0, 0.5 / 0.75])
    assert out.mean().item() == pytest.approx(0.5, abs=0.02)
    assert torch.equal(layer.eval()(torch.ones(2, 4, 1)), torch.full((2, 4, 1), 0.5))
