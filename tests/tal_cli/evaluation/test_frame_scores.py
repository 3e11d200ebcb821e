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

from tal_cli import app
from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation, save_annotations
from tal_cli.datasets.formats import load_annotations
from tal_cli.evaluation.behaviour.banos import banos
from tal_cli.evaluation.behaviour.frame_scores import (
    best_threshold,
    runs,
    shared_threshold,
    smoothed,
)
from tal_cli.evaluation.behaviour.frames import frame_scores
from tal_cli.evaluation.behaviour.vtrace import cut_scores, vtrace

FOLDER = Path(os.environ.get("TAL_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "behaviour"
samples = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the shared folder is absent: {FOLDER} (set TAL_SHARED)")
Floats = NDArray[np.float64]
Output = pytest.CaptureFixture[str]


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


def evaluated(output: Output, *options: str, scores: str = "metrics", truth: Path | None = None) -> dict[str, Any]:
    """What `tal eval --protocol frames` says of the samples, by default of scores of frames."""
    command = ["eval", str(FOLDER / scores), "--annotations", str(truth or FOLDER / "metrics" / "truth.json")]
    assert app.run([*command, "--protocol", "frames", "--format", "json", *options]) == 0
    found: dict[str, Any] = json.loads(output.readouterr().out)
    return found


def as_feral(found: dict[str, Any]) -> dict[str, float]:
    named = {f"f1_{label}": found["per_label"][label]["f1"] for label in expected()["labels"]}
    return named | {name: found[name] for name in ("precision", "recall", "f1", "accuracy")}


@samples
@pytest.mark.parametrize("threshold", ["0.3", "0.5", "0.7"])
def test_feral_at_thresholds(threshold: str, capsys: Output) -> None:
    table = expected()["feral_multilabel"]
    found = evaluated(capsys, "--min-score", threshold)
    assert as_feral(found) == pytest.approx(table[f"at_{threshold}"], abs=1e-9)
    assert found["mAP"] == pytest.approx(table["frame_mAP"], abs=1e-9)
    for label in expected()["labels"]:
        row = found["per_label"][label]
        told = (table["per_label_AP"][label], *(table["best"][f"best_{name}_{label}"] for name in ("thr", "f1")))
        assert (row["ap"], row["best_score"], row["best_f1"]) == pytest.approx(told, abs=1e-9)


@samples
def test_feral_smoothed(capsys: Output) -> None:
    table = expected()["feral_multilabel"]["smoothed_9"]
    np.testing.assert_allclose(smoothed(videos()["a.mp4"][1], 9)[:3], table["first_rows"]["a.mp4"], atol=1e-9)
    found = evaluated(capsys, "--smooth", "9")
    assert as_feral(found) == pytest.approx(table["at_0.5"], abs=1e-9)
    assert found["mAP"] == pytest.approx(table["frame_mAP"], abs=1e-8)  # ties of means


@samples
def test_one_label_at_a_time(capsys: Output) -> None:
    found, table, told = (
        evaluated(capsys)["one_label"],
        expected()["frames_single_label"],
        expected()["feral_single_label"],
    )
    assert (found["labels"], found["confusion"]) == (table["order"], table["confusion_rows_truth"])
    names = {
        "accuracy": "accuracy", "kappa": "cohen_kappa", "macro_f1_with_none": "f1_macro_with_other",
        "macro_f1": "f1_macro_without_other", "micro_f1": "f1_micro_without_other",
        "weighted_f1_with_none": "f1_weighted_with_other",
    }  # fmt: skip
    assert {name: found[own] for own, name in names.items()} == pytest.approx({n: table[n] for n in names.values()})
    assert {f"f1_{label}": found["f1"][label] for label in expected()["labels"]} | {
        "frame_mAP": found["mAP"], "f1": found["macro_f1"],
        **{name: found[name] for name in ("precision", "recall", "accuracy")},
    } == pytest.approx(told, abs=1e-9)  # fmt: skip


@samples
def test_deepethogram(capsys: Output) -> None:
    found, table = evaluated(capsys)["tuned"], expected()["deepethogram_definition"]
    for own, name in (("thresholds", "thresholds"), ("f1", "f1_by_label"), ("ap", "AP_by_label_exact")):
        assert found[own] == pytest.approx(table[name], abs=1e-9)
    names = {
        "mean_f1_with_background": "f1_class_mean", "mean_f1": "f1_class_mean_nobg", "overall_f1": "f1_overall",
        "accuracy": "accuracy_overall",
    }  # fmt: skip
    assert {name: found[own] for own, name in names.items()} == pytest.approx({n: table[n] for n in names.values()})


@samples
def test_frames_that_were_not_looked_at(tmp_path: Path, capsys: Output) -> None:
    table = expected()["deepethogram_definition"]["unlabelled_frames"]
    document = json.loads((FOLDER / "metrics" / "truth.json").read_text())
    first, last = table["not_looked_at_frames"]
    video = document["database"][table["video"]]
    video["reviewed"] = [[0, first / video["fps"]], [last / video["fps"], video["duration"]]]
    (tmp_path / "truth.json").write_text(json.dumps(document))
    found = evaluated(capsys, truth=tmp_path / "truth.json")
    assert found["frames"] == 1950 - (last - first)
    for label in expected()["labels"]:
        row = found["per_label"][label]
        told = (table["per_label_AP"][label], table["f1_at_0.5"][label])
        assert (row["ap"], row["f1"]) == pytest.approx(told, abs=1e-9)


@samples
@pytest.mark.parametrize("matching", ["greedy", "optimal"])
def test_banos(matching: str, capsys: Output) -> None:
    table = expected()["banos"][matching]
    name = "banos" if matching == "greedy" else "banos_optimal"
    found = evaluated(capsys)
    for label in expected()["labels"]:
        assert as_banos(found["per_label"][label][name]) == pytest.approx(table["by_label"][label], abs=1e-9)
    assert as_banos(found[name]) == pytest.approx(table["overall"], abs=1e-9)
    for video, (true, scores) in videos().items():
        for place, label in enumerate(expected()["labels"]):
            own = banos(true[:, place], scores[:, place] > 0.5, optimal=matching == "optimal")
            assert as_banos(own) == pytest.approx(table["by_video"][video][label], abs=1e-9)


def as_banos(measures: dict[str, float]) -> dict[str, float]:
    return {"f1_score" if name == "f1" else name: value for name, value in measures.items()}


@samples
def test_banos_of_segments(capsys: Output) -> None:
    table = expected()["banos"]["segments_at_0.3_greedy"]
    found = evaluated(capsys, "--min-score", "0.3", scores="metrics/predictions.json")
    for label in expected()["labels"]:
        row = found["per_label"][label]
        assert as_banos(row["banos"]) == pytest.approx(table["by_label"][label], abs=1e-9)
        assert row["best_f1"] >= row["f1"]
    assert as_banos(found["banos"]) == pytest.approx(table["overall"], abs=1e-9)


@samples
def test_vtrace(capsys: Output) -> None:
    """V-TRACE computes with float32."""
    told = expected()["vtrace"]
    found = evaluated(capsys, "--min-score", "0.5", scores="metrics/predictions.json")["vtrace"]
    table, shared = told["default"], told["default"]["tuned_global"]
    assert found["mAP"] == pytest.approx(table["mAP"], abs=1e-6)
    assert (found["best_score"], found["best_f1"]) == pytest.approx((shared["threshold"], shared["mean_f1"]), abs=1e-6)
    for place, label in enumerate(table["labels"]):
        row, tuned = found["per_label"][label], table["tuned_per_label"][label]
        assert row["ap"] == pytest.approx(table["per_label_AP"][label], abs=1e-6)
        assert (row["best_score"], row["best_f1"]) == pytest.approx((tuned["threshold"], tuned["f1"]), abs=1e-6)
        names = ("precision", "recall", "f1")
        assert [row[name] for name in names] == pytest.approx([table[name][place] for name in names], abs=1e-6)
        at_half = [told["score_threshold_0.5"][name][place] for name in names]
        assert [row["from_score"][name] for name in names] == pytest.approx(at_half, abs=1e-6)


def test_vtrace_cuts_off_and_leaves_out_what_tells_nothing() -> None:
    items = [("dig", 0.19, 0.5, 0.4), ("dig", 0.3, 0.41, 0.9), ("dig", 0.6, 0.7, 0.0009), ("run", 0.15, 0.19, 0.8)]
    scores = cut_scores([*items, ("fly", 0, 1, 1)], ["dig", "run"], 10.0, 8)
    assert scores.T.tolist() == [[0, 0.4, 0.4, 0.9, 0.4, 0, 0, 0], [0] * 8]  # frames 1 to 4; 1 to 1 holds none
    true, seen = np.ones((8, 2), dtype=bool), np.ones((8, 2), dtype=bool)
    true[:, 1] = False
    found = vtrace(true, scores, seen, ["dig", "run"], {}).as_json()
    assert found["per_label"]["dig"]["ap"] is None and found["per_label"]["run"]["ap"] == found["mAP"] == 0.0
    # Frames without a score never count, though all of them hold the label.
    assert (found["per_label"]["dig"]["best_score"], found["per_label"]["dig"]["best_f1"]) == (0.4, 8 / 12)
    true[4:, 0] = seen[6, 0] = False
    found = vtrace(true, scores, seen, ["dig", "run"], {"dig": 0.5}).as_json()["per_label"]["dig"]
    assert (found["tp"], found["fp"], found["fn"]) == (3, 1, 1) and found["from_score"]["tp"] == 1
    assert found["ap"] == pytest.approx(1 / 4 + 2 / 4 * 3 / 4 + 1 / 4 * 4 / 7)


def test_one_score_for_all_labels() -> None:
    true = np.asarray([[1, 0], [1, 0], [0, 1], [0, 0]], dtype=bool)
    scores = np.asarray([[0.9, 0.0], [0.4, 0.8], [0.0, 0.4], [0.0, 0.2]])
    # From 0.2: F1 of 1 and 2 / (1 + 3); from 0.4: 1 and 2 / (1 + 2); from 0.8: 2 / (2 + 1) and 0.
    assert shared_threshold(true, scores) == (0.4, pytest.approx((1 + 2 / 3) / 2))
    assert shared_threshold(true, scores * 0) == (0.0, 0.0)
    # Of all scores in order, 0.2, 0.4, 0.4, 0.8, 0.9, the two outer quantiles are the ends.
    assert shared_threshold(true, scores, 2) == (0.2, pytest.approx((1 + 2 / 4) / 2))


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


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    """A second of two videos at ten frames per second; run holds from 0.2 to 0.5 s, dig from 0.5 s on."""
    items = (GroundTruth("run", 0.2, 0.5), GroundTruth("dig", 0.5, 1.0))
    known = {n: VideoAnnotation(n, "test", 1.0, 10.0, items, frames=10) for n in ("a", "b")}
    save_annotations(Annotations("", known, ("run", "dig")), tmp_path / "truth.json")
    return tmp_path / "truth.json"


RUN = np.asarray([0.2, 0.2, 0.9, 0.9, 0.5, 0, 0, 0, 0, 0])


def table_of(folder: Path, name: str, text: str) -> str:
    (folder / name).write_text(text)
    return str(folder / name)


def test_forms_of_scores(tmp_path: Path, truth: Path, capsys: Output) -> None:
    rows = [f"{frame},{score:g},0.1" for frame, score in enumerate(RUN)]
    forms = [
        table_of(tmp_path, "a.csv", "\n".join(["frame,run,dig", *rows])),
        table_of(
            tmp_path, "all.tsv", "\n".join(["video,frame,run,dig", *(f"a,{row}" for row in rows)]).replace(",", "\t")
        ),
        table_of(tmp_path, "x.json", json.dumps({"preds": {"a.mp4": [[0.1, each, 0.1][1:] for each in RUN]}})),
        table_of(tmp_path, "y.json", json.dumps({"preds": {"v/a.mp4": [[0.9, each, 0.1] for each in RUN]}})),
    ]
    for form in forms:
        found = evaluated(capsys, scores=form, truth=truth)
        assert found["per_label"]["run"]["tp"] == 2, "0.5 is not above 0.5"
        assert found["bouts"]["0.5"]["run"]["tp"] == 1 and found["per_label"]["dig"]["tp"] == 0
        assert found["one_label"]["labels"] == ["other", "dig", "run"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("frame,run,dig\n0,1,0\n", "a: scores of 1 frames, but the video has 10"),
        ("frame,run,dig\n0,1,x\n", "line 2: expected a score for each of 2 labels"),
        ('{"preds": {"a": [[0.1]]}}', "scores of 1 classes, but the annotations have 2 labels"),
        ('{"preds": {"a": [0.1]}}', "expected a list of probabilities"),
        ('{"preds": {"c": [[0.1, 0.1]]}}', "it has no video of"),
    ],
)
def test_scores_that_are_none(tmp_path: Path, truth: Path, text: str, reason: str, capsys: Output) -> None:
    file = table_of(tmp_path, "a.csv", text)
    assert app.run(["eval", file, "--annotations", str(truth), "--protocol", "frames"]) == 3
    assert reason in capsys.readouterr().err


def test_videos_without_scores_are_told(tmp_path: Path, truth: Path, capsys: Output) -> None:
    file = table_of(tmp_path, "a.csv", "\n".join(["frame,run,dig", *(f"{n},{x},0" for n, x in enumerate(RUN))]))
    assert app.run(["eval", file, "--annotations", str(truth), "--protocol", "frames"]) == 0
    assert "no scores of 1 of 2 evaluated videos; frames there count as 0" in capsys.readouterr().err


def test_only_scores_of_frames_are_smoothed(tmp_path: Path, truth: Path, capsys: Output) -> None:
    file = table_of(tmp_path, "a.csv", "video,label,start,end,score\na,run,0.2,0.5,1\n")
    for more in (["--protocol", "frames"], []):
        assert app.run(["eval", file, "--annotations", str(truth), "--smooth", "3", *more]) == 2
        assert "smooth" in capsys.readouterr().err
