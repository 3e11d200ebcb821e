"""The keys that annotations can have beyond label and segment, and what of them trains and counts."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from made_up import FPS, contract_of

from tal_cli.datasets.annotations import (
    Annotations,
    GroundTruth,
    LabelDefinition,
    ModifierSet,
    VideoAnnotation,
    save_annotations,
)
from tal_cli.datasets.checks import Expected, check_annotations
from tal_cli.datasets.convert import merge
from tal_cli.datasets.formats import load_annotations
from tal_cli.datasets.formats.values import How
from tal_cli.datasets.training_data import load_videos
from tal_cli.evaluation.average_precision import evaluate
from tal_cli.evaluation.predictions import Predictions
from tal_cli.evaluation.reviewed import on_reviewed
from tal_cli.extractors.errors import AnnotationError
from tal_cli.extractors.features.files import save_features
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.models.recipe.features import FeatureSpec
from tal_cli.training.auto_recipe import data_shape

SETS = (ModifierSet("side", "one", ("left", "right")), ModifierSet("pace", "several", ("slow", "fast")))
STILL = GroundTruth("rear", math.nan, math.nan, frames=(3, 9))
FULL = Annotations(
    "tal 1",
    {
        "cam1": VideoAnnotation(
            "cam1", "training", 300.04, 25.0,
            (
                GroundTruth("rear", 12.48, 15.04, "state", "m1", (("left",), ("slow", "fast")), "a", "b", "model", 0.5,
                            "accepted", "k3f9", "NAME", "2026-11-28T10:00:00Z", (312, 376), (1, 2)),
                GroundTruth("bite", 20.0, 20.0, "point", modifiers=((),)),
            ),
            reviewed=((0.0, 84.2), (120.0, 130.0)), reviewed_labels=(("rear", ()), ("bite", None)), frames=7501,
            path="cam1.mp4", observation="day 1", interval=(10.0, 0.0),
            suggestions=(GroundTruth("rear", 40.0, 41.2, score=0.41, status="rejected"),),
        ),
        "stills": VideoAnnotation("stills", "training", 0.0, None, (STILL,)),
    },
    ("rear", "bite"),
    definitions=(
        LabelDefinition("rear", "state", "r", "posture", "#E69F00", SETS, "self", ("walk",)),
        LabelDefinition("bite", "point"),
        LabelDefinition("never"),
    ),
    subjects=("m1", "m2"),
)  # fmt: skip


def test_all_keys_come_back(tmp_path: Path) -> None:
    save_annotations(FULL, tmp_path / "a.json")
    again = load_annotations(tmp_path / "a.json")
    assert repr(again) == repr(FULL), "nan is not equal to itself, its text is"
    assert repr(merge([tmp_path / "a.json"], How())) == repr(FULL)


def test_what_is_usual_has_no_key(tmp_path: Path) -> None:
    video = VideoAnnotation("v", "training", 10.0, None, (GroundTruth("a", 1.0, 2.0),))
    save_annotations(Annotations("1", {"v": video}, ("a",)), tmp_path / "a.json")
    assert json.loads((tmp_path / "a.json").read_text()) == {
        "version": "1",
        "database": {
            "v": {
                "subset": "training",
                "duration": 10.0,
                "annotations": [{"label": "a", "label_id": 0, "segment": [1.0, 2.0]}],
            }
        },
    }


def entry(**more: object) -> dict[str, object]:
    return {"duration": 10, "annotations": [{"label": "a", "segment": [1, 2]}], **more}


@pytest.mark.parametrize(
    ("video", "reason"),
    [
        (entry(reviewed=[[0, "x"]]), "reviewed is not a number"),
        (entry(reviewed=[3]), "reviewed is not a list of [start, end]"),
        (entry(reviewed=[[0, 5], [30, 10]]), "reviewed: [30, 10] ends before it starts"),
        (entry(reviewed=[[9, 9]]), "reviewed: [9, 9] is empty"),
        (entry(reviewed=[[0, float("nan")]]), "reviewed is not a number: nan"),
        (entry(reviewed_labels={"a": [[3, 1]]}), "reviewed: [3, 1] ends before it starts"),
        (entry(suggestions={}), None),
        (entry(suggestions={"a": 1}), "suggestions are not a list"),
        (entry(annotations=[{"label": "a", "segment": [1, 2], "kind": "event"}]), "kind is state or point"),
        (entry(annotations=[{"label": "a", "segment": [1, 2], "modifiers": "x"}]), "modifiers are not a list"),
        (entry(annotations=[{"label": "a", "segment": [None, None]}]), "no annotation 1: segment"),
    ],
)
def test_wrong_values_are_named(tmp_path: Path, video: dict[str, object], reason: str | None) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"database": {"v": video}}))
    if reason is None:
        assert load_annotations(tmp_path / "a.json").videos["v"].suggestions == ()
        return
    with pytest.raises(AnnotationError) as caught:
        load_annotations(tmp_path / "a.json")
    assert "video v" in str(caught.value) and reason in str(caught.value)


def test_reviewed_ranges_are_put_in_order_and_joined(tmp_path: Path) -> None:
    video = entry(reviewed=[[5, 7], [0, 2], [2, 3], [6, 6.5], [9, 10], [0, 1]])
    (tmp_path / "a.json").write_text(json.dumps({"database": {"v": video, "w": entry(reviewed=[]), "x": entry()}}))
    found = load_annotations(tmp_path / "a.json").videos
    assert found["v"].reviewed == ((0.0, 3.0), (5.0, 7.0), (9.0, 10.0))
    assert found["w"].reviewed == () and found["w"].is_unseen and found["x"].reviewed is None


def test_undecided_suggestions_are_no_annotations(tmp_path: Path) -> None:
    items = [
        {"label": "a", "segment": [n, n + 1], "status": status}
        for n, status in enumerate(["", "pending", "rejected", "accepted", "corrected"])
    ]
    (tmp_path / "a.json").write_text(json.dumps({"database": {"v": entry(annotations=items)}}))
    found = load_annotations(tmp_path / "a.json")
    assert [item.status for item in found.videos["v"].segments] == ["", "accepted", "corrected"]
    assert [item.status for item in found.videos["v"].suggestions] == ["pending", "rejected"]


def test_settled_is_what_was_decided_and_seen() -> None:
    assert list(FULL.settled().videos) == ["cam1", "stills"]
    assert [item.label for item in FULL.settled().videos["cam1"].segments] == ["bite"]
    assert FULL.settled().videos["stills"].segments == ()
    item = GroundTruth("a", 4.0, 6.0)
    for reviewed, count in ((None, 1), ((), 0), (((0.0, 4.0),), 0), (((0.0, 4.5),), 1), (((6.0, 9.0),), 0)):
        assert len(VideoAnnotation("v", "training", 9.0, None, (item,), reviewed).settled) == count
    pending = GroundTruth("a", 4.0, 6.0, status="pending")
    assert VideoAnnotation("v", "training", 9.0, None, (pending,)).settled == ()


def test_one_label_is_settled_where_all_are() -> None:
    video = FULL.with_one_label("action").videos["cam1"]
    assert video.reviewed == () and video.reviewed_labels == ()


def load(folder: Path, video: VideoAnnotation, labels: tuple[str, ...] = ("a", "b")):  # type: ignore[no-untyped-def]
    """Features of 60 windows, one every 4 frames of 30 a second."""
    contract = contract_of(2, 4)
    frames = 59 * 4 + contract.window
    features = np.zeros((60, 2), np.float32)
    sequence = FeatureSequence(
        features=features, contract=contract, fps=FPS, frames=frames, duration=frames / FPS, feature_fps=FPS
    )
    save_features(sequence, folder / "v.npy")
    return load_videos([video], folder, labels, FeatureSpec.of(contract))[0][0]


def test_training_sees_the_reviewed_cells(tmp_path: Path) -> None:
    items = (GroundTruth("a", 1.0, 2.0), GroundTruth("b", 5.0, 6.0), GroundTruth("a", 3.0, 3.0, "point"))
    video = VideoAnnotation("v", "training", 8.4, FPS, items, ((0.0, 4.0),))
    found = load(tmp_path, video)
    assert found.labels.tolist() == [0, 0], "b was not reviewed"
    assert data_shape([found]).known == (int(found.reviewed_cells(0, 60).sum()),)
    assert np.diff(found.segments[1]) == pytest.approx(1.0 * FPS / 4) and found.segments[1].mean() == pytest.approx(
        found.sequence.grid(3.0)
    )
    cells = found.reviewed_cells(0, found.length)
    assert cells is not None and cells.shape == (60, 1)
    assert cells[:, 0].tolist() == [bool(t < 4.0) for t in found.sequence.seconds(np.arange(60))]
    assert load(tmp_path, VideoAnnotation("v", "training", 8.4, FPS, items)).reviewed is None
    by_label = load(tmp_path, VideoAnnotation("v", "training", 8.4, FPS, items, None, (("b", ()),)))
    cells = by_label.reviewed_cells(0, 60)
    assert cells is not None and cells.all(axis=0).tolist() == [True, False] and not cells[:, 1].any()
    everything = load(tmp_path, VideoAnnotation("v", "training", 8.4, FPS, items, ((0.0, 8.4),)))
    assert everything.reviewed_cells(0, 60).all()


def test_what_was_reviewed_ends_there_where_the_length_of_the_video_is_not_told(tmp_path: Path) -> None:
    told = {"annotations": [{"label": "a", "segment": [1, 2]}], "reviewed": [[0, 4]]}
    (tmp_path / "a.json").write_text(json.dumps({"database": {"v": told}}))
    video = load_annotations(tmp_path / "a.json").videos["v"]
    assert video.duration == 4.0 and not list(check_annotations(FULL.settled(), Expected(())))
    cells = load(tmp_path, video).reviewed_cells(0, 60)
    assert cells is not None and 0 < cells.sum() < 40


def test_ranges_outside_the_video_are_told() -> None:
    video = VideoAnnotation("v", "training", 10.0, FPS, (), ((-3.0, 2.0), (5.0, 90.0)), (("b", ((0.0, 10.2),)),))
    problems = check_annotations(Annotations("", {"v": video}, ("a",)), Expected(()))
    assert [(each.kind, each.detail) for each in problems] == [
        ("reviewed range outside the video", "-3-2 of 10 s"), ("reviewed range outside the video", "5-90 of 10 s")
    ]  # fmt: skip


def rows(*items: tuple[str, float, float, float]) -> Predictions:
    return Predictions.from_rows(("v", *item) for item in items)


def test_evaluation_of_a_window_is_that_of_a_video_of_the_window() -> None:
    """Times are moved by what was not reviewed; what lies mostly outside does not count."""
    truth = (GroundTruth("a", 11.0, 14.0), GroundTruth("a", 18.0, 21.0), GroundTruth("b", 30.0, 31.0))
    guesses = [("a", 11.5, 14.0, 0.9), ("a", 18.5, 20.5, 0.8), ("a", 2.0, 5.0, 0.95), ("b", 19.0, 19.5, 0.3)]
    whole = Annotations("", {"v": VideoAnnotation("v", "test", 60.0, None, truth, ((10.0, 20.0),))}, ("a", "b"))
    window = (GroundTruth("a", 1.0, 4.0), GroundTruth("a", 8.0, 10.0))
    alone = Annotations("", {"v": VideoAnnotation("v", "test", 10.0, None, window)}, ("a",))
    first = evaluate(*on_reviewed(rows(*guesses), whole), "test", [0.5, 0.9])
    second = evaluate(
        rows(("a", 1.5, 4.0, 0.9), ("a", 8.5, 10.0, 0.8), ("b", 9.0, 9.5, 0.3)), alone, "test", [0.5, 0.9]
    )
    assert first.precision.tolist() == second.precision.tolist() == [[1.0, 0.0]] and first.labels == ("a",)
    unseen = evaluate(rows(*guesses), whole, "test", [0.5])
    assert unseen.average < 1.0


def test_evaluation_leaves_out_what_was_not_looked_at() -> None:
    videos = {
        "v": VideoAnnotation("v", "test", 60.0, None, (GroundTruth("a", 1.0, 2.0),)),
        "w": VideoAnnotation("w", "test", 60.0, None, (), ()),
    }
    guesses = Predictions.from_rows([("w", "a", 1.0, 2.0, 0.9), ("v", "a", 1.0, 2.0, 0.8)])
    predictions, known = on_reviewed(guesses, Annotations("", videos, ("a",)))
    assert predictions.videos == ("v",) and list(known.videos) == ["v"]
    assert evaluate(predictions, known, "test", [0.5]).average == 1.0
    full = Annotations("", {"v": videos["v"]}, ("a",))
    assert on_reviewed(guesses, full) == (guesses, full)
