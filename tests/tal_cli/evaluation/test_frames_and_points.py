"""Evaluation by frames, of points, and of what is shown."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tal_cli import app
from tal_cli.behaviour.bouts import Counts
from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation, save_annotations
from tal_cli.datasets.checks import Expected, check_annotations
from tal_cli.datasets.formats import load_annotations
from tal_cli.evaluation.average_precision import evaluate
from tal_cli.evaluation.behaviour.bouts import bout_counts, shown
from tal_cli.evaluation.behaviour.frame_scores import average_precision
from tal_cli.evaluation.behaviour.frames import evaluate_frames, frame_scores
from tal_cli.evaluation.behaviour.points import evaluate_points
from tal_cli.evaluation.predictions import Predictions, load_predictions
from tal_cli.evaluation.protocols import without_repeats
from tal_cli.extractors.errors import UsageError

FOLDER = Path(os.environ.get("TAL_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "behaviour"
samples = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the shared folder is absent: {FOLDER} (set TAL_SHARED)")
STATE = GroundTruth("run", 1.0, 2.0)


def expected() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((FOLDER / "expected_statistics.json").read_text())["frames"]
    return found


def sample() -> tuple[Predictions, Annotations]:
    metrics = FOLDER / "metrics"
    return load_predictions(metrics / "predictions.json"), load_annotations(metrics / "truth.json")


@samples
@pytest.mark.parametrize("score", ["0.0001", "0.3", "0.5"])
def test_frames_of_segments(score: str) -> None:
    told = expected()
    found = evaluate_frames(*sample(), "test", [0.5], dict.fromkeys(told["labels"], float(score))).as_json()
    table = told["frames_from_segments"]
    for label in told["labels"]:
        row = found["per_label"][label]
        assert {name: row[name] for name in table["thresholds"][score][label]} == pytest.approx(
            table["thresholds"][score][label], abs=1e-9
        )
        assert row["ap"] == pytest.approx(table["per_label_AP"][label], abs=1e-9)
    assert found["f1"] == pytest.approx(table["thresholds"][score]["macro_f1"], abs=1e-9)
    assert found["mAP"] == pytest.approx(table["mAP"], abs=1e-9) and found["frames"] == 1950


@samples
def test_bouts() -> None:
    told = expected()
    for name, table in told["bout_f1"].items():
        score, level = (float(part.rpartition("=")[2]) for part in name.split())
        counts = bout_counts(*sample(), "test", [level], dict.fromkeys(told["labels"], score))[level]
        for label in told["labels"]:
            assert counts[label].as_json() == pytest.approx(
                {key: value for key, value in table[label].items() if key != "tp_largest_matching"}, abs=1e-9
            )


@samples
def test_average_precision_of_scores() -> None:
    """FERAL's, of frames of all videos together."""
    told = expected()
    _, truth = sample()
    true, scores = [], []
    for name, frames in told["frames"].items():
        times = np.arange(frames) / told["fps"]
        items = [(item.label, item.start, item.end, 1.0) for item in truth.videos[name].segments]
        true.append(frame_scores(items, told["labels"], times) > 0)
        with (FOLDER / "metrics" / f"scores_{name[0]}.csv").open() as file:
            scores.append([[float(row[label]) for label in told["labels"]] for row in csv.DictReader(file)])
    for place, label in enumerate(told["labels"]):
        found = average_precision(np.concatenate(true)[:, place], np.concatenate(scores)[:, place])
        assert found == pytest.approx(told["feral_multilabel"]["per_label_AP"][label], abs=1e-9)


def video(*items: GroundTruth, **more: Any) -> Annotations:
    told = VideoAnnotation("v", "test", 4.0, 10.0, items, **more)
    return Annotations("", {"v": told}, tuple(sorted({item.label for item in items})))


def test_frames_that_were_not_reviewed_do_not_count() -> None:
    guesses = Predictions.from_rows([("v", "run", 1.5, 2.5, 0.9), ("v", "run", 3.0, 4.0, 0.8), ("w", "run", 0, 1, 0.9)])
    whole = evaluate_frames(guesses, video(STATE), "test", [0.3], {})
    assert whole.counts["run"] == Counts(5, 15, 5) and whole.frames == 40
    part = evaluate_frames(guesses, video(STATE, reviewed=((0.0, 2.0),)), "test", [0.3], {})
    assert part.counts["run"] == Counts(5, 0, 5) and part.frames == 20
    assert part.bouts[0.3]["run"] == Counts(1, 1, 0), "the one of another video"
    with pytest.raises(UsageError, match="frame rate is not known"):
        unknown = Annotations("", {"v": VideoAnnotation("v", "test", 4.0, None, (STATE,))}, ("run",))
        evaluate_frames(guesses, unknown, "test", [0.3], {})


def test_a_segment_between_two_frames_has_none_and_a_point_has_one() -> None:
    items = [("walk", 0.11, 0.19, 0.5), ("walk", 0.4, 0.4, 0.7), ("walk", 0.75, 0.8, 0.9)]
    times = np.arange(10) / 10
    assert np.flatnonzero(frame_scores(items, ["walk"], times)[:, 0]).tolist() == [4]


def test_average_precision_is_of_distinct_scores() -> None:
    true = np.asarray([True, False, True, False])
    assert average_precision(true, np.asarray([0.9, 0.8, 0.7, 0.1])) == pytest.approx(0.5 + 0.5 * 2 / 3)
    assert average_precision(true, np.full(4, 0.5)) == 0.5 and average_precision(~true & true, np.ones(4)) == 0.0


def test_points_are_found_within_a_tolerance() -> None:
    """By the formulas of SoccerNet's evaluator: at tolerances of 1 to 5 s, two of which reach the second point."""
    truth = video(GroundTruth("bite", 10.0, 10.0, "point"), GroundTruth("bite", 50.0, 50.0, "point"), STATE)
    guesses = Predictions.from_rows([
        ("v", "bite", 9.5, 10.5, 0.9), ("v", "bite", 51.5, 52.5, 0.8), ("v", "run", 1.0, 2.0, 0.7),
    ])  # fmt: skip
    found = evaluate_points(guesses, truth.of("test"), ["bite"])
    # With half of the points found, precision is 1 up to a recall of 0.5: 6 of 11.
    assert found.tight[0].tolist() == pytest.approx([6 / 11, 6 / 11, 6 / 11, 1.0, 1.0])
    assert found.as_json()["tight"] == pytest.approx((6 / 11 * 2 + (6 / 11 + 1) / 2 + 1) / 4)
    assert found.as_json()["loose"] == 1.0
    both = evaluate(guesses, truth, "test", [0.5, 0.7])
    assert both.labels == ("run", "bite") and both.precision[0].tolist() == [1.0, 1.0]
    assert both.average == pytest.approx((1 + found.as_json()["tight"]) / 2) and both.ignored == 0
    alone = evaluate(guesses, video(GroundTruth("bite", 10.0, 10.0, "point")), "test", [0.5])
    assert alone.labels == ("bite",) and alone.as_json()["points"]["loose"] > 0


def test_points_are_neither_empty_nor_wrong() -> None:
    truth = video(STATE, GroundTruth("bite", 3.0, 3.0, "point"), GroundTruth("run", 3.5, 3.5))
    kept = without_repeats(truth).videos["v"].segments
    assert [item.label for item in kept] == ["run", "bite"]
    problems = list(check_annotations(truth, Expected((("test", 0),))))
    assert [(problem.kind, problem.detail) for problem in problems] == [("empty segment", "run 3.5-3.5")]


def test_what_is_shown() -> None:
    rows = [("v", "run", 1.0, 2.0, 0.9), ("v", "run", 3.0, 4.0, 0.2), ("v", "bite", 2.8, 3.3, 0.5)]
    truth = video(STATE, GroundTruth("bite", 3.0, 3.0, "point"))
    told = shown(Predictions.from_rows(rows), truth, "test", 0.3)
    assert told.counts == {"run": Counts(1, 0, 0), "bite": Counts(1, 0, 0)}
    assert shown(Predictions.from_rows(rows), truth, "test").counts["run"] == Counts(1, 1, 0)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_annotations(video(STATE), tmp_path / "truth.json")
    results = {"v": [{"label": "run", "score": s, "segment": [a, a + 1]} for s, a in ((0.9, 1), (0.1, 3))]}
    document = {"results": results, "external_data": {"display_score": 0.5}}
    (tmp_path / "found.json").write_text(json.dumps(document))
    command = ["eval", str(tmp_path / "found.json"), "--annotations", str(tmp_path / "truth.json"), "--subset", "test"]
    assert app.run([*command, "-f", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["shown"]["per_label"]["run"] | {"score": 0.5} == found["shown"]["per_label"]["run"]
    assert found["shown"]["f1"] == 1.0 and found["average"] == 1.0
    assert app.run([*command, "--protocol", "frames", "-f", "json", "--min-score", "0"]) == 0
    frames = json.loads(capsys.readouterr().out)
    assert frames["precision"] == 0.5 and frames["recall"] == 1.0 and frames["bout_f1"]["0.5"] == pytest.approx(2 / 3)
    assert app.run([*command, "--protocol", "frames"]) == 0 and "bout F1 0.5" in capsys.readouterr().out
    assert app.run(command) == 0 and "shown, tIoU 0.5" in capsys.readouterr().out
