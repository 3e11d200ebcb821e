"""Evaluation of a detector on feature files during training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from tal_cli.datasets.annotations import Annotations
from tal_cli.datasets.training_data import FeatureVideo
from tal_cli.evaluation.average_precision import Evaluation, evaluate
from tal_cli.evaluation.display import display_scores
from tal_cli.evaluation.predictions import Predictions, Row
from tal_cli.evaluation.reviewed import on_reviewed
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.inference.chunks import detect
from tal_cli.models.inference.to_seconds import to_seconds
from tal_cli.models.recipe.schema import Recipe
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers.json import segment_rows
from tal_cli.training.distributed import ALONE, Processes


def validate(
    detector: TemporalDetector,
    recipe: Recipe,
    labels: Sequence[str],
    videos: Sequence[FeatureVideo],
    tiou: Sequence[float],
    progress: Callable[[int, int], None] | None = None,
    processes: Processes = ALONE,
) -> tuple[Evaluation, dict[str, float]]:
    """Run the detector on every video of one subset and evaluate; videos are distributed over processes.

    Also returns the display scores that the recipe's training asks to choose.

    Segments, rounding and order are those of a file that `tal detect --min-score 0` writes for the videos sorted by
    name, so that `tal eval` of that file gives the same result.
    """
    own: list[Row] = []
    mine = videos[processes.rank :: processes.count]
    for number, video in enumerate(mine):
        own.extend(_rows(detector, recipe, labels, video))
        if progress is not None:
            progress(number + 1, len(mine))
    rows = sorted((row for rows in processes.gather(own) for row in rows), key=lambda row: row[0])
    ground_truth = Annotations("", {video.annotation.name: video.annotation for video in videos}, tuple(labels))
    subset = videos[0].annotation.subset
    predictions, ground_truth = on_reviewed(Predictions.from_rows(rows), ground_truth)
    precision = recipe.training.display_precision
    shown = {} if precision is None else display_scores(predictions, ground_truth, subset, precision)
    return evaluate(predictions, ground_truth, subset, tiou), shown


def _rows(detector: TemporalDetector, recipe: Recipe, labels: Sequence[str], video: FeatureVideo) -> Iterator[Row]:
    name, clock = video.annotation.name, video.sequence
    segments = to_seconds(detect(detector, video.load(), recipe), clock, labels, recipe.inference)
    found = Detections(name, "", clock.duration, clock.fps, clock.frames, tuple(Segment(*each) for each in segments))
    for row in segment_rows(found):
        yield name, row["label"], *row["segment"], row["score"]
