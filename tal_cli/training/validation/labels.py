"""What a training has to show for each label, and which labels it has too little of."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tal_cli.datasets.training_data import FeatureVideo
from tal_cli.safe_text import counted
from tal_cli.training.run import TrainingResult, TrainingRun
from tal_cli.training.state import read_evaluation
from tal_cli.training.validation.folds import read_folds

FEWEST = 5  # examples of a label, below which what is learned is chance


@dataclass(frozen=True)
class LabelFigures:
    """One label: examples to train on and held out, average precision, F1 and the display score at which it is; None
    where nothing was held out. spread: standard deviation of average precision over folds."""

    label: str
    training: int
    held_out: int
    precision: float | None
    spread: float | None
    f1: float | None
    score: float | None


def examples(labels: Sequence[str], videos: Sequence[FeatureVideo]) -> Counter[str]:
    """The number of instances of each label."""
    return Counter(labels[number] for video in videos for number in video.labels.tolist())


def label_figures(run: TrainingRun, result: TrainingResult) -> list[LabelFigures]:
    """The figures of each label, in class order, of the weights that the run folder has."""
    training, held_out = examples(run.labels, run.videos), examples(run.labels, run.validation)
    folds = read_folds(run.out) if run.folds is not None else None
    evaluation = (read_evaluation(run.out, result.epoch) if folds is None else folds.evaluation) or {}
    by_fold = {} if folds is None else folds.precision
    if folds is not None:
        held_out = training
    precision: Mapping[str, Mapping[str, float]] = evaluation.get("per_label", {})
    shown: Mapping[str, Any] = evaluation.get("shown", {}).get("per_label", {})
    return [
        LabelFigures(
            label=label,
            training=training[label],
            held_out=held_out[label],
            precision=statistics.fmean(precision[label].values()) if label in precision else None,
            spread=statistics.stdev(by_fold[label]) if len(by_fold.get(label, ())) > 1 else None,
            f1=shown[label]["f1"] if label in shown else None,
            score=shown[label]["score"] if label in shown else None,
        )
        for label in run.labels
    ]


def table(figures: Sequence[LabelFigures]) -> list[tuple[str, ...]]:
    """The figures as rows of text, with a header."""
    header = ("label", "to train on", "held out", "AP", "F1 shown", "from score")
    rows = [
        (
            each.label,
            str(each.training),
            str(each.held_out),
            _number(each.precision) + ("" if each.spread is None else f" ± {each.spread:.2f}"),
            _number(each.f1),
            _number(each.score),
        )
        for each in figures
    ]
    return [header, *rows]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def doubts(
    labels: Sequence[str], videos: Sequence[FeatureVideo], validation: Sequence[FeatureVideo], *, folds: bool
) -> Iterator[str]:
    """Warnings of labels with too few examples, and of those that occur only where they cannot be learned."""
    training, held_out = examples(labels, videos), examples(labels, validation)
    few = [f"{label} ({training[label]})" for label in labels if 0 < training[label] < FEWEST]
    if few:
        yield f"{counted(len(few), 'label')} with fewer than {FEWEST} examples to train on: {', '.join(few)}"
    absent = [label for label in labels if not training[label] and held_out[label]]
    if absent:
        yield f"{counted(len(absent), 'label')} only in held-out videos, and not learned: {', '.join(absent)}"
    if folds:
        places = Counter(label for video in videos for label in {labels[number] for number in video.labels.tolist()})
        once = [label for label in labels if places[label] == 1]
        if once:
            yield f"{counted(len(once), 'label')} in one video only, which no fold can judge: {', '.join(once)}"
