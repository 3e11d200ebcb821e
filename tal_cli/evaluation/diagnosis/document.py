"""A diagnosis as a JSON document, with the names of the published tool, for comparison with its results."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from tal_cli.evaluation.diagnosis.analysis import MISSED_BELOW, MOST_GROUPS, Diagnosis
from tal_cli.evaluation.diagnosis.error_types import ERRORS, Kind
from tal_cli.evaluation.matching import Floats

KINDS = tuple(kind.published_name for kind in Kind)


def as_json(diagnosis: Diagnosis) -> dict[str, Any]:
    """The document that `tal diagnose` writes; fractions are in [0, 1], a bucket without instances has null."""
    return {
        "subset": diagnosis.subset,
        "tiou_thresholds": list(diagnosis.tiou),
        "bins": {
            item.characteristic.name: dict(zip(item.characteristic.buckets, item.characteristic.ranges, strict=True))
            for item in diagnosis.characteristics
        },
        "predictions_left_out": diagnosis.left_out,
        "instances_left_out": diagnosis.unusable,
        "ground_truth_instances": int(diagnosis.instances.sum()),
        "average_instances_per_class": float(diagnosis.instances.mean()),
        "false_positive": _false_positives(diagnosis),
        "sensitivity": {
            "base_average_mAP_N": float(diagnosis.sensitivity.precision.mean()),
            "average_mAP_N": _buckets(diagnosis, diagnosis.sensitivity.by_bucket),
            "ap_N_per_class": _named(diagnosis.labels, diagnosis.sensitivity.precision),
        },
        "false_negative": {
            "minimum_normalized_precision": MISSED_BELOW,
            "average_mAP_N": diagnosis.false_negatives.average,
            "rate_total": diagnosis.false_negatives.rate,
            "rate": _buckets(diagnosis, diagnosis.false_negatives.by_bucket),
            "share_of_ground_truth": _buckets(
                diagnosis, tuple(item.counts / item.counts.sum() for item in diagnosis.characteristics)
            ),
        },
    }


def _false_positives(diagnosis: Diagnosis) -> dict[str, Any]:
    found = diagnosis.false_positives
    groups = [f"{number}G" for number in range(1, MOST_GROUPS + 1)]
    return {
        "limit_factor": MOST_GROUPS,
        "predictions_kept": found.kept,
        "average_mAP_N": float(found.precision.mean()),
        "ap_N_per_class": _named(diagnosis.labels, found.precision),
        "error_count_total": {
            f"{threshold:.6g}": dict(zip(KINDS, row.tolist(), strict=True))
            for threshold, row in zip(diagnosis.tiou, found.total, strict=True)
        },
        "error_share_total": _named(KINDS, found.total.mean(axis=0) / max(found.kept, 1)),
        "error_count_per_G": {group: _named(KINDS, row) for group, row in zip(groups, found.counts, strict=True)},
        "error_share_per_G": {group: _named(KINDS, row) for group, row in zip(groups, found.profile, strict=True)},
        "average_mAP_N_gain": _named([kind.published_name for kind in ERRORS], found.gain),
    }


def _named(names: Iterable[str], values: Floats) -> dict[str, float | None]:
    return {
        name: None if math.isnan(value) else float(value) for name, value in zip(names, values.tolist(), strict=True)
    }


def _buckets(diagnosis: Diagnosis, values: tuple[Floats, ...]) -> dict[str, dict[str, float | None]]:
    return {
        item.characteristic.name: _named(item.characteristic.buckets, row)
        for item, row in zip(diagnosis.characteristics, values, strict=True)
    }
