"""Sampled attention and pooled regions against sums written out."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from tal_cli.models.layers.common import Dropout
from tal_cli.models.layers.deformable import BINS, DeformableAttention, interpolation, pool_regions
from tal_cli.models.layers.shared_random import BatchPart


def test_interpolation_is_what_images_are_sampled_with() -> None:
    values, positions, weights = torch.randn(1, 4, 1, 9), torch.rand(1, 30, 3) * 13 - 2, torch.randn(1, 30, 3)
    grid = torch.stack(((2 * positions + 1) / 9 - 1, torch.zeros_like(positions)), -1)
    sampled = F.grid_sample(values, grid, align_corners=False)  # [1, 4, 30, 3]
    expected = (sampled * weights[:, None]).sum(-1).transpose(1, 2)
    ours = interpolation(positions, weights, 9) @ values[:, :, 0].transpose(1, 2)
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def pooled(row: Tensor, start: float, end: float) -> list[Tensor]:
    """Means of the samples of every bin."""
    size = max(end - start, 1.0)
    count = math.ceil(size / BINS)
    bins = []
    for number in range(BINS):
        total = torch.zeros(row.shape[1])
        for sample in range(count):
            place = start + (number + (sample + 0.5) / count) * size / BINS
            if -1 <= place <= len(row):
                place = min(max(place, 0.0), len(row) - 1.0)
                low = math.floor(place)
                total += row[low] * (1 - place + low) + row[min(low + 1, len(row) - 1)] * (place - low)
        bins.append(total / count)
    return bins


def test_regions_are_pooled_bin_by_bin() -> None:
    rows = torch.randn(1, 50, 3)
    regions = torch.tensor([[[0.0, 50.0], [3.3, 3.4], [49.8, 50.0], [7.0, 40.1]]])
    ours = pool_regions(rows, regions)
    assert ours.shape == (1, 4, 3, BINS)
    for number, (start, end) in enumerate(regions[0].tolist()):
        expected = torch.stack(pooled(rows[0], start, end), -1)
        torch.testing.assert_close(ours[0, number], expected, rtol=1e-4, atol=1e-5)


def test_queries_see_every_level_around_their_reference() -> None:
    attention = DeformableAttention(8, heads=2, levels=2, points=1)
    with torch.no_grad():
        attention.offsets.bias.zero_()
        attention.value.weight.copy_(torch.eye(8))
        attention.out.weight.copy_(torch.eye(8))
    rows = torch.randn(1, 12, 8)
    seen = attention(torch.zeros(1, 1, 8), torch.full((1, 1, 1), 2.5 / 8), rows, [8, 4], None)
    second = (
        0.25 * rows[:, 8 + 0] + 0.75 * rows[:, 8 + 1]
    )  # 2.5 of 8 cells lie at 0.75 between cells of the second level
    torch.testing.assert_close(seen[:, 0], 0.5 * rows[:, 2] + 0.5 * second)


def test_dropout_of_a_part_is_that_of_the_batch() -> None:
    dropout, x = Dropout(0.5), torch.ones(4, 6, 3)
    torch.manual_seed(1)
    whole = dropout(x)
    assert set(whole.unique().tolist()) == {0.0, 2.0}
    torch.manual_seed(1)
    dropout.part = BatchPart(1, 4)
    assert torch.equal(dropout(x[1:3]), whole[1:3])
    assert torch.equal(dropout.eval()(x), x)
