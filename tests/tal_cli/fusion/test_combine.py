"""Proposals with scores of whole videos, and verbs with nouns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tal_cli import app
from tal_cli.evaluation.predictions import Predictions, Row, load_predictions
from tal_cli.extractors.errors import InputError, UsageError
from tal_cli.fusion.actions import combine_actions
from tal_cli.fusion.video_scores import VideoScores, label_proposals, load_video_scores


def results(path: Path, **videos: list[tuple[str, float, float, float]]) -> Path:
    rows = {
        video: [{"label": label, "segment": [start, end], "score": score} for label, start, end, score in items]
        for video, items in videos.items()
    }
    path.write_text(json.dumps({"results": rows}))
    return path


def test_each_proposal_takes_the_best_classes() -> None:
    proposals = Predictions.from_rows(
        [("a", "", 0.0, 1.0, 0.25), ("b", "", 5.0, 6.0, 0.9), ("a", "", 2.0, 4.0, 0.81), ("a", "", 7.0, 8.0, 0.1)]
    )
    classes = VideoScores(("jump", "run", "swim"), {"v_a": np.asarray([0.1, 0.64, 0.36])})
    found, missing = label_proposals(proposals, classes, best_classes=2, best=2)
    assert missing == ("b",)
    rows = list(zip(found.labels, found.starts.tolist(), found.ends.tolist(), found.scores.tolist(), strict=True))
    wanted = [("run", 2, 4, 0.72), ("run", 0, 1, 0.4), ("swim", 2, 4, 0.54), ("swim", 0, 1, 0.3)]
    assert rows == [(label, a, b, pytest.approx(score)) for label, a, b, score in wanted]
    assert set(found.videos) == {"a"}


@pytest.mark.parametrize(
    ("content", "labels"),
    [
        ({"results": {"v_a": [0.2, 0.8]}, "class": ["jump", "run"]}, ()),
        ({"results": {"a": [[0.2, 0.8]]}, "classes": ["jump", "run"]}, ()),
        ({"results": {"a": [{"label": "run", "score": 0.8}, {"label": "jump", "score": 0.2}]}}, ()),
        ({"a": ["0.2", 0.8]}, ("jump", "run")),
    ],
)
def test_published_forms_of_json(tmp_path: Path, content: Any, labels: tuple[str, ...]) -> None:
    (tmp_path / "scores.json").write_text(json.dumps(content))
    found = load_video_scores(tmp_path / "scores.json", labels)
    known = found.of("a")
    assert known is not None and known[0] == ("jump", "run") and known[1].tolist() == [0.2, 0.8]
    assert found.labels == ("jump", "run") and found.of("b") is None
    _, soft = load_video_scores(tmp_path / "scores.json", labels, softmax=True).of("a") or ((), np.empty(0))
    assert soft.sum() == pytest.approx(1) and soft[1] / soft[0] == pytest.approx(np.exp(0.6))


def test_videos_that_list_their_own_classes_need_no_table_of_all(tmp_path: Path) -> None:
    content = {f"v{i}": [{"label": f"l{i}", "score": 0.5}] for i in range(3000)}
    (tmp_path / "scores.json").write_text(json.dumps({"results": content}))
    found = load_video_scores(tmp_path / "scores.json")
    assert len(found.labels) == 3000 and sum(len(scores) for scores in found.scores.values()) == 3000
    proposals = Predictions.from_rows([("v7", "", 0.0, 1.0, 0.5)])
    labelled, _ = label_proposals(proposals, found)
    assert labelled.labels == ("l7",) and labelled.scores.tolist() == [0.5]


def test_untrimmednets_array(tmp_path: Path) -> None:
    values = np.zeros((3, 101), np.float32)
    values[1, 6], values[1, 96] = 0.5, 0.7  # BaseballPitch is UCF101's 7th class, VolleyballSpiking its 97th
    np.save(tmp_path / "scores.npy", values)
    found = load_video_scores(tmp_path / "scores.npy")
    labels, scores = found.of("video_test_0000002") or ((), np.empty(0))
    assert dict(zip(labels, scores.tolist(), strict=True))["BaseballPitch"] == 0.5
    assert labels[int(scores.argmax())] == "VolleyballSpiking" and len(labels) == 20
    np.save(tmp_path / "scores.npy", values[:, :20])
    with pytest.raises(InputError, match="101"):
        load_video_scores(tmp_path / "scores.npy")


def test_its_classes_are_those_of_the_data_set(shared: Path) -> None:
    from tal_cli.fusion.video_scores import UCF101_THUMOS

    assert list(UCF101_THUMOS) == (shared / "data/labels/thumos14_20.txt").read_text().split()
    assert list(UCF101_THUMOS.values()) == sorted(UCF101_THUMOS.values())


@pytest.mark.parametrize(
    "content",
    [
        "3",
        "[]",
        "{}",
        '{"results": {}}',
        '{"results": {"a": [1]}, "class": ["x", "y"]}',
        '{"results": {"a": ["x"]}, "class": ["x"]}',
        '{"results": {"a": [{"score": null}]}}',
        '{"results": {"a": [[]], "b": []}}',
    ],
)
def test_other_score_files_are_rejected(tmp_path: Path, content: str) -> None:
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(InputError):
        load_video_scores(tmp_path / "scores.json")


def test_scores_without_names_ask_for_them(tmp_path: Path) -> None:
    (tmp_path / "scores.json").write_text('{"a": [1, 2]}')
    with pytest.raises(UsageError, match="class names"):
        load_video_scores(tmp_path / "scores.json")


def test_command_labels_proposals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    proposals = results(tmp_path / "p.json", a=[("action", 1, 2, 0.25)], b=[("action", 1, 2, 0.5)])
    scores, names, out = tmp_path / "scores.json", tmp_path / "names.txt", tmp_path / "out.json"
    scores.write_text('{"v_a": [1.0, 0.25]}')
    names.write_text("jump\nrun\n")
    arguments = ["combine", "video-scores", str(proposals), str(scores), "-o", str(out)]
    assert app.run([*arguments, "--labels", str(names)]) == 0
    assert "no scores for 1 videos" in capsys.readouterr().err
    found = load_predictions(out)
    assert found.labels == ("jump", "run") and found.scores.tolist() == [0.5, 0.25]
    assert app.run(arguments) == 2
    scores.write_text('{"z": [1.0, 0.25]}')
    assert app.run([*arguments, "--labels", str(names)]) == 4


def rows(*items: tuple[str, float, float, float]) -> list[Row]:
    return [("a", label, start, end, score) for label, start, end, score in items]


def test_actions_are_pairs_that_overlap() -> None:
    verbs = Predictions.from_rows(rows(("3", 0, 10, 0.9), ("5", 50, 60, 0.4)))
    nouns = Predictions.from_rows([*rows(("7", 1, 11, 0.4), ("8", 30, 40, 0.9)), ("z", "7", 0, 10, 0.9)])
    found = list(combine_actions(verbs, nouns))
    assert [(action.video, action.verb, action.noun) for action in found] == [("a", "3", "7")]
    assert (found[0].start, found[0].end) == (0.5, 10.5) and found[0].score == pytest.approx(0.6)
    everything = list(combine_actions(verbs, nouns, minimum_overlap=0.0))
    assert len(everything) == 4 and [action.score for action in everything] == sorted(
        (action.score for action in everything), reverse=True
    )
    assert len(list(combine_actions(verbs, nouns, minimum_overlap=0.0, most=2))) == 2


def test_doubles_of_one_action_are_thinned() -> None:
    verbs = Predictions.from_rows(rows(("3", 0, 10, 0.9), ("3", 0.5, 10.5, 0.8)))
    nouns = Predictions.from_rows(rows(("7", 0, 10, 0.9)))
    first, second = combine_actions(verbs, nouns)
    assert first.score == pytest.approx(0.9) and second.score < 0.3 < np.sqrt(0.8 * 0.9)


def test_command_writes_a_submission_that_eval_reads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    verbs = results(tmp_path / "verbs.json", a=[("take", 0, 10, 0.9)])
    nouns = results(tmp_path / "nouns.json", a=[("2", 0, 10, 0.4)])
    (tmp_path / "verbs.csv").write_text("id,key\n0,put\n1,take\n")
    arguments = ["combine", "actions", str(verbs), str(nouns), "-o", str(tmp_path / "out.json")]
    assert app.run(arguments) == 2
    assert "--verb-classes" in capsys.readouterr().err
    arguments += ["--verb-classes", str(tmp_path / "verbs.csv")]
    assert app.run([*arguments, "--supervision", "1,4,3"]) == 0
    document = json.loads((tmp_path / "out.json").read_text())
    assert (document["sls_pt"], document["sls_tl"], document["challenge"]) == (1, 4, "action_detection")
    row = document["results"]["a"][0]
    assert (row["verb"], row["noun"], row["action"]) == (1, 2, "1,2") and row["score"] == pytest.approx(0.6)
    truth = {"segment": [0, 10], "verb": "take", "verb_id": 1, "noun": "x", "noun_id": 2, "action": "1,2"}
    database = {"a": {"subset": "validation", "duration": 20, "annotations": [truth]}}
    (tmp_path / "truth.json").write_text(json.dumps({"database": database}))
    capsys.readouterr()
    evaluation = [
        "eval",
        str(tmp_path / "out.json"),
        "--protocol",
        "epic",
        "--annotations",
        str(tmp_path / "truth.json"),
    ]
    assert app.run([*evaluation, "--format", "json"]) == 0
    assert {name: found["average"] for name, found in json.loads(capsys.readouterr().out).items()} == {
        "verb": 1, "noun": 1, "action": 1,
    }  # fmt: skip
    for wrong in ("1,2", "a,b,c", "1,2,9", ",,"):
        assert app.run([*arguments, "--supervision", wrong]) == 2


def test_detected_verbs_and_nouns_of_the_ground_truth_make_its_actions(shared: Path) -> None:
    from tal_cli.datasets.formats import load_annotations
    from tal_cli.evaluation.average_precision import evaluate

    truth = {
        key: load_annotations(shared / "data/epic100_val.json.gz", key) for key in ("verb_id", "noun_id", "action")
    }
    video = "P01_11"
    parts = [
        Predictions.from_rows((video, s.label, s.start, s.end, 1.0) for s in truth[key].videos[video].segments)
        for key in ("verb_id", "noun_id")
    ]
    found = Predictions.from_rows(
        (video, f"{action.verb},{action.noun}", action.start, action.end, action.score)
        for action in combine_actions(*parts)
    )
    alone = truth["action"].videos[video]
    only = type(truth["action"])("", {video: alone}, ())
    assert evaluate(found, only, alone.subset, [0.5]).recall[1][0] > 0.95
