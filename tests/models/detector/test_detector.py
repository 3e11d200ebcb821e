"""The detector's shapes, masks, lengths, precisions and variants."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from tal_cli.extractors.errors import RecipeError
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.layers.pyramid import PyramidLayout, level_masks, pad_batch, padded_length, pyramid_points
from tal_cli.models.predictions import decode_distances
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides
from tal_cli.models.recipe.schema import Recipe

SMALL = [
    "model.width=32",
    "model.head_width=32",
    "model.encoder.mlp_width=48",
    "model.classes=3",
    "model.pad_length=64",
    "model.encoder.conv_init_std=0.3",
    "model.encoder.branch_scale=0.5",
    "features.channels=8",
]


def small(*assignments: str) -> Recipe:
    return override(load_recipe("thumos-i3d"), parse_overrides(SMALL) | parse_overrides(assignments))


def features(length: int, channels: int = 8, seed: int = 0) -> Tensor:
    return torch.randn(length, channels, generator=torch.Generator().manual_seed(seed))


def build(recipe: Recipe, seed: int = 0) -> TemporalDetector:
    torch.manual_seed(seed)
    return TemporalDetector.from_recipe(recipe).eval()


def test_layout_packs_and_splits() -> None:
    layout = PyramidLayout((8, 4, 2), gap=4)
    levels = [torch.arange(1.0, n + 1)[:, None].expand(2, n, 3) for n in layout.lengths]
    packed = layout.pack(levels)
    assert packed.shape == (2, layout.total, 3) and layout.total == 22
    assert all(torch.equal(a, b) for a, b in zip(layout.split(packed), levels, strict=True))
    assert not packed[:, ~layout.inside(packed.device)].any()
    points = pyramid_points(layout, packed.device)
    first, second, third = (slice(start, start + n) for start, n in zip(layout.starts, layout.lengths, strict=True))
    assert points.time[second].tolist() == [0, 2, 4, 6] and points.stride[third].tolist() == [4, 4]
    assert points.first[second].tolist() == [12] * 4 and points.last[second].tolist() == [15] * 4
    assert points.last[first].tolist() == [7] * 8


@pytest.mark.parametrize("variant", ["released", "paper"])
@pytest.mark.parametrize("levels", [1, 2, 3, 6])
@pytest.mark.parametrize("windows", [1, 5])
def test_any_number_of_levels(variant: str, levels: int, windows: int) -> None:
    recipe = small(f"model.variant={variant}", f"model.levels={levels}", f"model.encoder.windows={windows}")
    detector = build(recipe)
    sequences = [features(64), features(37, seed=1)]
    predictions = detector(*pad_batch(sequences, 64))
    assert predictions.layout.lengths == tuple(64 >> level for level in range(levels))
    assert predictions.refined.shape == (2, predictions.layout.total, 3)
    assert torch.isfinite(predictions.refined).all() and torch.isfinite(predictions.boundaries.offsets).all()
    for level, valid in enumerate(predictions.layout.split(predictions.valid)):
        assert valid[1].sum() == -(-37 // (1 << level))
    invalid = ~predictions.valid
    assert not predictions.coarse[invalid].any() and not predictions.boundaries.starts[invalid].any()


@pytest.mark.parametrize("variant", ["released", "paper"])
@pytest.mark.slow
def test_a_video_does_not_see_its_neighbours_in_the_batch(variant: str) -> None:
    detector = build(small(f"model.variant={variant}", "model.encoder.windows=3"))
    alone = detector(*pad_batch([features(41)], 64))
    together = detector(*pad_batch([features(64, seed=2), features(41), features(50, seed=3)], 64))
    torch.testing.assert_close(together.refined[1], alone.refined[0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.boundaries.offsets[1], alone.boundaries.offsets[0], rtol=1e-4, atol=1e-5)


def test_paper_variant_ignores_what_stands_in_the_padding() -> None:
    detector = build(small("model.variant=paper", "model.encoder.windows=3"))
    batch, mask = pad_batch([features(41)], 64)
    soiled = batch.clone()
    soiled[:, 41:] = 7.0
    # The first convolution reads one cell over the edge, as in the published code; further in, nothing differs.
    clean, other = detector(batch, mask), detector(torch.where(mask[..., None], batch, 0 * soiled), mask)
    torch.testing.assert_close(clean.refined, other.refined)


@pytest.mark.parametrize(("encoder", "counts"), [("mamba", [6, 3, 2, 1]), ("causal", [6, 4, 3, 2])])
def test_masks_are_sampled_or_pooled(encoder: str, counts: list[int]) -> None:
    """Of three cells around an even one, a pooled mask needs one."""
    model = small(f"model.encoder={encoder}", "model.levels=4").model
    masks = level_masks((torch.arange(16) < 6)[None], model)
    assert [int(mask.sum()) for mask in masks] == counts
    pooled = torch.ones(1, 1, 16)
    pooled[..., 6:] = 0
    for mask in masks[1:]:
        pooled = torch.nn.functional.max_pool1d(pooled, 3, 2, 1)
        assert encoder == "mamba" or torch.equal(mask[0, :, 0], pooled[0, 0].bool())


def test_padded_length_follows_the_published_rule() -> None:
    config = small("model.encoder.windows=5").model
    assert [padded_length(config, n) for n in (1, 64, 65, 160, 161)] == [64, 64, 160, 160, 320]
    uneven = small("model.encoder.windows=[1, 15, 1, 1, 1, 1]").model
    assert uneven.length_multiple == 32


def test_wrong_shapes_are_rejected() -> None:
    detector = build(small())
    with pytest.raises(ValueError, match="features have 9 channels, the detector takes 8"):
        detector(torch.zeros(1, 64, 9), torch.ones(1, 64, dtype=torch.bool))
    with pytest.raises(ValueError, match="not a multiple of 32"):
        detector(torch.zeros(1, 40, 8), torch.ones(1, 40, dtype=torch.bool))
    with pytest.raises(ValueError, match="does not fit"):
        pad_batch([features(65)], 64)


@pytest.mark.parametrize("variant", ["released", "paper"])
def test_bfloat16_stays_close(variant: str) -> None:
    detector = build(small(f"model.variant={variant}", "model.encoder.windows=3"))
    batch, mask = pad_batch([features(64)], 64)
    with torch.inference_mode():
        exact = torch.sigmoid(detector(batch, mask).refined)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            rough = torch.sigmoid(detector(batch, mask).refined.float())
        half = torch.sigmoid(detector.to(torch.bfloat16)(batch.to(torch.bfloat16), mask).refined.float())
    assert (exact - rough).abs().max() < 0.05
    assert (exact - half).abs().max() < 0.05


def test_evaluation_computes_what_training_computes() -> None:
    """The quicker path without gradients gives the same numbers."""
    detector = build(small("model.encoder.windows=5", "training.drop_path=0"))
    batch, mask = pad_batch([features(64), features(50)], 64)
    with torch.no_grad():
        quick = detector(batch, mask)
    slow = detector.train()(batch, mask)
    torch.testing.assert_close(quick.refined, slow.refined, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(quick.boundaries.offsets, slow.boundaries.offsets, rtol=1e-4, atol=1e-5)


def test_unknown_parts_are_named() -> None:
    with pytest.raises(RecipeError, match=r"model\.decoder: there is no oracle; there are cltdr"):
        build(small("model.decoder=oracle"))


def test_distances_by_hand() -> None:
    """One class, boundary logits far apart: the expected bin is where the logit stands."""
    detector = build(small("model.levels=1", "model.classes=1", "model.decoder.bins=4"))
    with torch.no_grad():
        predictions = detector(*pad_batch([features(64)], 64))
        for tensor in (predictions.boundaries.offsets, predictions.boundaries.starts, predictions.boundaries.ends):
            tensor.zero_()
        predictions.shift.start.fill_(-0.5)
        predictions.shift.end.fill_(-9.0)
        predictions.boundaries.starts[0, 7, 0] = 50.0
        predictions.boundaries.ends[0, 12, 0] = 50.0
        entry = [torch.tensor([value]) for value in (0, 10, 0)]
        distances = decode_distances(predictions, *entry)
    assert distances.coarse[0].tolist() == pytest.approx([3.0, 2.0])
    assert distances.refined[0].tolist() == pytest.approx([3.5, 0.0])
