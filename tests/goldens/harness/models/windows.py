"""Recorded windows of whole videos, and the detections of overlapping windows joined."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from harness.models.recorder import Recorder
from tal_cli.models.inference.chunks import plan_chunks
from tal_cli.models.inference.nms import ScoredSegments, suppress
from tal_cli.models.inference.overlaps import join_overlaps
from tal_cli.models.recipe.inference import InferenceConfig


def check_windows(description: dict[str, Any], recorder: Recorder) -> None:
    """Windows in which videos are tested; joining; hard NMS."""
    for plan in description["windows"]:
        if plan["mode"] == "train":
            continue
        size = plan["slice_len"]
        config = InferenceConfig(chunk_length=size, chunk_overlap=int(size * plan["slice_overlap"]))
        ours = {
            f"{video}_window_{chunk.cells.start}_{chunk.cells.stop}"
            for video, facts in description["feature_info"].items()
            for chunk in plan_chunks(facts["feature_length"], config, multiple=1)
        }
        same = torch.tensor(float(ours == set(plan["windows"])))
        recorder.compare_with(f"windows at overlap {plan['slice_overlap']}", same, torch.tensor(1.0), atol=0)
    hard = InferenceConfig(nms="hard", iou_threshold=description["nms_threshold"], min_score=0)
    _check_joining(description, recorder, hard)
    for name in (name for name in recorder.tensors if name.startswith("nms/hard")):
        columns = recorder["nms/in"].unbind(1)
        config = hard.model_copy(update={"iou_threshold": float(name.removeprefix("nms/hard"))})
        kept = suppress(_segments(torch.stack(columns[:2], 1), columns[2], columns[3]), config)
        recorded = recorder[name]
        recorder.compare_segments(name, tensors(kept), (recorded[:, :2], recorded[:, 2], recorded[:, 3].long()), 1e-5)


def _check_joining(description: dict[str, Any], recorder: Recorder, config: InferenceConfig) -> None:
    names, fps = description["input_windows"], description["fps"]
    videos = [name.partition("_window_")[0] for name in names]
    for number, video in enumerate(sorted(set(videos))):
        mine = [index for index, name in enumerate(videos) if name == video]
        chunks = [range(*map(int, names[index].rpartition("_window_")[2].split("_"))) for index in mine]
        found = [
            _segments(
                recorder[f"in/window{index}/segments"] * fps + chunk.start,
                recorder[f"in/window{index}/scores"],
                recorder[f"in/window{index}/labels"],
            )
            for index, chunk in zip(mine, chunks, strict=True)
        ]
        segments, scores, labels = tensors(join_overlaps(found, chunks, config, 0.0))
        own = recorder["out/video"] == number
        recorded = (recorder["out/segments"][own], recorder["out/scores"][own], recorder["out/labels"][own])
        recorder.compare_segments(f"out video {number}", (segments / fps, scores, labels), recorded, 1e-4)


def _segments(times: Tensor, scores: Tensor, labels: Tensor) -> ScoredSegments:
    starts, ends = (times[:, side].contiguous().numpy() for side in (0, 1))
    return ScoredSegments(labels.numpy().astype(np.int64), starts, ends, scores.numpy())


def tensors(found: ScoredSegments) -> tuple[Tensor, Tensor, Tensor]:
    """Segments [n, 2], scores and labels."""
    times = torch.stack((torch.from_numpy(found.starts), torch.from_numpy(found.ends)), -1)
    return times, torch.from_numpy(found.scores), torch.from_numpy(found.labels)
