"""What a detector reaches on feature files whose ground truth is known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch

from tal_cli.datasets.annotations import Annotations
from tal_cli.datasets.training_data import FeatureVideo
from tal_cli.evaluation.average_precision import Evaluation, evaluate
from tal_cli.evaluation.predictions import Predictions, Row
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.inference.chunks import detect
from tal_cli.models.recipe.schema import Recipe
from tal_cli.training.distributed import ALONE, Processes


def validate(
    detector: TemporalDetector,
    recipe: Recipe,
    labels: Sequence[str],
    videos: Sequence[FeatureVideo],
    tiou: Sequence[float],
    progress: Callable[[int, int], None] | None = None,
    processes: Processes = ALONE,
) -> Evaluation:
    """Detect in every video and evaluate; the videos are of one subset, and processes share them."""
    own: list[Row] = []
    mine = videos[processes.rank :: processes.count]
    for number, video in enumerate(mine):
        own.extend(_rows(detector, recipe, labels, video))
        if progress is not None:
            progress(number + 1, len(mine))
    rows = [row for rows in processes.gather(own) for row in rows]
    truth = Annotations("", {video.annotation.name: video.annotation for video in videos}, tuple(labels))
    return evaluate(Predictions.from_rows(rows), truth, videos[0].annotation.subset, tiou)


def _rows(detector: TemporalDetector, recipe: Recipe, labels: Sequence[str], video: FeatureVideo) -> Iterator[Row]:
    with torch.inference_mode():
        found = detect(detector, video.load(), recipe)
    starts = video.sequence.seconds(np.asarray(found.starts))
    ends = video.sequence.seconds(np.asarray(found.ends))
    name = video.annotation.name
    for label, start, end, score in zip(found.labels, starts, ends, found.scores, strict=True):
        if end > start:
            yield name, labels[int(label)], float(start), float(end), float(score)
