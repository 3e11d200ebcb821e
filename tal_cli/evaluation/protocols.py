"""Whose rules an evaluation follows: what counts as a label, in the ground truth and in the predictions.

All match and average alike. ActivityNet's reads names and counts every annotation. ActionFormer's, whose numbers most
papers since 2022 report, leaves out annotations shorter than a millisecond and repeated ones. EPIC-KITCHENS-100's reads
class numbers in its own submission form and evaluates verbs, nouns and pairs of both, an action being "verb,noun".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tal_cli.datasets.annotations import ALL_SUBSETS, Annotations, GroundTruth, load_annotations, split_names
from tal_cli.evaluation.average_precision import Evaluation, evaluate
from tal_cli.evaluation.predictions import Predictions, load_predictions

EPIC_TIOU = "0.1:0.1:0.5"
SAME_SECONDS = 1e-3


@dataclass(frozen=True)
class Task:
    """One evaluation: the entries of annotations and of predictions that hold the label; and whether annotations that
    have no length or repeat another count."""

    truth_key: str
    prediction_key: str
    counts_repeats: bool = True


EPIC_TASKS = {"verb": Task("verb_id", "verb"), "noun": Task("noun_id", "noun"), "action": Task("action", "action")}


def evaluate_files(
    predictions: Path, annotations: Path, task: Task, subset: str | None, tiou: Sequence[float]
) -> Evaluation:
    """Evaluate a file on another; without a subset on the one whose videos are predicted, on `all` if several are.

    Raises:
        InputProblem: a file cannot be read.
        UsageProblem: the subset has no instance.
    """
    truth = load_annotations(annotations, task.truth_key)
    if not task.counts_repeats:
        truth = without_repeats(truth)
    found = load_predictions(predictions, task.prediction_key)
    return evaluate(found, truth, subset or predicted_subset(found, truth, annotations), tiou)


def without_repeats(annotations: Annotations) -> Annotations:
    """The same without annotations shorter than 1 ms, and without those that repeat an earlier one of their video and
    label within 1 ms at both ends."""
    videos = {name: replace(video, segments=_distinct(video.segments)) for name, video in annotations.videos.items()}
    return replace(annotations, videos=videos)


def _distinct(segments: Sequence[GroundTruth]) -> tuple[GroundTruth, ...]:
    kept: list[GroundTruth] = []
    for item in segments:
        repeats = any(
            item.label == other.label
            and abs(item.start - other.start) <= SAME_SECONDS
            and abs(item.end - other.end) <= SAME_SECONDS
            for other in kept
        )
        if item.end - item.start >= SAME_SECONDS and not repeats:
            kept.append(item)
    return tuple(kept)


def predicted_subset(predictions: Predictions, truth: Annotations, path: Path) -> str:
    """The subset whose videos have predictions; `all` for several, the usual one to evaluate on for none."""
    names = {truth.videos[video].subset for video in set(predictions.videos) & truth.videos.keys()}
    if len(names) > 1:
        return ALL_SUBSETS
    train, test = split_names(truth, path)
    return next(iter(names), test or train)
