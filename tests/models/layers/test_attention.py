"""Windowed attention against its definition."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional as F

from tal_cli.models.encoders.cascade import channel_scores, mapped_first, mapped_last, plain_scores
from tal_cli.models.encoders.transformer import BLOCK, Attention, Projection, windowed_attention


def slow_attention(q: Tensor, k: Tensor, v: Tensor, window: int, valid: Tensor, positions: Tensor) -> Tensor:
    """All scores, then a softmax over the valid keys of the window: [B, T, H, C] each."""
    place = torch.arange(q.shape[1]) - torch.arange(q.shape[1])[:, None] + window // 2
    inside = (place >= 0) & (place < window)
    scores = torch.einsum("bihc,bjhc->bhij", q, k) / q.shape[-1] ** 0.5 + positions[:, place.clamp(0, window - 1)]
    scores = scores.masked_fill(~(inside & valid[:, None, None]), -torch.inf)
    return torch.einsum("bhij,bjhc->bihc", scores.softmax(-1).nan_to_num(), v)


@given(
    st.sampled_from([1, 2, 5, 9, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 7]),
    st.sampled_from([3, 5, 19, 131]),
    st.booleans(),
    st.integers(0, 5),
)
def test_windowed_attention_is_what_its_definition_says(length: int, window: int, padded: bool, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(2, length, 3, 4, generator=generator, requires_grad=True) for _ in range(3))
    positions = torch.randn(3, window, generator=generator)
    lengths = torch.tensor([length, max(1, length // 2)]) if padded else torch.tensor([length, length])
    valid = torch.arange(length) < lengths[:, None]
    ours = windowed_attention(q, k, v, window, valid[..., None] if padded else None, positions)
    expected = slow_attention(q, k, v, window, valid, positions)
    torch.testing.assert_close(ours[valid], expected[valid], rtol=1e-4, atol=1e-5)
    weight = torch.randn(ours.shape, generator=generator) * valid[..., None, None]
    gradients = torch.autograd.grad((ours * weight).sum(), (q, k, v), retain_graph=True)
    for found, wanted in zip(gradients, torch.autograd.grad((expected * weight).sum(), (q, k, v)), strict=True):
        assert torch.isfinite(found).all()
        torch.testing.assert_close(found, wanted, rtol=1e-3, atol=1e-5)


def test_a_window_over_everything_is_full_attention() -> None:
    torch.manual_seed(0)
    windowed, full = (Attention(16, heads=4, window=w, stride=1, relative=False) for w in (41, -1))
    full.load_state_dict(windowed.state_dict())
    x, mask = torch.randn(2, 20, 16), torch.arange(20)[:, None] < torch.tensor([20, 13])[:, None, None]
    torch.testing.assert_close(windowed(x, mask), full(x, mask), rtol=1e-4, atol=1e-5)
    assert not full(x, mask)[1, 13:].any()


@pytest.mark.parametrize("window", [5, -1])
def test_relative_positions_only_where_attention_is_windowed(window: int) -> None:
    attention = Attention(16, heads=4, window=window, stride=2, relative=True)
    x = torch.randn(1, 12, 16)
    out = attention(x, None)
    assert out.shape == (1, 6, 16)
    if window < 0:
        assert attention.positions is None
        return
    assert attention.positions is not None
    with torch.no_grad():
        attention.positions[:, 0] += 9.0
    assert not torch.allclose(attention(x, None), out)
    F.mse_loss(attention(x, None), torch.zeros_like(out)).backward()
    assert attention.positions.grad is not None and attention.positions.grad.any()


@pytest.mark.parametrize("padded", [False, True])
def test_channels_attend_the_same_in_either_order(padded: bool) -> None:
    torch.manual_seed(0)
    query, key = (Projection(8, 1).double() for _ in range(2))
    for part in (query, key):
        torch.nn.init.normal_(part.linear.bias)
    x = torch.randn(2, 20, 8, dtype=torch.float64)
    mask = torch.arange(20)[None, :, None] < torch.tensor([20, 11])[:, None, None] if padded else None
    expected = plain_scores(query, key, x, mask)
    torch.testing.assert_close(channel_scores(query, key, x, mask), expected)
    weights = torch.softmax(expected, -1)
    torch.testing.assert_close(mapped_last(key, weights, x, mask), mapped_first(key, weights, x, mask))
    assert expected.abs().max() > 1
