"""Evaluation of a detector on feature files during training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from tal_cli.datasets.annotations import Annotations
from tal_cli.datasets.training_data import FeatureVideo
from tal_cli.evaluation.average_precision import Evaluation, evaluate
from tal_cli.evaluation.behaviour.bouts import shown
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


@dataclass(frozen=True)
class Validation:
    """What a detector finds in videos of one subset, and how good that is.

    Attributes:
        evaluation: with precision, recall and F1 at the display scores.
        display: the display scores that the recipe's training asks to choose; empty if it does not.
        found: all segments, one per video, in order of names.
    """

    evaluation: Evaluation
    display: dict[str, float]
    found: tuple[Detections, ...]


def validate(
    detector: TemporalDetector,
    recipe: Recipe,
    labels: Sequence[str],
    videos: Sequence[FeatureVideo],
    tiou: Sequence[float],
    progress: Callable[[int, int], None] | None = None,
    processes: Processes = ALONE,
) -> Validation:
    """Run the detector on every video of one subset and evaluate; videos are distributed over processes.

    Segments, rounding and order are those of a file that `tal detect --min-score 0` writes for the videos sorted by
    name, so that `tal eval` of that file gives the same result.
    """
    own: list[Detections] = []
    mine = videos[processes.rank :: processes.count]
    for number, video in enumerate(mine):
        own.append(_found(detector, recipe, labels, video))
        if progress is not None:
            progress(number + 1, len(mine))
    found = sorted((each for part in processes.gather(own) for each in part), key=lambda each: each.video)
    truth = Annotations("", {video.annotation.name: video.annotation for video in videos}, tuple(labels))
    return judge(found, truth, recipe, videos[0].annotation.subset, tiou)


def judge(
    found: Sequence[Detections], truth: Annotations, recipe: Recipe, subset: str, tiou: Sequence[float]
) -> Validation:
    """Evaluate what was found in videos of one subset."""
    predictions, truth = on_reviewed(Predictions.from_rows(_rows(found)), truth)
    precision = recipe.training.display_precision
    display = {} if precision is None else display_scores(predictions, truth, subset, precision)
    inference = recipe.inference.model_copy(update={"display_score": display}) if display else recipe.inference
    predictions = replace(predictions, display_score=inference.display_scores(truth.labels))
    evaluation = replace(evaluate(predictions, truth, subset, tiou), shown=shown(predictions, truth, subset))
    return Validation(evaluation, display, tuple(found))


def figures(evaluation: Evaluation) -> dict[str, float]:
    """Average mAP and, at the display scores, precision, recall and F1."""
    told = {} if evaluation.shown is None else evaluation.shown.as_json()
    return {"mAP": evaluation.average, **{name: told[name] for name in ("precision", "recall", "f1") if name in told}}


def headline(evaluation: Evaluation) -> str:
    """The figures as text."""
    told = figures(evaluation)
    shown = ", shown: precision {precision:.2f}, recall {recall:.2f}, F1 {f1:.2f}" if "f1" in told else ""
    return ("average mAP {mAP:.4f}" + shown).format(**told)


def _found(detector: TemporalDetector, recipe: Recipe, labels: Sequence[str], video: FeatureVideo) -> Detections:
    clock = video.sequence
    segments = to_seconds(detect(detector, video.load(), recipe), clock, labels, recipe.inference)
    found = tuple(Segment(*each) for each in segments)
    return Detections(video.annotation.name, "", clock.duration, clock.fps, clock.frames, found)


def _rows(found: Sequence[Detections]) -> Iterator[Row]:
    for each in found:
        for row in segment_rows(each):
            yield each.video, row["label"], *row["segment"], row["score"]
