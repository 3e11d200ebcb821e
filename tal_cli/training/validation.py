"""What a detector reaches on feature files whose ground truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from models.detector import TemporalDetector
from models.inference import detect
from models.recipe import Recipe
from tal_cli.datasets.annotations import Annotations
from tal_cli.datasets.features import FeatureVideo
from tal_cli.evaluation.average_precision import Evaluation, evaluate
from tal_cli.evaluation.predictions import Predictions, Row


def validate(
    detector: TemporalDetector,
    recipe: Recipe,
    labels: Sequence[str],
    videos: Sequence[FeatureVideo],
    tiou: Sequence[float],
    progress: Callable[[int, int], None] | None = None,
) -> Evaluation:
    """Detect in every video and evaluate; the videos are of one subset. Leaves the detector in evaluation mode."""
    rows: list[Row] = []
    for number, video in enumerate(videos):
        rows.extend(_rows(detector, recipe, labels, video))
        if progress is not None:
            progress(number + 1, len(videos))
    truth = Annotations("", {video.annotation.name: video.annotation for video in videos}, tuple(labels))
    return evaluate(Predictions.from_rows(rows), truth, videos[0].annotation.subset, tiou)


def _rows(detector: TemporalDetector, recipe: Recipe, labels: Sequence[str], video: FeatureVideo) -> Iterator[Row]:
    with torch.inference_mode():
        found = detect(detector, video.load().t(), recipe)
    starts = video.sequence.seconds(np.asarray(found.starts))
    ends = video.sequence.seconds(np.asarray(found.ends))
    name = video.annotation.name
    for label, start, end, score in zip(found.labels, starts, ends, found.scores, strict=True):
        if end > start:
            yield name, labels[int(label)], float(start), float(end), float(score)
