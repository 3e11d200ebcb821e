"""Comparison of two prediction files on the same ground truth: per threshold, per label, per error type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tal_cli.datasets.annotations import Annotations
from tal_cli.evaluation.average_precision import Evaluation, evaluate
from tal_cli.evaluation.behaviour.bouts import shown
from tal_cli.evaluation.diagnosis.analysis import Diagnosis, diagnose
from tal_cli.evaluation.diagnosis.error_types import ERRORS, Kind
from tal_cli.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Row:
    """One metric of both files."""

    name: str
    first: float
    second: float

    @property
    def difference(self) -> float:
        """Second minus first."""
        return self.second - self.first

    def as_json(self) -> dict[str, float]:
        """Both values and their difference."""
        return {"a": self.first, "b": self.second, "difference": self.difference}


@dataclass(frozen=True)
class Comparison:
    """Metrics of two prediction files, all in [0, 1].

    Attributes:
        subset: the evaluated subset.
        precision: mAP per threshold, and their average.
        labels: average precision per label, mean over thresholds; largest gain first.
        shares: fraction of each kind of prediction among the best G of each label.
        costs: loss in average mAP_N due to each error type.
        missed: fraction of missed instances.
        shown: precision, recall and F1 of what each file's model shows: means over labels.
        shown_labels: F1 of each label there, in the order of `labels`.
    """

    subset: str
    precision: tuple[Row, ...]
    labels: tuple[Row, ...]
    shares: tuple[Row, ...]
    costs: tuple[Row, ...]
    missed: Row
    shown: tuple[Row, ...]
    shown_labels: tuple[Row, ...]

    def as_json(self) -> dict[str, Any]:
        """The document that `tal compare --format json` prints."""
        return {
            "subset": self.subset,
            "mAP": {row.name: row.as_json() for row in self.precision},
            "per_label": {row.name: row.as_json() for row in self.labels},
            "share_of_best_G": {row.name: row.as_json() for row in self.shares},
            "mAP_N_cost": {row.name: row.as_json() for row in self.costs},
            "missed": self.missed.as_json(),
            "shown": {row.name: row.as_json() for row in self.shown},
            "shown_f1": {row.name: row.as_json() for row in self.shown_labels},
        }


def compare(
    first: Predictions, second: Predictions, annotations: Annotations, subset: str, tiou: Sequence[float]
) -> Comparison:
    """Evaluate and diagnose both files.

    Raises:
        UsageError: the subset has no instance.
    """
    pair = [evaluate(found, annotations, subset, tiou) for found in (first, second)]
    errors = [diagnose(found, annotations, subset, tiou) for found in (first, second)]
    listed = [shown(found, annotations, subset).as_json() for found in (first, second)]
    labels = _labels(pair[0], pair[1])
    columns = zip(*([*item.mean.tolist(), item.average] for item in pair), strict=True)
    names = [*(f"{threshold:.6g}" for threshold in tiou), "average"]
    return Comparison(
        subset=subset,
        precision=tuple(Row(name, *values) for name, values in zip(names, columns, strict=True)),
        labels=labels,
        shares=tuple(Row(kind.words, *(_share(item, kind) for item in errors)) for kind in Kind),
        costs=tuple(Row(kind.words, *(_cost(item, kind) for item in errors)) for kind in ERRORS),
        missed=Row("missed", *(item.false_negatives.rate for item in errors)),
        shown=tuple(Row(name, *(each[name] for each in listed)) for name in ("precision", "recall", "f1")),
        shown_labels=tuple(Row(row.name, *(each["per_label"][row.name]["f1"] for each in listed)) for row in labels),
    )


def _labels(first: Evaluation, second: Evaluation) -> tuple[Row, ...]:
    rows = [
        Row(label, float(a.mean()), float(b.mean()))
        for label, a, b in zip(first.labels, first.precision, second.precision, strict=True)
    ]
    return tuple(sorted(rows, key=lambda row: -row.difference))


def _share(diagnosis: Diagnosis, kind: Kind) -> float:
    return float(diagnosis.false_positives.profile[0, kind])


def _cost(diagnosis: Diagnosis, kind: Kind) -> float:
    return float(diagnosis.false_positives.gain[ERRORS.index(kind)])
