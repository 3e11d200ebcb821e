"""Recorded candidates and final segments."""

from __future__ import annotations

import torch
from torch import Tensor

from harness.models.recorder import Recorder
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.inference.chunks import collect_candidates
from tal_cli.models.inference.nms import ScoredSegments, suppress
from tal_cli.models.recipe.schema import Recipe

STEP = 1e-4  # of a grid cell: tolerance of segments after NMS on recorded candidates
SECONDS = 5e-5  # tolerance of final segments from our own candidates, whose rounding differs even between thread counts


def check_segments(
    recorder: Recorder, detector: TemporalDetector, recipe: Recipe, prefix: str, video: dict[str, float]
) -> None:
    """Candidates; then NMS on the recorded candidates; then on our own."""
    recorded = [recorder[f"{prefix}/pre_nms/{name}"] for name in ("segments", "scores", "labels")]
    final = [recorder[f"{prefix}/final/{name}"] for name in ("segments", "scores", "labels")]
    ours = collect_candidates(detector, recorder[f"{prefix}/feats"].t(), recipe.inference)
    recorder.compare_segments(f"{prefix}/pre_nms", _tensors(ours), (recorded[0], recorded[1], recorded[2]), atol=1e-3)
    theirs = ScoredSegments(
        labels=recorded[2].numpy(),
        starts=recorded[0][:, 0].contiguous().numpy(),
        ends=recorded[0][:, 1].contiguous().numpy(),
        scores=recorded[1].numpy(),
    )
    step = STEP * video["feat_stride"] / video["fps"]
    for name, candidates, atol in (("recorded candidates", theirs, step), ("own candidates", ours, max(step, SECONDS))):
        segments, scores, labels = _tensors(suppress(candidates, recipe.inference))
        seconds = (segments * video["feat_stride"] + 0.5 * video["feat_num_frames"]) / video["fps"]
        seconds = seconds.clamp(0, video["duration"])
        found = (seconds, scores, labels)
        recorder.compare_segments(f"{prefix}/final of {name}", found, (final[0], final[1], final[2]), atol=atol)


def _tensors(candidates: ScoredSegments) -> tuple[Tensor, Tensor, Tensor]:
    segments = torch.stack((torch.from_numpy(candidates.starts), torch.from_numpy(candidates.ends)), -1)
    return segments, torch.from_numpy(candidates.scores), torch.from_numpy(candidates.labels)
