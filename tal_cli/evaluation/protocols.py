"""Whose rules an evaluation follows: what counts as a label, in the ground truth and in the predictions.

Both protocols match and average alike. ActivityNet's reads names. EPIC-KITCHENS-100's reads class numbers in its
own submission form and evaluates verbs, nouns and pairs of both, an action being "verb,noun".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tal_cli.datasets.annotations import ALL_SUBSETS, Annotations, load_annotations, split_names
from tal_cli.evaluation.average_precision import Evaluation, evaluate
from tal_cli.evaluation.predictions import Predictions, load_predictions

EPIC_TIOU = "0.1:0.1:0.5"


@dataclass(frozen=True)
class Task:
    """One evaluation: the entries of annotations and of predictions that hold the label."""

    truth_key: str
    prediction_key: str


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
    found = load_predictions(predictions, task.prediction_key)
    return evaluate(found, truth, subset or predicted_subset(found, truth, annotations), tiou)


def predicted_subset(predictions: Predictions, truth: Annotations, path: Path) -> str:
    """The subset whose videos have predictions; `all` for several, the usual one to evaluate on for none."""
    names = {truth.videos[video].subset for video in set(predictions.videos) & truth.videos.keys()}
    if len(names) > 1:
        return ALL_SUBSETS
    train, test = split_names(truth, path)
    return next(iter(names), test or train)
