"""Which extractor suits: probes on what they have not seen, on the same excerpts for all."""

from __future__ import annotations

import json
import math
import os
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tal_cli import app
from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation, save_annotations
from tal_cli.evaluation import extractor_ranking
from tal_cli.evaluation.extractor_ranking import (
    MOST_EXCERPTS,
    Ranking,
    Standing,
    choose_excerpts,
    labels_at,
    rank,
    rows_at,
)
from tal_cli.evaluation.probe import separation, standard_error, without_each
from tal_cli.extractors.backbones import create_backbone
from tal_cli.extractors.errors import InputError
from tal_cli.extractors.extraction import excerpt
from tal_cli.extractors.extraction.extractor import Extractor, FrameSource, Progress
from tal_cli.extractors.features.sequence import FeatureSequence
from tal_cli.labelling.ranking import Stretch


def test_what_tells_labels_apart_in_other_videos_counts() -> None:
    rng = np.random.default_rng(0)
    groups = [f"v{number // 50}" for number in range(300)]
    labels = np.repeat(rng.random((60, 2)) < 0.3, 5, axis=0)
    good = labels @ rng.standard_normal((2, 8)) + 0.3 * rng.standard_normal((300, 8))
    noise = rng.standard_normal((300, 400))
    drifting = np.cumsum(noise, axis=0)  # tells moments of a video apart, as evidence without held-out videos rewards
    best, worst, slow = (separation(features, labels, groups) for features in (good, noise, drifting))
    assert best > 0.9 and worst < 0.5 and slow < 0.5
    both = separation(np.hstack([good, good]), labels, groups)
    assert both == pytest.approx(best, abs=0.02)


def test_a_lead_counts_where_chance_cannot_explain_it() -> None:
    """Halves of the same features come out in some order; features that tell nothing are behind for certain."""
    rng = np.random.default_rng(1)
    groups = [f"v{number // 30}" for number in range(240)]
    labels = np.repeat(rng.random((48, 2)) < 0.3, 5, axis=0)
    noisy = labels @ rng.standard_normal((2, 40)) + 3 * rng.standard_normal((240, 40))
    features = {"left": noisy[:, :20], "right": noisy[:, 20:], "noise": rng.standard_normal((240, 20))}
    scores = {name: separation(each, labels, groups) for name, each in features.items()}
    parts = {name: without_each(each, labels, groups) for name, each in features.items()}
    order = sorted(features, key=lambda name: -scores[name])
    standings = tuple(
        Standing(name, None, 1.0, score=scores[name], error=standard_error(parts[order[0]], parts[name]))  # type: ignore[arg-type]
        for name in order
    )
    assert order[2] == "noise" and scores["left"] != scores["right"]
    assert {each.extractor for each in Ranking(standings, (), 0, (), {}, ()).tied} == {"left", "right"}
    few = np.asarray(groups) < "v2"
    assert standard_error(*(without_each(features[n][few], labels[few], groups[:60]) for n in order[:2])) == math.inf


def test_labels_of_one_video_cannot_be_judged() -> None:
    labels = np.asarray([[True], [False], [False]])
    assert math.isnan(separation(np.eye(3), labels, ["a", "b", "b"]))


def video(name: str, *items: GroundTruth, seconds: float = 40.0) -> VideoAnnotation:
    return VideoAnnotation(name, "training", seconds, 25.0, items)


def test_excerpts_cover_labels_and_videos() -> None:
    walks = [GroundTruth("walk", 8.0 * n, 8.0 * n + 6) for n in range(5)]
    known = Annotations(
        "", {"a": video("a", *walks), "b": video("b", GroundTruth("fall", 21.0, 23.0))}, ("fall", "walk")
    )
    first = choose_excerpts(known, ["a", "b"], 4.0)[:3]
    assert {stretch.video for stretch in first} == {"a", "b"}
    assert any(stretch.video == "b" and stretch.start < 23 and stretch.end > 21 for stretch in first)
    held = labels_at(known.videos["b"], np.asarray([20.0, 21.0, 22.9, 23.0]), known.labels)
    assert held[:, 0].tolist() == [False, True, True, False] and not held[:, 1].any()


def test_an_excerpt_has_the_features_of_the_whole_video(clips: Path) -> None:
    extractor = Extractor(create_backbone("tiny"))
    whole = extractor.extract(clips / "first.mp4")
    moments = np.arange(0.8, 1.2, 0.1)
    rows = rows_at(extractor, clips / "first.mp4", Stretch("first", 0.0, whole.duration), moments)
    nearest = np.abs(whole.seconds(np.arange(len(whole.features)))[None] - moments[:, None]).argmin(axis=1)
    np.testing.assert_allclose(rows, whole.features[nearest], atol=1e-4)


class Slow(Extractor):
    """Takes a second of the test's clock for each second of video and as many more as it is told, block by block."""

    def __init__(self, clock: list[float], seconds: float) -> None:
        super().__init__(create_backbone("tiny"))
        self.clock, self.seconds = clock, seconds

    def extract_frames(
        self, source: FrameSource, path: str | os.PathLike[str], progress: Progress | None = None
    ) -> FeatureSequence:
        assert progress is not None
        for _ in range(round(self.seconds)):
            self.clock[0] += 1
            progress(0, None)
        return super().extract_frames(source, path, progress)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that code under test takes to have passed: they pass only where a test adds to them."""
    passed = [0.0]
    for module in (extractor_ranking, excerpt):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: passed[0]))
    return passed


def hops(*names: str) -> Annotations:
    known = {name: video(name, GroundTruth("hop", 0.2, 0.6), seconds=1.5) for name in names}
    return Annotations("", known, ("hop",))


def test_an_extractor_that_takes_too_long_is_left_out(clips: Path, clock: list[float]) -> None:
    videos = {name: clips / f"{name}.mp4" for name in ("first", "second")}
    known = hops("first", "second")
    ranking = rank(known, videos, {"stuck": lambda: Slow(clock, 1e6), "quick": lambda: Slow(clock, 1)}, 30)
    assert [each.extractor for each in ranking.standings] == ["quick"] and list(ranking.too_slow) == ["stuck"]
    assert {stretch.video for stretch in ranking.excerpts} == {"first", "second"} and clock[0] <= 30
    with pytest.raises(InputError, match="no extractor computes features") as error:
        rank(known, videos, {"stuck": lambda: Slow(clock, 1e6)}, 10)
    assert "--seconds" in error.value.remedy and clock[0] <= 41


def test_the_slowest_extractors_leave_time_for_the_others(clips: Path, clock: list[float]) -> None:
    videos = {name: clips / f"{name}.mp4" for name in ("first", "second")}
    takes = {"a": 1, "b": 9, "c": 1}
    loads = {name: partial(Slow, clock, seconds) for name, seconds in takes.items()}
    ranking = rank(hops(*videos), videos, loads, 60)
    assert {each.extractor for each in ranking.standings} == {"a", "c"} and "b" in ranking.too_slow
    assert {each.extractor for each in ranking.tied} == {"a", "c"}, "they have the same features"


def test_videos_that_cannot_be_read_are_told(clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"no video")
    save_annotations(hops("first", "second", "broken"), tmp_path / "labels.json")
    ask = ["extractors", "rank", str(tmp_path / "labels.json"), "-x", "tiny", "--format", "json", str(broken)]
    assert app.run([*ask, str(clips / "first.mp4"), str(clips / "second.mp4")]) == 3
    printed = capsys.readouterr()
    assert f"error: {broken}: " in printed.err and printed.err.count("error: ") == 1
    assert json.loads(printed.out)["extractors"][0]["score"] is not None
    assert app.run(ask) == 3
    printed = capsys.readouterr()
    assert f"error: {broken}: " in printed.err and not printed.out


def test_excerpts_of_many_videos_are_chosen_soon() -> None:
    names = [f"v{number:03}" for number in range(1000)]
    known = Annotations("", {name: video(name, GroundTruth("hop", 3.0, 9.0)) for name in names}, ("hop",))
    chosen = choose_excerpts(known, names, 4.0)
    assert len(chosen) == MOST_EXCERPTS and len({stretch.video for stretch in chosen}) == MOST_EXCERPTS


def test_the_command_ranks_installed_extractors(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save_annotations(hops("first", "second"), tmp_path / "labels.json")
    ask = ["extractors", "rank", str(tmp_path / "labels.json"), str(clips / "first.mp4"), str(clips / "second.mp4")]
    assert app.run([*ask, "-x", "tiny", "--format", "json"]) == 0
    printed = capsys.readouterr()
    (row,) = json.loads(printed.out)["extractors"]
    assert row["extractor"] == "tiny" and 0 <= row["score"] <= 1 and row["speed"] > 0
    assert "compared on" in printed.err and "2 videos" in printed.err and "cannot tell" not in printed.err
    with monkeypatch.context() as patch:
        patch.setattr("tal_cli.extractors.catalog.find", lambda name: None)
        patch.setattr("tal_cli.extractors.backbones.create_backbone", lambda name: create_backbone("tiny"))
        assert app.run([*ask, "-x", "one", "-x", "two"]) == 0
    printed = capsys.readouterr()
    assert "cannot tell which suits best: one, two" in printed.err and "0.000 ± -" in printed.out
    assert app.run([*ask[:3], str(clips / "notes.txt")]) == 3
