"""Boundary corrections computed for candidates alone against those computed everywhere."""

from __future__ import annotations

import pytest
import torch

from tal_cli.models.decoders.deferred import MANY_CLASSES, DeferredShift
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.layers.pyramid import pad_batch
from tal_cli.models.predictions import BoundaryShift, decode_distances
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import CltdrSettings
from tal_cli.models.recipe.encoders import GmgSettings


def small_detector(classes: int) -> TemporalDetector:
    torch.manual_seed(0)
    parts = {"encoder": GmgSettings(mlp_width=32), "decoder": CltdrSettings(bins=4)}
    config = ModelConfig(classes=classes, width=32, levels=3, head_width=32, pad_length=32, **parts)
    detector = TemporalDetector(config, channels=8).eval()
    for parameter in detector.parameters():
        parameter.data = 0.3 * torch.randn_like(parameter)
    return detector


def test_corrections_of_candidates_are_those_of_every_point() -> None:
    detector = small_detector(MANY_CLASSES)
    batch, mask = pad_batch([torch.randn(32, 8), torch.randn(19, 8)], 32)
    with torch.inference_mode():
        deferred = detector(batch, mask)
        assert isinstance(deferred.shift, DeferredShift)
        # Every class at every cell, padding included.
        grid = torch.meshgrid(*map(torch.arange, (2, deferred.layout.total, MANY_CLASSES)), indexing="ij")
        entries = [index.flatten() for index in grid]
        inside = deferred.layout.inside(batch.device)[entries[1]]
        corrections = deferred.shift.at(*entries)[inside]
        decoded = decode_distances(deferred, *(index[inside] for index in entries)).refined
    with torch.no_grad():
        plain = detector(batch, mask)
    assert isinstance(plain.shift, BoundaryShift)
    torch.testing.assert_close(corrections, plain.shift.at(*entries)[inside], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(
        decoded, decode_distances(plain, *(index[inside] for index in entries)).refined, rtol=1e-4, atol=1e-4
    )
    assert deferred.per_class and deferred.refines


@pytest.mark.parametrize("classes", [3, MANY_CLASSES - 1])
def test_few_classes_are_computed_everywhere(classes: int) -> None:
    with torch.inference_mode():
        assert isinstance(small_detector(classes)(*pad_batch([torch.randn(32, 8)], 32)).shift, BoundaryShift)


def test_no_candidate_asks_for_nothing() -> None:
    nothing = torch.empty(0, dtype=torch.int64)
    with torch.inference_mode():
        shift = small_detector(MANY_CLASSES)(*pad_batch([torch.randn(32, 8)], 32)).shift
        assert shift is not None and shift.at(nothing, nothing, nothing).shape == (0, 2)
