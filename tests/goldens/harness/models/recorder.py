"""Comparing tensors of a detector with recorded ones."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.report import Comparison

RTOL = 1e-4
ATOL = 3e-5
ENCODER_ATOL = 1e-4  # un-normalised encoder output has values near 90


class Recorder:
    """Recorded tensors by name, and the comparisons made with them so far."""

    def __init__(self, tensors: dict[str, Tensor]) -> None:
        self.tensors = tensors
        self.comparisons: list[Comparison] = []

    def __getitem__(self, name: str) -> Tensor:
        return self.tensors[name]

    def __contains__(self, name: str) -> bool:
        return name in self.tensors

    def compare(self, name: str, ours: Tensor, *, atol: float = ATOL, rtol: float = RTOL) -> None:
        """Compare with the recorded tensor of that name, element by element."""
        self.compare_with(name, ours, self.tensors[name], atol=atol, rtol=rtol)

    def compare_with(
        self, name: str, ours: Tensor, recorded: Tensor, *, atol: float = ATOL, rtol: float = RTOL
    ) -> None:
        """Compare with a recorded value; elements recorded as NaN are undefined and not compared."""
        ours, recorded = ours.detach().cpu().double(), recorded.double()
        if ours.shape != recorded.shape:
            self.comparisons.append(Comparison(f"{name} {list(ours.shape)}", float("inf"), 0.0, False))
            return
        defined = ~recorded.isnan()
        difference, size = (ours - recorded).abs()[defined], recorded.abs()[defined]
        if not difference.numel():
            self.comparisons.append(Comparison(name, 0.0, 0.0, True))
            return
        ok = bool((difference <= atol + rtol * size).all())  # False for NaN of ours as well
        self.comparisons.append(Comparison(name, float(difference.max()), float(size.max()), ok))

    def compare_segments(
        self, name: str, ours: tuple[Tensor, Tensor, Tensor], recorded: tuple[Tensor, Tensor, Tensor], atol: float
    ) -> None:
        """Compare (segments [n, 2], scores [n], labels [n]), both by falling score.

        Scores must agree place by place; segments are matched to the nearest one of the same label and about the same
        score, because entries with nearly equal scores may swap places.
        """
        segments, scores, labels = (tensor.detach().cpu() for tensor in ours)
        expected_segments, expected_scores, expected_labels = recorded
        by_place = [values.sort(descending=True).values for values in (scores, expected_scores)]
        self.compare_with(f"{name}/scores", *by_place)
        if len(labels) != len(expected_labels) or not len(labels):
            return
        gap = (segments[:, None] - expected_segments[None]).abs().amax(-1).nan_to_num(0.0)
        foreign = (labels[:, None] != expected_labels) | ((scores[:, None] - expected_scores).abs() > ATOL)
        gap = gap.masked_fill(foreign, torch.inf)
        error = float(torch.maximum(gap.amin(0).max(), gap.amin(1).max()))
        largest = float(expected_segments.nan_to_num(0.0).abs().max())
        self.comparisons.append(Comparison(f"{name}/segments", error, largest, error <= atol))
