"""The error analysis against the published tool's numbers, against a plain reading of it, and what is written of it."""

from __future__ import annotations

import builtins
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal_cli import app
from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation, save_annotations
from tal_cli.datasets.formats import load_annotations
from tal_cli.evaluation.comparison import compare
from tal_cli.evaluation.diagnosis.analysis import Diagnosis, diagnose
from tal_cli.evaluation.diagnosis.characteristics import SCALES, characterise, usable
from tal_cli.evaluation.diagnosis.document import as_json
from tal_cli.evaluation.diagnosis.error_types import ERRORS, Kind
from tal_cli.evaluation.predictions import Predictions, Row, load_predictions
from tal_cli.extractors.errors import UsageError
from tal_cli.models.inference.tiou import tiou

PUBLISHED = "evaluation/expected/thumos_test.detad.json"


@pytest.fixture(scope="module")
def published(shared: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((shared / PUBLISHED).read_text())
    return content


@pytest.fixture(scope="module")
def thumos(shared: Path) -> Diagnosis:
    truth = load_annotations(shared / "data/thumos14_test_characteristics.json.gz")
    return diagnose(load_predictions(shared / "evaluation/predictions_thumos_test.json.gz"), truth, "testing")


def same(found: Any, wanted: Any) -> None:
    """Every number of `wanted` is in `found`, to 1e-9."""
    if isinstance(wanted, dict):
        for key, value in wanted.items():
            same(found[key], value)
    elif isinstance(wanted, list):
        assert len(wanted) == 1 and found == pytest.approx(wanted[0], abs=1e-9)
    else:
        assert found == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("part", ["false_positive", "sensitivity", "false_negative"])
def test_numbers_are_those_of_the_published_tool(thumos: Diagnosis, published: dict[str, Any], part: str) -> None:
    same(as_json(thumos)[part], published[part])


def test_what_is_analysed_is_what_the_published_tool_analyses(thumos: Diagnosis, published: dict[str, Any]) -> None:
    document = as_json(thumos)
    for name in ("predictions_left_out", "ground_truth_instances", "average_instances_per_class"):
        assert document[name] == published[name]
    for item in thumos.characteristics:
        edges, names = published["settings"]["bins"][item.characteristic.name]
        assert list(item.characteristic.edges) == edges[1:-1] and list(item.characteristic.buckets) == names


def test_computed_characteristics_serve_as_well(shared: Path, published: dict[str, Any]) -> None:
    truth = load_annotations(shared / "data/thumos14.json.gz")
    found = diagnose(load_predictions(shared / "evaluation/predictions_thumos_test.json.gz"), truth, "test")
    document = as_json(found)
    for part in ("sensitivity", "false_negative"):
        same(document[part], published[part])
    # Of two equal segments with different labels the first decides the kind, and the files' orders differ in one place.
    wanted = [published["false_positive"]["error_count_total"]["0.5"][kind.published_name] for kind in Kind]
    assert np.abs(found.false_positives.total[0] - wanted).sum() <= 2


@pytest.mark.parametrize(
    ("file", "subset", "scale"),
    [
        ("thumos14", "test", "thumos"),
        ("activitynet13_val", "validation", "activitynet"),
        ("multithumos", "test", "thumos"),
    ],
)
@pytest.mark.slow
def test_a_data_set_gets_the_buckets_that_were_made_for_it(shared: Path, file: str, subset: str, scale: str) -> None:
    videos = load_annotations(shared / f"data/{file}.json.gz").of(subset)
    counts = {video.name: len(video.segments) for video in videos}
    chosen = characterise(usable(videos), counts, "auto")
    assert tuple(item.characteristic for item in chosen) == SCALES[scale]
    with pytest.raises(UsageError, match="no scale"):
        characterise(usable(videos), counts, "kilometres")


Span = tuple[float, float]
segment = st.tuples(st.integers(0, 20), st.integers(1, 10)).map(lambda pair: (float(pair[0]), float(sum(pair))))
instance = st.tuples(st.sampled_from("uv"), st.sampled_from("ab"), segment)
guess = st.tuples(st.sampled_from("uvx"), st.sampled_from("abc"), segment)


def plain_area(hits: list[bool], count: int, average: float) -> float:
    """Average normalised precision of one label, step by step; hits by falling score."""
    found = 0
    points = []
    for rank, hit in enumerate(hits, start=1):
        found += hit
        recall = found / count
        points.append(recall * average / (recall * average + rank - found))
    return sum(max(points[place:]) for place, hit in enumerate(hits) if hit) / count


def plain_kinds(rows: list[Row], truth: dict[str, list[tuple[str, Span]]], threshold: float) -> list[Kind]:
    """Kind of every row, rows by falling score."""
    taken: set[tuple[str, int]] = set()
    kinds = []
    for video, label, start, end, _ in rows:
        near = [
            (float(tiou(*(np.asarray(x) for x in (start, end, *span)))), number, other)
            for number, (other, span) in enumerate(truth.get(video, []))
        ]
        free = [(o, n) for o, n, other in near if other == label and o >= threshold and (video, n) not in taken]
        if free:
            taken.add((video, max(free)[1]))
            kinds.append(Kind.TRUE_POSITIVE)
            continue
        best, _, other = max(near, key=lambda item: (item[0], -item[1]), default=(0.0, 0, ""))
        if best >= threshold:
            kinds.append(Kind.DOUBLE_DETECTION if other == label else Kind.WRONG_LABEL)
        elif best >= 0.1:
            kinds.append(Kind.LOCALIZATION if other == label else Kind.CONFUSION)
        else:
            kinds.append(Kind.BACKGROUND)
    return kinds


@given(
    instances=st.lists(instance, min_size=1, max_size=10),
    guesses=st.lists(guess, max_size=20),
    threshold=st.sampled_from([0.3, 0.5, 0.75]),
)
def test_agrees_with_a_plain_reading(
    instances: list[tuple[str, str, Span]], guesses: list[tuple[str, str, Span]], threshold: float
) -> None:
    truth: dict[str, list[tuple[str, Span]]] = {}
    for video, label, span in instances:
        truth.setdefault(video, []).append((label, span))
    videos = {
        name: VideoAnnotation(name, "test", 40.0, None, tuple(GroundTruth(label, *span) for label, span in found))
        for name, found in truth.items()
    }
    labels = sorted({label for _, label, _ in instances})
    rows: list[Row] = [(v, label, *span, 1 - number / 50) for number, (v, label, span) in enumerate(guesses)]
    found = diagnose(Predictions.from_rows(rows), Annotations("", videos, tuple(labels)), "test", [threshold])
    counted = [row for row in rows if row[0] in truth and row[1] in labels]
    assert found.left_out == len(rows) - len(counted)
    best: list[Row] = []
    for label in labels:
        count = sum(other == label for _, other, _ in instances)
        best += [row for row in counted if row[1] == label][: 10 * count]
    best.sort(key=lambda row: -row[4])
    kinds = plain_kinds(best, truth, threshold)
    assert found.false_positives.total[0].tolist() == [kinds.count(kind) for kind in Kind]
    average = len(instances) / len(labels)
    for without, gain in zip(ERRORS, found.false_positives.gain, strict=True):
        areas = {True: 0.0, False: 0.0}
        for label in labels:
            mine = [kind for row, kind in zip(best, kinds, strict=True) if row[1] == label]
            count = sum(other == label for _, other, _ in instances)
            for all_of_them in areas:
                hits = [kind is Kind.TRUE_POSITIVE for kind in mine if all_of_them or kind is not without]
                areas[all_of_them] += plain_area(hits, count, average) / len(labels)
        assert gain == pytest.approx(areas[False] - areas[True], abs=1e-12)
    assert found.sensitivity.precision.mean() >= found.false_negatives.average - 1e-12
    for item, missed in zip(found.characteristics, found.false_negatives.by_bucket, strict=True):
        shares = np.where(item.counts > 0, np.nan_to_num(missed) * item.counts, 0)
        assert shares.sum() / len(instances) == pytest.approx(found.false_negatives.rate, abs=1e-12)


def test_sensitivity_is_that_of_one_bucket_alone() -> None:
    spans = [(0.0, 1.0), (10.0, 11.0), (20.0, 40.0)]
    video = VideoAnnotation("v", "test", 100.0, None, tuple(GroundTruth("a", *span) for span in spans))
    found = [("v", "a", 20.0, 40.0, 0.9), ("v", "a", 50.0, 60.0, 0.8), ("v", "a", 0.0, 1.0, 0.7)]
    result = diagnose(Predictions.from_rows(found), Annotations("", {"v": video}, ("a",)), "test", [0.5], "thumos")
    by_length = result.sensitivity.by_bucket[1]
    # One of two short instances is found, behind a false positive: recall 1/2, precision (1/2 · 3) / (1/2 · 3 + 1).
    assert by_length[0] == pytest.approx(0.5 * 1.5 / 2.5) and by_length[4] == pytest.approx(1.0)
    assert np.isnan(by_length[1:4]).all()
    assert result.false_negatives.by_bucket[1][0] == pytest.approx(
        0.5
    ) and result.false_negatives.rate == pytest.approx(1 / 3)


def test_scores_against_overlaps_of_one_video(shared: Path) -> None:
    truth = load_annotations(shared / "data/thumos14.json.gz")
    found = load_predictions(shared / "evaluation/predictions_thumos_test.json.gz")
    name = "video_test_0000292"
    scatter = diagnose(found, truth, "test", video=name).scatter
    rows = [row for row, video in enumerate(found.videos) if video == name]
    assert sorted(scatter.scores) == sorted(found.scores[rows])
    only = truth.videos[name].segments[0]
    mine = [row for row in rows if found.labels[row] == only.label]
    wanted = tiou(found.starts[mine], found.ends[mine], np.asarray(only.start), np.asarray(only.end))
    assert sorted(scatter.overlaps[scatter.overlaps > 0]) == pytest.approx(sorted(wanted[wanted > 0]))
    assert scatter.true.sum() == 1 and len(truth.videos[name].segments) == 1


def test_instances_that_cannot_be_analysed_are_counted() -> None:
    items = (GroundTruth("a", 1, 2), GroundTruth("a", 3, 3), GroundTruth("a", 5, 4), GroundTruth("b", 0, 11))
    video = VideoAnnotation("v", "test", 10.0, None, items)
    found = diagnose(Predictions.from_rows([]), Annotations("", {"v": video}, ("a", "b")), "test")
    assert (found.unusable, found.labels, found.instances.tolist()) == (3, ("a",), [1])
    assert found.characteristics[2].bucket.tolist() == [1]  # four instances in the video, whatever they are like


HOSTILE = "<script>alert('x')</script>"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """Ground truth and predictions with a label and a video whose names contain HTML."""
    videos = {
        name: VideoAnnotation(name, "validation", 60.0, None, (GroundTruth(label, 1, 5), GroundTruth("b", 20, 50)))
        for name, label in (("v", HOSTILE), ("w&amp;", "b"))
    }
    save_annotations(Annotations("", videos, ("b", HOSTILE)), tmp_path / "truth.json")
    rows = [{"label": label, "score": 0.5, "segment": [1, 5.5]} for label in (HOSTILE, "b", "unheard")]
    results = {"v": rows, "w&amp;": rows[1:], "elsewhere": rows}
    (tmp_path / "found.json").write_text(json.dumps({"results": results}))
    return tmp_path / "truth.json", tmp_path / "found.json"


@pytest.mark.slow
def test_command_writes_figures_document_and_page(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, found = files
    arguments = ["diagnose", str(found), "--annotations", str(truth), "--out", str(tmp_path / "out")]
    assert app.run([*arguments, "--tiou", "0.5:0.25:0.75"]) == 0
    printed = capsys.readouterr()
    assert (
        "double detection" in printed.out
        and "5 predictions skipped: no instances in the video or of the label" in printed.err
    )
    names = {path.name for path in (tmp_path / "out").iterdir()}
    figures = {"false_positives", "sensitivity", "false_negatives", "score_overlap"}
    assert names == {"diagnosis.json", "index.html", *(f"{name}.{kind}" for name in figures for kind in ("png", "svg"))}
    for name in figures:
        assert (tmp_path / "out" / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
        assert b"<svg" in (tmp_path / "out" / f"{name}.svg").read_bytes()[:2000]
    document = json.loads((tmp_path / "out/diagnosis.json").read_text())
    assert document["tiou_thresholds"] == [0.5, 0.75] and document["predictions_left_out"] == 5
    page = (tmp_path / "out/index.html").read_text()
    assert "<script" not in page and "&lt;script&gt;" in page
    assert "http" not in page.replace("http-equiv", "") and page.count("data:image/svg+xml") == 4
    first = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert app.run([*arguments, "--tiou", "0.5:0.25:0.75", "-f", "json", "-q"]) == 0
    assert json.loads(capsys.readouterr().out) == document
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == first


def test_command_needs_no_figures(files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = files
    assert app.run(["diagnose", str(found), "--annotations", str(truth), "--format", "json", "--scale", "thumos"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["bins"]["length"]["XL"] == "above 18 s"
    assert document["sensitivity"]["average_mAP_N"]["length"]["M"] is None
    assert app.run(["diagnose", str(found)]) == 2
    assert app.run(["diagnose", str(found), "--annotations", str(truth), "--video", "elsewhere"]) == 2
    assert app.run(["diagnose", str(found), "--annotations", str(truth), "--subset", "moon"]) == 2


@pytest.mark.slow
def test_nothing_found_at_all(files: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "empty.json").write_text('{"results": {}}')
    arguments = [
        "diagnose",
        str(tmp_path / "empty.json"),
        "--annotations",
        str(files[0]),
        "--out",
        str(tmp_path / "out"),
    ]
    assert app.run(arguments) == 0
    document = json.loads((tmp_path / "out/diagnosis.json").read_text())
    assert document["false_negative"]["rate_total"] == 1 and document["false_positive"]["predictions_kept"] == 0


def test_without_matplotlib_the_extra_is_named(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    really = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return really(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    arguments = ["diagnose", str(files[1]), "--annotations", str(files[0]), "--out", str(tmp_path / "out")]
    assert app.run(arguments) == 4
    assert "tal-cli[plots]" in capsys.readouterr().err


def test_comparison_lays_two_files_side_by_side(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, found = files
    better = {
        "v": [{"label": HOSTILE, "score": 0.5, "segment": [1, 5]}, {"label": "b", "score": 1, "segment": [20, 50]}]
    }
    (tmp_path / "better.json").write_text(json.dumps({"results": better}))
    arguments = ["compare", str(found), str(tmp_path / "better.json"), "--annotations", str(truth), "--tiou", "0.5,0.9"]
    assert app.run([*arguments, "--format", "json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["mAP"].keys() == {"0.5", "0.9", "average"}
    row = document["per_label"][HOSTILE]
    assert (row["a"], row["b"]) == (0.5, 1.0) and row["difference"] == 0.5
    assert list(document["share_of_best_G"]) == [kind.name.replace("_", " ").lower() for kind in Kind]
    assert document["missed"]["b"] == 0.5
    assert app.run(arguments) == 0
    assert "B - A" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["diagnose", "compare"])
def test_the_default_thresholds_are_those_of_eval(
    files: tuple[Path, Path], command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    truth, *found = map(str, (*files, files[1]) if command == "compare" else files)
    assert app.run([command, *found, "--annotations", truth]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("tIoU"))
    assert line.split(maxsplit=1)[1] == "0.3, 0.4, 0.5, 0.6, 0.7"


def test_a_file_compared_with_itself_differs_in_nothing(shared: Path) -> None:
    truth = load_annotations(shared / "data/thumos14.json.gz")
    found = load_predictions(shared / "evaluation/predictions_thumos_test_ties.json.gz")
    result = compare(found, found, truth, "test", [0.5])
    rows = [*result.precision, *result.labels, *result.shares, *result.costs, result.missed]
    assert all(row.difference == 0 and math.isfinite(row.first) for row in rows)
