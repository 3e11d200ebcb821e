"""Metrics of other tools on scores of frames, recomputed on the samples: FERAL, DeepEthogram, V-TRACE, banos."""

from __future__ import annotations

import csv
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tal_cli.datasets.formats import load_annotations
from tal_cli.evaluation.behaviour.banos import banos, means
from tal_cli.evaluation.behaviour.frame_scores import (
    best_threshold,
    confusion,
    counts_of,
    runs,
    shared_threshold,
    smoothed,
    with_other,
)
from tal_cli.evaluation.behaviour.frames import average_precision, evaluate_frames, frame_scores
from tal_cli.evaluation.predictions import load_predictions

FOLDER = Path(os.environ.get("TAL_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "behaviour"
samples = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the shared folder is absent: {FOLDER} (set TAL_SHARED)")
Floats = NDArray[np.float64]


@cache
def expected() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "expected_statistics.json").read_text())["frames"]
    return found


@cache
def videos() -> dict[str, tuple[NDArray[np.bool_], Floats]]:
    """Truth and scores of the frames of each video."""
    truth, told = load_annotations(FOLDER / "metrics" / "truth.json"), expected()
    found = {}
    for name, count in told["frames"].items():
        items = [(item.label, item.start, item.end, 1.0) for item in truth.videos[name].segments]
        with (FOLDER / "metrics" / f"scores_{name[0]}.csv").open() as file:
            scores = [[float(row[label]) for label in told["labels"]] for row in csv.DictReader(file)]
        found[name] = frame_scores(items, told["labels"], np.arange(count) / told["fps"]) > 0, np.asarray(scores)
    return found


def everything() -> tuple[NDArray[np.bool_], Floats]:
    true, scores = zip(*videos().values(), strict=True)
    return np.concatenate(true), np.concatenate(scores)


def feral(true: NDArray[np.bool_], scores: Floats, threshold: float) -> dict[str, float]:
    counts = [counts_of(true[:, place], scores[:, place] > threshold) for place in range(true.shape[1])]
    named = {f"f1_{label}": each.f1 for label, each in zip(expected()["labels"], counts, strict=True)}
    return named | {
        "precision": float(np.mean([each.precision for each in counts])),
        "recall": float(np.mean([each.recall for each in counts])),
        "f1": float(np.mean([each.f1 for each in counts])),
        "accuracy": float(((scores > threshold) == true).all(axis=1).mean()),
    }


@samples
@pytest.mark.parametrize("threshold", ["0.3", "0.5", "0.7"])
def test_thresholds_of_feral(threshold: str) -> None:
    table = expected()["feral_multilabel"][f"at_{threshold}"]
    assert feral(*everything(), float(threshold)) == pytest.approx(table, abs=1e-9)


@samples
def test_best_thresholds_of_feral() -> None:
    true, scores = everything()
    table = expected()["feral_multilabel"]["best"]
    found = [best_threshold(true[:, place], scores[:, place]) for place in range(true.shape[1])]
    for label, (threshold, f1) in zip(expected()["labels"], found, strict=True):
        assert (threshold, f1) == pytest.approx((table[f"best_thr_{label}"], table[f"best_f1_{label}"]), abs=1e-9)
    assert np.mean([f1 for _, f1 in found]) == pytest.approx(table["best_f1"], abs=1e-9)


@samples
def test_smoothing_of_feral() -> None:
    table = expected()["feral_multilabel"]["smoothed_9"]
    parts = {name: smoothed(scores, 9) for name, (_, scores) in videos().items()}
    np.testing.assert_allclose(parts["a.mp4"][:3], table["first_rows"]["a.mp4"], atol=1e-9)
    true, scores = everything()[0], np.concatenate(list(parts.values()))
    assert feral(true, scores, 0.5) == pytest.approx(table["at_0.5"], abs=1e-9)
    precision = [average_precision(true[:, place], scores[:, place]) for place in range(true.shape[1])]
    assert np.mean(precision) == pytest.approx(table["frame_mAP"], abs=1e-8)  # ties of means


@samples
def test_one_label_at_a_time() -> None:
    true, scores = everything()
    table, told = expected()["frames_single_label"], expected()["feral_single_label"]
    found = with_other(scores).argmax(axis=1)
    counts = confusion(true, found)
    assert counts.tolist() == table["confusion_rows_truth"]
    total, rows, columns = counts.sum(), counts.sum(axis=1), counts.sum(axis=0)
    agreed, chance = np.trace(counts) / total, (rows * columns).sum() / total**2
    assert agreed == pytest.approx(table["accuracy"]) and (agreed - chance) / (1 - chance) == pytest.approx(
        table["cohen_kappa"], abs=1e-9
    )
    f1 = 2 * np.diag(counts) / (rows + columns)
    assert f1.mean() == pytest.approx(table["f1_macro_with_other"], abs=1e-9)
    assert f1[1:].mean() == pytest.approx(table["f1_macro_without_other"], abs=1e-9)
    assert (f1 * rows).sum() / total == pytest.approx(table["f1_weighted_with_other"], abs=1e-9)
    assert [told[f"f1_{label}"] for label in expected()["labels"]] == pytest.approx(f1[1:].tolist(), abs=1e-9)
    micro = 2 * np.diag(counts)[1:].sum() / (rows[1:].sum() + columns[1:].sum())
    assert micro == pytest.approx(table["f1_micro_without_other"], abs=1e-9)


@samples
def test_deepethogram() -> None:
    true, scores = everything()
    table = expected()["deepethogram_definition"]
    true, scores = np.column_stack([~true.any(axis=1), true]), with_other(scores)
    grid = np.linspace(1e-4, 1, 200).tolist()
    chosen = []
    for place, label in enumerate(["background", *expected()["labels"]]):
        threshold, f1 = best_threshold(true[:, place], scores[:, place], grid)
        chosen.append(threshold if f1 >= 0.05 and threshold >= 0.01 else 0.5)
        assert chosen[-1] == pytest.approx(table["thresholds"][label], abs=1e-9)
        exact = average_precision(true[:, place], scores[:, place])
        assert exact == pytest.approx(table["AP_by_label_exact"][label], abs=1e-9)
    found = scores > chosen
    found[:, 0] = ~found[:, 1:].any(axis=1)
    f1s = [counts_of(true[:, place], found[:, place]).f1 for place in range(4)]
    assert f1s == pytest.approx(list(table["f1_by_label"].values()), abs=1e-9)
    assert (found == true).mean() == pytest.approx(table["accuracy_overall"], abs=1e-9)
    assert counts_of(true.ravel(), found.ravel()).f1 == pytest.approx(table["f1_overall"], abs=1e-9)


@samples
def test_frames_that_were_not_looked_at() -> None:
    table = expected()["deepethogram_definition"]["unlabelled_frames"]
    parts = [
        [np.delete(each, np.r_[slice(*table["not_looked_at_frames"])], axis=0) for each in pair]
        if name == table["video"] else pair
        for name, pair in videos().items()
    ]  # fmt: skip
    true, scores = (np.concatenate(each) for each in zip(*parts, strict=True))
    for place, label in enumerate(expected()["labels"]):
        found = average_precision(true[:, place], scores[:, place])
        assert found == pytest.approx(table["per_label_AP"][label], abs=1e-9)
        f1 = counts_of(true[:, place], scores[:, place] > 0.5).f1
        assert f1 == pytest.approx(table["f1_at_0.5"][label], abs=1e-9)


@samples
def test_vtrace() -> None:
    told, predictions = expected(), load_predictions(FOLDER / "metrics" / "predictions.json")
    true = everything()[0]
    parts = []
    for name, count in told["frames"].items():
        scores = np.zeros((count, len(told["labels"])))
        rows = zip(predictions.videos, predictions.labels, predictions.starts, predictions.ends, strict=True)
        for (video, label, start, end), score in zip(rows, predictions.scores, strict=True):
            if video == name and score >= 0.001:
                part = scores[int(start * told["fps"]) : int(end * told["fps"]), told["labels"].index(label)]
                np.maximum(part, score, out=part)
        parts.append(scores)
    scores = np.concatenate(parts)
    table = told["vtrace"]["default"]
    for place, label in enumerate(told["labels"]):
        found = average_precision(true[:, place], scores[:, place])
        assert found == pytest.approx(table["per_label_AP"][label], abs=1e-6)
        tuned = table["tuned_per_label"][label]
        assert best_threshold(true[:, place], scores[:, place]) == pytest.approx(
            (tuned["threshold"], tuned["f1"]), abs=1e-6
        )
        counts = counts_of(true[:, place], scores[:, place] >= table["threshold"] - 1e-6)
        said = [table[name][place] for name in ("precision", "recall", "f1")]
        assert [counts.precision, counts.recall, counts.f1] == pytest.approx(said, abs=1e-6)
        at_half = counts_of(true[:, place], scores[:, place] >= 0.5)
        pinned = [told["vtrace"]["score_threshold_0.5"][name][place] for name in ("precision", "recall", "f1")]
        assert [at_half.precision, at_half.recall, at_half.f1] == pytest.approx(pinned, abs=1e-6)
        smooth = told["vtrace"]["interpolated"]["per_label_AP"][label]
        assert interpolated(true[:, place], scores[:, place]) == pytest.approx(smooth, abs=1e-6)
    shared = table["tuned_global"]
    assert shared_threshold(true, scores) == pytest.approx((shared["threshold"], shared["mean_f1"]), abs=1e-6)


def interpolated(true: NDArray[np.bool_], scores: Floats) -> float:
    """V-TRACE's other average precision: precision never rises with recall, and each frame is a step. Which of the
    frames of one score comes first is what NumPy's unstable sort makes of it, so this is no measure of `tal`."""
    hits = np.cumsum(true[np.argsort(-scores)])
    precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
    return float((np.diff(hits, prepend=0) * precision).sum() / hits[-1])


def test_one_score_for_all_labels() -> None:
    true = np.asarray([[1, 0], [1, 0], [0, 1], [0, 0]], dtype=bool)
    scores = np.asarray([[0.9, 0.0], [0.4, 0.8], [0.0, 0.4], [0.0, 0.2]])
    # From 0.2: F1 of 1 and 2 / (1 + 3); from 0.4: 1 and 2 / (1 + 2); from 0.8: 2 / (2 + 1) and 0.
    assert shared_threshold(true, scores) == (0.4, pytest.approx((1 + 2 / 3) / 2))
    assert shared_threshold(true, scores * 0) == (0.0, 0.0)


@samples
@pytest.mark.parametrize("matching", ["greedy", "optimal"])
def test_banos(matching: str) -> None:
    table = expected()["banos"][matching]
    names = {"f1": "f1_score"}
    by_label: dict[str, list[dict[str, float]]] = {label: [] for label in expected()["labels"]}
    for video, (true, scores) in videos().items():
        for place, label in enumerate(expected()["labels"]):
            found = banos(true[:, place], scores[:, place] > 0.5, optimal=matching == "optimal")
            told = table["by_video"][video][label]
            assert {names.get(name, name): value for name, value in found.items()} == pytest.approx(told, abs=1e-9)
            by_label[label].append(found)
    for label, found_in in by_label.items():
        told = table["by_label"][label]
        assert {names.get(n, n): value for n, value in means(found_in).items()} == pytest.approx(told, abs=1e-9)


def test_runs_and_what_is_absent() -> None:
    held = np.asarray([True, True, False, True])
    assert runs(held) == [(0, 1), (3, 3)] and runs(~held) == [(2, 2)] and runs(held & False) == []
    nothing = np.zeros(4, dtype=bool)
    assert set(banos(nothing, nothing).values()) == {1.0} and set(banos(nothing, held).values()) == {0.0}
    missed = banos(held, nothing)
    assert missed["recall"] == 0.0 and np.isnan(missed["precision"]) and missed["ic"] == 1.0


def test_the_most_bouts_are_matched_where_order_finds_fewer() -> None:
    true = np.asarray([0, 1, 0, 1, 1, 0, 0, 0], dtype=bool)
    found = np.asarray([0, 1, 1, 1, 0, 0, 0, 0], dtype=bool)
    assert banos(true, found)["recall"] == banos(true, found, optimal=True)["recall"] == 0.5
    assert best_threshold(true, np.linspace(0, 1, 8)) == (pytest.approx(1 / 7), pytest.approx(0.6))


@samples
def test_the_frames_protocol_tells_best_scores_and_banos() -> None:
    told = expected()
    table = told["banos"]["segments_at_0.3_greedy"]["by_label"]
    pair = (
        load_predictions(FOLDER / "metrics" / "predictions.json"),
        load_annotations(FOLDER / "metrics" / "truth.json"),
    )
    found = evaluate_frames(*pair, "test", [0.5], dict.fromkeys(told["labels"], 0.3)).as_json()["per_label"]
    for label in told["labels"]:
        own = found[label]["banos"]
        assert {"f1_score" if name == "f1" else name: own[name] for name in own} == pytest.approx(
            table[label], abs=1e-9
        )
        assert found[label]["best_f1"] >= found[label]["f1"]
