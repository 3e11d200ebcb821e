"""Suppression and voting against recorded runs."""

from __future__ import annotations

from typing import Any

import torch

from harness.models.recorder import Recorder
from tal_cli.models.inference.nms import ScoredSegments, suppress
from tal_cli.models.recipe.inference import InferenceConfig


def check_nms(description: dict[str, Any], recorder: Recorder) -> None:
    """Run every recorded configuration on its recorded candidates."""
    for run in description["runs"]:
        inputs = run["set"]
        candidates = ScoredSegments(
            labels=recorder[f"{inputs}/labels"].numpy(),
            starts=recorder[f"{inputs}/segs"][:, 0].contiguous().numpy(),
            ends=recorder[f"{inputs}/segs"][:, 1].contiguous().numpy(),
            scores=recorder[f"{inputs}/scores"].numpy(),
        )
        kept = suppress(candidates, config_of(run))
        key = run["key"]
        ours = torch.stack((torch.from_numpy(kept.starts), torch.from_numpy(kept.ends)), -1)
        recorder.compare_segments(
            key,
            (ours, torch.from_numpy(kept.scores), torch.from_numpy(kept.labels)),
            (recorder[f"{key}/segs"], recorder[f"{key}/scores"], recorder[f"{key}/labels"]),
            atol=1e-4,
        )


def config_of(run: dict[str, Any]) -> InferenceConfig:
    """A recorded configuration as a recipe has it."""
    return InferenceConfig(
        nms=run["method"],
        multiclass=run["multiclass"],
        sigma=run["sigma"],
        voting_threshold=max(run["voting_thresh"], 0.0),
        voting_weight="score-iou" if run["voting_variant"] == "iouw" else "score",
        iou_threshold=run["iou_threshold"],
        min_score=run["min_score"],
        max_segments=run["max_seg_num"],
    )
