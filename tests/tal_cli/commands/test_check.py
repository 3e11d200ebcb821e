"""What `tal datasets` reports about the built-in data sets, and the faults it finds in their files."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import render_clip

from tal_cli import app
from tal_cli.datasets.annotations import GroundTruth, VideoAnnotation
from tal_cli.datasets.catalog import BENCHMARKS
from tal_cli.datasets.checks import FeatureCheck
from tal_cli.datasets.formats import load_annotations
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.files import save_features
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.models.recipe.loading import load_recipe

ORDER = {
    "thumos": "thumos14_20",
    "multithumos": "multithumos_65",
    "activitynet": "activitynet_200",
    "hacs": "activitynet_200",
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_data_set_is_described(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    item = BENCHMARKS[name]
    assert app.run(["datasets", "info", name]) == 0
    text = capsys.readouterr().out
    for part in (
        item.title,
        item.source,
        item.tiou,
        item.train[0],
        item.test[0],
        *item.features,
        *item.label_names[-1:],
    ):
        assert part in text
    assert app.run(["datasets", "info", name, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["labels"] == item.labels
    assert len(item.label_names) in (0, item.labels)
    if item.recipe:
        load_recipe(item.recipe)


@pytest.mark.parametrize("name", ORDER)
def test_labels_are_in_the_usual_order(shared: Path, name: str) -> None:
    wanted = (shared / f"data/labels/{ORDER[name]}.txt").read_text(encoding="utf-8").splitlines()
    assert list(BENCHMARKS[name].label_names) == wanted


def test_list_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["datasets", "list", "-f", "json"]) == 0
    assert [row["name"] for row in json.loads(capsys.readouterr().out)] == list(BENCHMARKS)


def annotation(label: str, start: float, end: float) -> dict[str, Any]:
    return {"label": label, "segment": [start, end]}


@pytest.fixture
def thumos(tmp_path: Path) -> Path:
    """A small but otherwise valid THUMOS14: random features, 20 labels, 4 videos."""
    root = tmp_path / "thumos"
    (root / "features").mkdir(parents=True)
    labels = BENCHMARKS["thumos"].label_names
    items = [annotation(label, 1, 3) for label in labels]
    database = {
        f"video_{subset}_{number}": {"subset": subset, "duration": 20, "fps": 30, "annotations": items}
        for subset in ("validation", "test")
        for number in range(2)
    }
    (root / "annotations.json").write_text(json.dumps({"database": database}))
    for name in database:
        np.save(root / "features" / f"{name}.npy", np.zeros((147, 2048), np.float16))
    return root


def found(root: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, dict[str, str]]:
    """Kind -> video -> detail."""
    code = app.run(["datasets", "check", "thumos", "--root", str(root), "--format", "json", *options])
    document = json.loads(capsys.readouterr().out)
    assert document["ok"] == (code == 0) and code in (0, 3)
    assert all(problem["count"] == len(problem["places"]) for problem in document["problems"])
    return {
        problem["kind"]: {place["video"]: place["detail"] for place in problem["places"]}
        for problem in document["problems"]
    }


def change(root: Path, video: str, **entries: Any) -> None:
    document = json.loads((root / "annotations.json").read_text())
    document["database"][video].update(entries)
    (root / "annotations.json").write_text(json.dumps(document))


FEW = "fewer videos than in the data set"


def test_nothing_is_wrong_but_the_size(thumos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert found(thumos, capsys) == {FEW: {"validation": "2 of 200", "test": "2 of 213"}}


def test_what_is_wrong_is_named(thumos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    labels = BENCHMARKS["thumos"].label_names
    items = [annotation(label, 1, 3) for label in labels[1:]]
    for number in range(2):
        change(thumos, f"video_validation_{number}", annotations=items)
    more = [annotation("Ambiguous", 4, 5), annotation(labels[1], 15, 30), annotation(labels[1], 5, 5)]
    change(thumos, "video_test_0", annotations=[*items, *more])
    change(thumos, "video_test_1", duration=40)
    features = thumos / "features"
    np.save(features / "video_validation_0.npy", np.zeros((147, 1024), np.float32))
    np.save(features / "video_validation_1.npy", np.full((147, 2048), np.nan, np.float32))
    (features / "video_test_0.npy").unlink()
    problems = found(thumos, capsys)
    problems.pop(FEW)
    assert problems == {
        "unknown label": {"test": "Ambiguous"},
        "label missing from the training subset": {"test": labels[0]},
        "label without a training instance": {labels[0]: ""},
        "segment outside the video": {"video_test_0": f"{labels[1]} 15-30 of 20 s"},
        "empty segment": {"video_test_0": f"{labels[1]} 5-5"},
        "wrong number of channels": {"video_validation_0": "1024, the recipe has 2048"},
        "features that cannot be used": {"video_validation_1": "window 0 holds values that are not finite numbers"},
        "no features": {"video_test_0": ""},
        "wrong length": {"video_test_1": "147 windows, its duration implies 297"},
    }


def test_labels_that_the_files_own_list_lacks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = [annotation("hop", 1, 3), annotation("skip", 4, 6)]
    database = {name: {"subset": name, "duration": 20, "annotations": items} for name in ("training", "validation")}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps({"labels": ["hop", "jump"], "database": database}))
    assert app.run(["datasets", "check", str(path)]) == 3
    assert "unknown label: 1: training (skip)" in capsys.readouterr().out
    np.save(tmp_path / "training.npy", np.zeros((30, 4), np.float32))
    assert app.run(["train", "--dataset", str(path), "--features", str(tmp_path), "--recipe", "thumos-i3d"]) == 3
    assert "mine.json: unknown label: 1: training (skip)" in capsys.readouterr().err


def test_a_duration_that_the_features_know_better(tmp_path: Path) -> None:
    contract = FeatureContract(
        extractor="x", weights_sha256=None, sampling_rate=None, max_rate=None, window=16, stride=4, alignment="center",
        resize="", crop="", value_range="", layer="", pooling="", channels=3,
    )  # fmt: skip
    features = np.zeros((622, 3), np.float32)
    sequence = FeatureSequence(features=features, contract=contract, fps=25.0, frames=2500, duration=100.0)
    save_features(sequence, tmp_path / "v.npy")
    segments = (GroundTruth("hop", 1.0, 50.0),)
    for duration, kinds in ((50.0, []), (60.0, ["wrong duration"]), (100.0, [])):
        video = VideoAnnotation("v", "training", duration, None, segments)
        check = FeatureCheck(tmp_path, None)
        assert check.look_through([video]) == 1 and [problem.kind for problem in check.problems] == kinds
    for frames, kinds in ((None, []), (1500, ["wrong duration"])):
        video = VideoAnnotation("v", "training", 60.0, None, segments, ((0.0, 60.0),), frames=frames)
        check = FeatureCheck(tmp_path, None)
        assert check.look_through([video]) == 1 and [problem.kind for problem in check.problems] == kinds


def test_features_the_wrong_way_round(thumos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(thumos / "features/video_test_0.npy", np.zeros((2048, 147), np.float32))
    wanted = {"video_test_0": "147, the recipe has 2048; its shape is [2048, 147], transposed?"}
    assert found(thumos, capsys)["wrong number of channels"] == wanted


def test_an_empty_subset_and_another_recipe(thumos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        change(thumos, f"video_test_{number}", annotations=[])
    problems = found(thumos, capsys, "--recipe", "thumos-videomae")
    assert problems["subset without instances"] == {"test": ""}
    assert len(problems["wrong number of channels"]) == 4


def test_videos_are_looked_for_in_a_folder_of_them(thumos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    render_clip(thumos / "videos" / "a" / "video_test_0.mp4", frames=3)
    shutil.copy(thumos / "videos/a/video_test_0.mp4", thumos / "videos/v_video_test_1.mp4")
    assert found(thumos, capsys)["no video file"] == {"video_validation_0": "", "video_validation_1": ""}


def test_values_are_read_only_as_far_as_is_quick(
    thumos: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    np.save(thumos / "features/video_test_1.npy", np.full((147, 2048), np.nan, np.float32))
    monkeypatch.setattr("tal_cli.datasets.checks.QUICK_BYTES", 1)
    assert "features that cannot be used" not in found(thumos, capsys)
    assert "features that cannot be used" in found(thumos, capsys, "--thorough")
    videos = load_annotations(thumos / "annotations.json").of("test")
    check = FeatureCheck(thumos / "features", None)
    assert check.look_through(videos) == 1 and check.problems == []


def test_frame_rates_that_nothing_tells(thumos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    change(thumos, "video_test_0", fps=None)
    assert found(thumos, capsys)["unknown frame rate"].keys() == {"video_test_0"}


def test_a_file_of_all_features(thumos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arrays = {path.stem: np.load(path) for path in (thumos / "features").iterdir()}
    arrays.pop("video_test_1")
    np.savez(thumos / "features.npz", **arrays)
    shutil.rmtree(thumos / "features")
    assert found(thumos, capsys)["no features"] == {"video_test_1": ""}


def test_check_says_what_is_missing_altogether(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert app.run(["datasets", "check", "thumos", "--root", str(tmp_path)]) == 4
    assert "no annotations of THUMOS14" in capsys.readouterr().err
    assert app.run(["datasets", "check", "thumosss"]) == 2
    assert app.run(["datasets", "check", str(tmp_path / "x.json")]) == 4


def test_published_thumos_annotations(shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "annotations.json.gz").symlink_to(shared / "data/thumos14.json.gz")
    problems = found(tmp_path, capsys)
    outside = problems.pop("segment outside the video")
    assert {name for name in outside if "test" in name} == {f"video_test_{n:07d}" for n in (270, 814, 1081)}
    assert len(problems.pop("no features")) == 413 and not problems
