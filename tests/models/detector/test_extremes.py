"""Extreme inputs: very long, very many classes, nothing at all, all the same, not numbers."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tal_cli.models.detector import TemporalDetector
from tal_cli.models.inference import chunks
from tal_cli.models.inference.chunks import collect_candidates, detect
from tal_cli.models.inference.nms import ScoredSegments
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides
from tal_cli.models.recipe.schema import Recipe

SMALL = ["model.width=16", "model.head_width=16", "model.classes=3", "model.class_prior=0.3", "features.channels=4"]
# Nothing in this detector sees further than 32 cells: the embedding 2, the heads' three convolutions 24 at level 3.
LOCAL = [*SMALL, "model.levels=4", "model.pad_length=64", "model.encoder=max_pool", "model.decoder=actionformer"]
CUT = ["inference.chunk_length=640", "inference.chunk_overlap=320"]
EVERYTHING = ["inference.pre_nms_threshold=0", "inference.pre_nms_top_k=100000", "inference.min_duration=0"]


def make(name: str, *assignments: str) -> tuple[Recipe, TemporalDetector]:
    recipe = override(load_recipe(name), parse_overrides(assignments))
    torch.manual_seed(0)
    detector = TemporalDetector.from_recipe(recipe).eval()
    for parameter in detector.parameters():
        nn.init.normal_(parameter, 0.1, 0.3)
    return recipe, detector


@pytest.fixture(scope="module")
def local() -> tuple[Recipe, TemporalDetector]:
    return make("temporalmaxer-thumos-i3d", *LOCAL, "model.neck={name: identity, norm: layer}", *EVERYTHING)


def features(length: int, seed: int = 0) -> Tensor:
    return torch.randn(length, 4, generator=torch.Generator().manual_seed(seed))


def described(found: ScoredSegments) -> list[np.ndarray]:
    """What tells sets of candidates apart and no order within them, which rounding decides."""
    mixed = 0.37 * found.starts + 0.61 * found.ends + 100 * found.scores + 1000 * found.labels
    return [np.sort(values) for values in (found.labels, found.starts, found.ends, found.scores, mixed)]


@settings(deadline=None, max_examples=25)
@given(length=st.integers(200, 1500), size=st.integers(160, 600), overlap=st.integers(80, 120), seed=st.integers(0, 9))
def test_seams_change_nothing(
    local: tuple[Recipe, TemporalDetector], length: int, size: int, overlap: int, seed: int
) -> None:
    """Where half the overlap covers what a point sees, chunks find what the whole finds: each candidate once."""
    recipe, detector = local
    cut = override(recipe, {"inference.chunk_length": size, "inference.chunk_overlap": overlap})
    whole = collect_candidates(detector, features(length, seed), recipe.inference)
    pieces = collect_candidates(detector, features(length, seed), cut.inference)
    assert len(whole) == len(pieces) == 3 * sum(-(-length // (1 << level)) for level in range(4))
    for one, other in zip(described(whole), described(pieces), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


def test_segments_across_seams_are_found_once(local: tuple[Recipe, TemporalDetector]) -> None:
    recipe, detector = local
    usual = ["inference.pre_nms_threshold=0.001", "inference.max_segments=200", "inference.pre_nms_top_k=2000"]
    whole = detect(detector, features(1200), override(recipe, parse_overrides(usual)))
    cut = override(recipe, parse_overrides([*usual, "inference.chunk_length=256", "inference.chunk_overlap=96"]))
    pieces = detect(detector, features(1200), cut)
    np.testing.assert_array_equal(whole.labels, pieces.labels)
    np.testing.assert_allclose(whole.scores, pieces.scores, atol=1e-5)
    np.testing.assert_allclose(whole.starts, pieces.starts, atol=1e-3)
    np.testing.assert_allclose(whole.ends, pieces.ends, atol=1e-3)


TEN_HOURS = """
import resource, sys
import torch
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.inference.chunks import detect
from tal_cli.models.recipe.loading import load_recipe, override, parse_overrides
assignments = {assignments!r}
recipe = override(load_recipe("thumos-i3d"), parse_overrides(assignments))
torch.manual_seed(0)
detector = TemporalDetector.from_recipe(recipe)
sizes = []
detector.register_forward_pre_hook(lambda module, inputs: sizes.append(inputs[0].shape[0] * inputs[0].shape[1]))
def peak(cells):
    found = detect(detector, torch.randn(cells, 4), recipe)
    assert len(found) and found.ends.max() > cells - recipe.inference.chunk_length
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 if sys.platform == "darwin" else 1024)
hour = peak(27_000)
print(max(sizes), peak(270_000) - hour)
"""


@pytest.mark.slow
def test_ten_hours_take_the_memory_of_one() -> None:
    assignments = [*SMALL, "model.encoder.mlp_width=16", "inference.chunk_length=4608", "inference.chunk_overlap=512"]
    assignments += ["model.decoder.bins=4", "inference.pre_nms_top_k=200", "inference.max_segments=100000"]
    script = TEN_HOURS.format(assignments=assignments)
    done = subprocess.run([sys.executable, "-c", script], check=True, stdout=subprocess.PIPE, text=True)
    largest, megabytes = (float(word) for word in done.stdout.split())
    assert largest <= 4608
    # Features and candidates of nine more hours are 10 MB; the network's activations would be hundreds.
    assert megabytes < 60


@pytest.mark.slow
def test_three_hundred_classes() -> None:
    small = ["model.width=16", "model.head_width=16", "model.encoder.mlp_width=16", "features.channels=4"]
    recipe, detector = make("epic-noun", *small, "model.pad_length=320", *CUT)
    found = detect(detector, features(1500), recipe)
    assert 0 < len(found) <= recipe.inference.max_segments
    assert len(np.unique(found.labels)) > 50 and found.labels.max() < 300
    assert (np.diff(found.scores) <= 0).all() and np.isfinite(found.starts).all() and np.isfinite(found.ends).all()


def test_no_candidate_above_the_threshold(local: tuple[Recipe, TemporalDetector]) -> None:
    recipe, detector = local
    for assignments in (["inference.pre_nms_threshold=1"], ["inference.min_duration=100000"]):
        found = detect(
            detector,
            features(300),
            override(
                recipe, parse_overrides([*assignments, "inference.chunk_length=128", "inference.chunk_overlap=64"])
            ),
        )
        assert [len(values) for values in (found.labels, found.starts, found.ends, found.scores)] == [0, 0, 0, 0]


@pytest.mark.parametrize("nms", ["soft", "hard", "none"])
@pytest.mark.slow
def test_identical_scores_keep_the_order_of_time(local: tuple[Recipe, TemporalDetector], nms: str) -> None:
    """All points predict the same: which are taken, and in which order, is not left to chance."""
    recipe, _ = local
    constant = TemporalDetector.from_recipe(recipe).eval()
    for name, parameter in constant.named_parameters():
        nn.init.constant_(parameter, 1.0 if name.endswith(("output.bias", "level_scale")) else 0.0)
    few = override(recipe, {"inference.pre_nms_top_k": 7, "inference.nms": nms, "inference.pre_nms_threshold": 0.1})
    candidates = collect_candidates(constant, features(96), few.inference)
    assert len(np.unique(candidates.scores)) == 1 and len(candidates) == 4 * 7
    assert candidates.labels[:7].tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert candidates.starts[:7].tolist() == [-1, -1, -1, 0, 0, 0, 1]
    first, second = (detect(constant, features(96), few) for _ in range(2))
    for name in ("labels", "starts", "ends", "scores"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


@settings(deadline=None, max_examples=30)
@given(
    length=st.integers(1, 400),
    where=st.floats(0, 1, exclude_max=True),
    value=st.sampled_from([float("nan"), float("inf"), float("-inf")]),
    at_once=st.sampled_from([1, 7, 64, 1 << 14]),
)
def test_what_is_no_number_is_rejected_with_its_window(
    local: tuple[Recipe, TemporalDetector], length: int, where: float, value: float, at_once: int
) -> None:
    recipe, detector = local
    window = int(where * length)
    bad = features(length)
    bad[window, 3] = value
    bad[-1, 1] = value
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "CHECKED_CELLS", at_once)
        with pytest.raises(ValueError, match=rf"features of window {window} are not finite"):
            detect(detector, bad, recipe)


def test_an_empty_video_is_found_empty_whatever_the_settings(local: tuple[Recipe, TemporalDetector]) -> None:
    recipe, detector = local
    for assignments in ([], ["model.resample=true"], ["inference.multiclass=false", "inference.voting_threshold=0.5"]):
        assert len(detect(detector, torch.zeros(0, 4), override(recipe, parse_overrides(assignments)))) == 0
