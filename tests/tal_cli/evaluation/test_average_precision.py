"""Evaluation against the published evaluators' numbers, and against a plain reading of their definition."""

from __future__ import annotations

import gzip
import json
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal_cli import app
from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation
from tal_cli.datasets.formats import load_annotations
from tal_cli.evaluation.average_precision import evaluate, parse_tiou
from tal_cli.evaluation.matching import Matching
from tal_cli.evaluation.predictions import Predictions, Row, load_predictions
from tal_cli.evaluation.protocols import EPIC_TASKS, Task, evaluate_files, without_repeats
from tal_cli.extractors.errors import InputError, UsageError

CASES = {
    "anet_sample.activitynet": "activitynet13_val",
    "anet_val.activitynet": "activitynet13_val",
    "anet_val_ties.activitynet.first": "activitynet13_val",
    "anet_val_ties.actionformer.first": "activitynet13_val",
    "anet_val_ties.opentad.first": "activitynet13_val",
    "thumos_test.activitynet": "thumos14",
    "thumos_test.actionformer": "thumos14",
    "thumos_test.opentad": "thumos14",
    "thumos_test_edge.activitynet": "thumos14",
    "thumos_test_edge.actionformer": "thumos14",
    "thumos_test_edge.opentad": "thumos14",
    "thumos_test_ties.activitynet.first": "thumos14",
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.slow
def test_numbers_are_those_of_the_published_evaluators(shared: Path, case: str) -> None:
    expected = json.loads((shared / "evaluation" / "expected" / f"{case}.json").read_text())
    truth = load_annotations(shared / "data" / f"{CASES[case]}.json.gz")
    predictions = load_predictions(shared / "evaluation" / f"predictions_{case.split('.')[0]}.json.gz")
    if case.split(".")[1] != "activitynet":
        truth = without_repeats(truth)
    result = evaluate(predictions, truth, expected["subset"], expected["tiou_thresholds"])
    assert set(result.labels) == set(expected["ap_per_class"])
    for label, row in zip(result.labels, result.precision, strict=True):
        np.testing.assert_allclose(row, expected["ap_per_class"][label], rtol=0, atol=1e-9)
    np.testing.assert_allclose(result.mean, list(expected["mAP"].values()), rtol=0, atol=1e-9)
    assert result.average == pytest.approx(expected["average_mAP"], abs=1e-9)
    for name, values in expected.get("recall", {}).items():
        np.testing.assert_allclose(result.recall[int(name[1])], list(values.values()), rtol=0, atol=1e-9)


@pytest.mark.parametrize("task", ["verb", "noun", "action"])
def test_epic_numbers_are_those_of_its_evaluator(shared: Path, task: str, capsys: pytest.CaptureFixture[str]) -> None:
    expected = json.loads((shared / "evaluation/expected/epic_val.epic.json").read_text())[task]
    arguments = [str(shared / "evaluation/predictions_epic_val.json.gz"), "--protocol", "epic", "--format", "json"]
    assert app.run(["eval", *arguments, "--annotations", str(shared / "data/epic100_val.json.gz"), "--task", task]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["average"] == pytest.approx(expected["average_mAP"], abs=1e-9)
    for label, row in expected["ap_per_class"].items():
        np.testing.assert_allclose(list(found["per_label"][label].values()), row, rtol=0, atol=1e-9)


def test_equal_scores_stay_near_the_order_that_was_run(shared: Path) -> None:
    expected = json.loads((shared / "evaluation/expected/anet_val_ties.activitynet.as-run.json").read_text())
    truth = load_annotations(shared / "data/activitynet13_val.json.gz")
    predictions = load_predictions(shared / "evaluation/predictions_anet_val_ties.json.gz")
    result = evaluate(predictions, truth, "validation", expected["tiou_thresholds"])
    assert result.average == pytest.approx(expected["average_mAP"], abs=0.002)


def plain_overlap(one: tuple[float, float], other: tuple[float, float]) -> float:
    """Intersection over union; 0/0 comes before every number and is below none."""
    inner = max(0.0, min(one[1], other[1]) - max(one[0], other[0]))
    union = (other[1] - other[0]) + (one[1] - one[0]) - inner
    return inner / union if union else math.inf


def plain_recall(rows: list[Row], video_truth: dict[str, list[tuple[float, float]]], threshold: float, k: int) -> float:
    """Share of one label's instances that the best k n predictions of their video, for n instances there, find."""
    found = 0
    for video, instances in video_truth.items():
        mine = sorted((row for row in rows if row[0] == video), key=lambda row: -row[4])[: k * len(instances)]
        found += sum(
            any(threshold <= plain_overlap((row[2], row[3]), instance) < math.inf for row in mine)
            for instance in instances
        )
    return found / sum(len(instances) for instances in video_truth.values())


def plain_precision(rows: list[Row], video_truth: dict[str, list[tuple[float, float]]], threshold: float) -> float:
    """Average precision of one label, step by step."""
    count = sum(len(instances) for instances in video_truth.values())
    taken: set[tuple[str, int]] = set()
    hits = []
    for video, _, start, end, _ in sorted(rows, key=lambda row: -row[4]):
        overlaps = []
        for index, (a, b) in enumerate(video_truth.get(video, [])):
            overlaps.append((plain_overlap((start, end), (a, b)), index))
        for overlap, index in sorted(overlaps, reverse=True):
            if overlap >= threshold and (video, index) not in taken:
                taken.add((video, index))
                hits.append(True)
                break
        else:
            hits.append(False)
    precisions = [sum(hits[: i + 1]) / (i + 1) for i in range(len(hits))]
    return sum(max(precisions[i:]) for i, hit in enumerate(hits) if hit) / count


# Some end before they start, have no length or begin before the video does.
segment = st.tuples(st.integers(-2, 12), st.integers(-2, 8)).map(lambda pair: (float(pair[0]), float(sum(pair))))
instance = st.tuples(st.sampled_from("uvw"), st.sampled_from("ab"), segment)
prediction = st.tuples(st.sampled_from("uvwx"), st.sampled_from("abc"), segment, st.integers(0, 5))


@given(
    truth=st.lists(instance, min_size=1, max_size=12),
    guesses=st.lists(prediction, max_size=25),
    threshold=st.sampled_from([0.1, 0.3, 0.5, 0.75, 1.0]),
)
def test_agrees_with_a_plain_reading(
    truth: list[tuple[str, str, tuple[float, float]]],
    guesses: list[tuple[str, str, tuple[float, float], int]],
    threshold: float,
) -> None:
    videos = {
        name: VideoAnnotation(
            name, "test", 40.0, None, tuple(GroundTruth(label, *span) for video, label, span in truth if video == name)
        )
        for name in "uvw"
    }
    rows = [(video, label, *span, score / 5) for video, label, span, score in guesses]
    annotations = Annotations("", videos, ("a", "b"))
    result = evaluate(Predictions.from_rows(rows), annotations, "test", [threshold])
    assert result.labels == tuple(sorted({label for _, label, _ in truth}))
    assert result.ignored == sum(row[1] not in result.labels for row in rows)
    recalls = []
    for label, found in zip(result.labels, result.precision[:, 0], strict=True):
        by_video = {
            name: [(item.start, item.end) for item in video.segments if item.label == label]
            for name, video in videos.items()
        }
        mine = [row for row in rows if row[1] == label]
        assert found == pytest.approx(plain_precision(mine, by_video, threshold), abs=1e-12)
        recalls.append([plain_recall(mine, by_video, threshold, k) for k in (1, 5)])
    wanted = np.mean(recalls, axis=0)
    assert [result.recall[1][0], result.recall[5][0]] == pytest.approx(wanted.tolist(), abs=1e-12)


def test_epics_numbers_are_one_however_they_are_written(tmp_path: Path) -> None:
    truth = [{"verb_id": 3, "noun_id": 0, "action": "3,0", "segment": [1, 2]}]
    entry = {"subset": "validation", "duration": 9, "annotations": truth}
    (tmp_path / "truth.json").write_text(json.dumps({"database": {"v": entry}}))
    row = {"score": 1, "segment": [1, 2]}
    # An action counts as 300 verb + noun, so 2,300 is 3,0.
    for verb, noun, action in ((3, 0, "3,0"), ("3", "0", "3, 0"), (3.0, 0.0, " 03,0"), (3, 0, "2,300")):
        found = {"results": {"v": [{**row, "verb": verb, "noun": noun, "action": action}]}}
        (tmp_path / "found.json").write_text(json.dumps(found))
        for task in EPIC_TASKS.values():
            result = evaluate_files(tmp_path / "found.json", tmp_path / "truth.json", task, None, [0.5])
            assert (result.average, result.ignored) == (1.0, 0)


def test_epics_protocol_says_that_it_wants_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segment = {"label": "take", "verb": 0, "noun": 1, "action": "0;1", "score": 1, "segment": [1, 2]}
    entry = {"subset": "validation", "duration": 9, "annotations": [segment]}
    (tmp_path / "truth.json").write_text(json.dumps({"database": {"v": entry}}))
    (tmp_path / "found.json").write_text(json.dumps({"results": {"v": [segment]}}))
    arguments = ["eval", str(tmp_path / "found.json"), "--annotations", str(tmp_path / "truth.json")]
    assert app.run([*arguments, "--protocol", "epic", "--task", "verb"]) == 3
    assert "'take' is not an EPIC-KITCHENS class number (verb)" in capsys.readouterr().err
    assert app.run([*arguments, "--protocol", "epic", "--task", "action"]) == 3
    assert "'0;1' is not an EPIC-KITCHENS class number (action)" in capsys.readouterr().err


def test_thresholds() -> None:
    assert parse_tiou("0.3:0.1:0.7") == tuple(np.linspace(0.3, 0.7, 5))
    assert parse_tiou("0.5") == (0.5,) and parse_tiou("0.3,0.5") == (0.3, 0.5)
    for wrong in (
        "",
        "0.3:0.1",
        "0.7:0.1:0.3",
        "0:0.1:1",
        "0.3:0:0.7",
        "a",
        "0.3:0.15:0.7",
        "2",
        "nan",
        "0.1:1:inf",
        "0.1:inf:0.5",
    ):
        with pytest.raises(UsageError):
            parse_tiou(wrong)


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    truth = {"v": {"subset": "validation", "duration": 10, "annotations": [{"label": "a", "segment": [1, 3]}]}}
    results = {"v": [{"label": "a", "score": 0.5, "segment": [1, 3]}, {"label": "z", "score": 0.4, "segment": [1, 3]}]}
    annotations, predictions = tmp_path / "truth.json.gz", tmp_path / "found.json"
    annotations.write_bytes(gzip.compress(json.dumps({"database": truth}).encode()))
    predictions.write_text(json.dumps({"results": results}))
    return annotations, predictions


def test_command_prints_json_and_table(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    annotations, predictions = files
    arguments = ["eval", str(predictions), "--annotations", str(annotations)]
    assert app.run([*arguments, "--format", "json"]) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["tiou"] == {"0.3": 1, "0.4": 1, "0.5": 1, "0.6": 1, "0.7": 1} and document["average"] == 1
    assert document["per_label"] == {"a": document["tiou"]} and document["recall"]["1x"]["0.5"] == 1
    assert "1 prediction of labels without ground truth" in printed.err
    assert app.run([*arguments, "--tiou", "0.5"]) == 0
    assert "mAP" in capsys.readouterr().out
    lines = tmp_path / "found.jsonl"
    lines.write_text('{"video": "v", "segments": [{"label": "a", "score": 0.5, "segment": [1, 3]}]}\n')
    assert app.run(["eval", str(lines), "--annotations", str(annotations), "-f", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["average"] == 1


def test_command_refuses_what_it_cannot_evaluate(files: tuple[Path, Path], tmp_path: Path) -> None:
    annotations, predictions = (str(path) for path in files)
    assert app.run(["eval", predictions]) == 2
    assert app.run(["eval", predictions, "--annotations", annotations, "--task", "verb"]) == 2
    assert app.run(["eval", predictions, "--annotations", annotations, "--subset", "moon"]) == 2
    assert app.run(["eval", predictions, "--annotations", annotations, "--tiou", "high"]) == 2
    assert app.run(["eval", predictions, "--dataset", "nothing"]) == 2
    assert app.run(["eval", predictions, "--annotations", predictions]) == 3
    assert app.run(["eval", annotations, "--annotations", annotations]) == 3
    assert app.run(["eval", str(tmp_path / "none.json"), "--annotations", annotations]) == 3


@pytest.mark.parametrize(
    ("file", "subset", "count"),
    [("activitynet13_val", "validation", 7630), ("multithumos", "test", 20156), ("thumos14", "test", 3358)],
)
def test_actionformer_counts_what_does_not_repeat(shared: Path, file: str, subset: str, count: int) -> None:
    truth = without_repeats(load_annotations(shared / f"data/{file}.json.gz"))
    assert sum(len(video.segments) for video in truth.of(subset)) == count


def test_actionformers_protocol_by_command(shared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    expected = json.loads((shared / "evaluation/expected/anet_val_ties.actionformer.first.json").read_text())
    arguments = [
        str(shared / "evaluation/predictions_anet_val_ties.json.gz"),
        "--protocol",
        "actionformer",
        "-f",
        "json",
    ]
    arguments += ["--annotations", str(shared / "data/activitynet13_val.json.gz"), "--tiou", "0.5:0.05:0.95"]
    assert app.run(["eval", *arguments]) == 0
    assert json.loads(capsys.readouterr().out)["average"] == pytest.approx(expected["average_mAP"], abs=1e-9)


def test_no_predictions_at_all_score_zero(files: tuple[Path, Path]) -> None:
    result = evaluate(Predictions.from_rows([]), load_annotations(files[0]), "validation", [0.5])
    assert result.average == 0 and result.recall[5][0] == 0


@pytest.mark.parametrize(
    "rows",
    [
        '[{"label": "a"}]',
        '[{"label": "a", "score": "x", "segment": [1, 2]}]',
        "3",
        '[{"score": 1}]',
        '[{"label": "a", "score": NaN, "segment": [1, 2]}]',
    ],
)
def test_bad_rows_name_their_video(tmp_path: Path, rows: str) -> None:
    path = tmp_path / "found.json"
    path.write_text(f'{{"results": {{"some video": {rows}}}}}')
    with pytest.raises(InputError, match="some video"):
        load_predictions(path)


@pytest.mark.parametrize("name", ["found.json", "found.jsonl"])
def test_half_characters_are_no_text(tmp_path: Path, name: str) -> None:
    rows = '[{"label": "\\ud83d", "score": 1, "segment": [1, 2]}]'
    content = f'{{"results": {{"v": {rows}}}}}' if name.endswith("json") else f'{{"video": "v", "segments": {rows}}}'
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError):
        load_predictions(tmp_path / name)
    (tmp_path / name).write_text(content.replace("\\ud83d", "\\ud83d\\ude00"))
    assert load_predictions(tmp_path / name).labels == ("😀",)


def test_without_a_subset_what_is_predicted_is_evaluated(tmp_path: Path) -> None:
    video = {"duration": 9, "annotations": [{"label": "a", "segment": [1, 2]}]}
    truth = {"database": {name: {"subset": name, **video} for name in ("training", "validation")}}
    (tmp_path / "truth.json").write_text(json.dumps(truth))
    for predicted, subset in ((["training"], "training"), (["training", "validation"], "all"), ([], "validation")):
        found = {name: [{"label": "a", "score": 1, "segment": [1, 2]}] for name in predicted}
        (tmp_path / "found.json").write_text(json.dumps({"results": found}))
        result = evaluate_files(tmp_path / "found.json", tmp_path / "truth.json", Task("label", "label"), None, [0.5])
        assert (result.subset, result.average) == (subset, 1.0 if predicted else 0.0)


def test_memory_grows_with_the_instances_not_with_labels_times_videos() -> None:
    count = 3000
    videos = {
        f"v{i}": VideoAnnotation(f"v{i}", "test", 9.0, None, (GroundTruth(f"l{i}", 1.0, 2.0),)) for i in range(count)
    }
    truth = Annotations("", videos, tuple(sorted(f"l{i}" for i in range(count))))
    rows = [(f"v{i}", f"l{i}", 1.0, 2.0, 0.5) for i in range(count)]
    tracemalloc.start()
    try:
        found = Matching.of(Predictions.from_rows(rows), list(truth.videos.values()))
        assert found.true_positives(0.5).all()
        assert tracemalloc.get_traced_memory()[1] < 20 << 20  # a table of all pairs alone has 72 MB
    finally:
        tracemalloc.stop()
