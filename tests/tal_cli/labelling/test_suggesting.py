"""What to label next: stretches that teach most for their time."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from made_up import frames_of, spec_of, write_annotations, write_video

from tal_cli import app
from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation, save_annotations
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.labelling.ranking import Stretch, choose
from tal_cli.labelling.suggesting import Watched, around, cut, suggest
from tal_cli.results.segments import Segment

CHANNELS, STRIDE = 8, 4


def test_each_choice_counts_what_the_ones_before_it_teach() -> None:
    stretches = [Stretch("a", start, start + 8.0) for start in (0.0, 4.0, 8.0, 16.0)]
    expected = np.asarray([[3.0, 0.0], [3.0, 0.0], [2.0, 0.0], [0.0, 1.0]])
    chosen = choose(stretches, expected, np.asarray([0.0, 0.0]), np.ones(2), 9)
    assert [index for index, _ in chosen] == [0, 3, 2], "no overlap, and the second label before more of the first"
    np.testing.assert_allclose(chosen[2][1], [np.log1p(2 / 4), 0.0])
    rare = choose(stretches, expected, np.asarray([50.0, 0.0]), np.ones(2), 1)
    assert rare[0][0] == 3, "a label with examples teaches little"


def watched(name: str, kinds: list[int], annotation: VideoAnnotation | None = None, *found: Segment) -> Watched:
    """A video of which every 40 rows (6.4 s) are of one kind."""
    rows = np.repeat(np.eye(CHANNELS)[kinds], 40, axis=0)
    contract = spec_of(CHANNELS, STRIDE).contract()
    blank = FeatureSequence(features=rows.astype(np.float32), contract=None, fps=0.0, frames=0, duration=0.0)
    return Watched(name, blank.following(contract, 25.0), annotation, (found,) if found else ())


def test_without_a_model_what_is_unlike_the_rest_comes_first() -> None:
    videos = [watched("a", [0] * 8), watched("b", [0, 0, 3, 0, 0, 0, 0, 0])]
    best, *rest = suggest(videos, 5)
    assert best.video == "b" and best.start < 19.2 and best.end > 12.8 and best.score == 1.0
    assert all(item.score <= best.score for item in rest)


def test_what_was_reviewed_is_left_out_and_known() -> None:
    reviewed = VideoAnnotation("b", "", 51.2, 25.0, (), reviewed=((10.0, 22.0),))
    videos = [watched("a", [0, 0, 0, 5, 0, 0, 0, 0]), watched("b", [0, 0, 3, 0, 0, 0, 0, 0], reviewed)]
    items = suggest(videos, 50)
    assert items[0].video == "a" and items[0].start < 25.6 and items[0].end > 19.2, "kind 3 is known, kind 5 is not"
    assert all(item.end <= 10.0 or item.start >= 22.0 for item in items if item.video == "b")
    whole = VideoAnnotation("a", "", 51.2, 25.0, ())
    assert cut(watched("a", [0] * 8, whole), 8.0) == []
    short = replace(watched("a", [0]).sequence, features=np.zeros((2, CHANNELS), np.float32), duration=0.4)
    assert cut(Watched("a", short), 8.0) == [Stretch("a", 0.0, 0.4)]
    assert cut(Watched("a", short, replace(whole, reviewed=((0.1, 0.3),))), 8.0) == []


def test_a_model_points_at_rare_labels() -> None:
    many = tuple(GroundTruth("walk", float(n), n + 0.5) for n in range(9))
    known = VideoAnnotation("a", "", 51.2, 25.0, many, reviewed=((0.0, 10.0),))
    found = [Segment("walk", 20.0, 21.0, 0.9), Segment("fall", 40.0, 41.0, 0.6)]
    first = suggest([watched("a", [0] * 8, known, *found)], 3)[0]
    assert first.start <= 40.5 < first.end and first.why.startswith("fall? 0.6 expected, 0 examples so far")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    videos = []
    for name in ("a", "b"):
        features = np.repeat(np.eye(CHANNELS)[[0, 1, 2]], 40, axis=0)
        assert frames_of(120, STRIDE)
        videos.append(write_video(tmp_path, name, "training", features, [GroundTruth("hop", 1.0, 3.0)], stride=STRIDE))
    write_annotations(tmp_path, videos, ("hop",))
    return tmp_path


def test_the_command_prints_a_table_csv_and_json(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ask = ["suggest", str(folder / "features" / "*.npy"), "-n", "3"]
    assert app.run(ask) == 0
    assert capsys.readouterr().out.split()[:5] == ["video", "start", "end", "why", "score"]
    assert app.run([*ask, "--format", "json"]) == 0
    items = json.loads(capsys.readouterr().out)
    assert len(items) == 2 and items[0].keys() == {"video", "start", "end", "why", "score"}
    assert app.run([*ask, "--format", "csv"]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [float(row["start"]) for row in rows] == [item["start"] for item in items]
    assert app.run([*ask, "-o", str(folder / "next.csv")]) == 0
    assert capsys.readouterr().out == f"{folder / 'next.csv'}\n"
    assert (folder / "next.csv").read_text().startswith("video,start,end,why,score\n")


def test_what_is_labelled_is_not_suggested(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    video = VideoAnnotation("a", "training", 19.84, 25.0, (GroundTruth("hop", 1.0, 3.0),))
    save_annotations(Annotations("", {"a": video}, ("hop",)), folder / "some.json")
    told = [str(folder / "features" / "*.npy"), "--annotations", str(folder / "some.json"), "--format", "json"]
    assert app.run(["suggest", *told]) == 0
    printed = capsys.readouterr()
    assert {item["video"] for item in json.loads(printed.out)} == {"b"}
    assert "next: tal label" in printed.err
    assert app.run(["suggest", *told[:1], "--annotations", str(folder / "annotations.json"), "-f", "json"]) == 0
    printed = capsys.readouterr()
    assert json.loads(printed.out) == [] and "everything is reviewed" in printed.err
    assert app.run(["suggest"]) == 2


def test_an_input_that_cannot_be_read_does_not_stop_the_others(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = folder / "broken.npy"
    broken.write_bytes(b"nothing")
    good = str(folder / "features" / "a.npy")
    assert app.run(["suggest", good, str(broken), "--format", "json"]) == 3
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {broken}: ") and printed.err.count("error: ") == 1
    assert {item["video"] for item in json.loads(printed.out)} == {"a"}
    assert app.run(["suggest", str(broken)]) == 3
    assert not capsys.readouterr().out


def test_features_of_two_kinds_are_not_compared(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_video(
        folder, "other", "training", np.zeros((60, CHANNELS + 1)), [GroundTruth("hop", 1.0, 3.0)], stride=STRIDE
    )
    assert app.run(["suggest", str(folder / "features" / "*.npy")]) == 2
    assert "other.npy: its features are of another kind than those of a" in capsys.readouterr().err


def test_stretches_are_laid_around_what_a_model_finds() -> None:
    found = [Segment("fall", 20.0, 22.0, 0.9), Segment("fall", 30.0, 32.0, 0.1)]
    known = VideoAnnotation("a", "", 51.2, 25.0, (), reviewed=((0.0, 19.8),))
    assert [(each.start, each.end) for each in around(watched("a", [0] * 8, known, *found))] == [(19.8, 22.5)]
    first = suggest([watched("a", [0] * 8, None, *found)], 1)[0]
    assert (first.start, first.end) == (19.5, 22.5)
