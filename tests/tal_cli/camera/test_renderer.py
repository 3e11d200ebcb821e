"""The rendered data set: labels follow from what is painted, and the same seed gives the same videos."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tal_cli.camera import motion, people, render, timeline
from tal_cli.camera.motion import CameraPath
from tal_cli.camera.scene import Scene
from tal_cli.camera.timeline import LABELS, Join, Shot, Timeline
from tal_cli.datasets.formats import load_annotations
from tal_cli.extractors.backbones import tiny

FPS = 25


def path_of(frames: int, **rates: float) -> CameraPath:
    """A camera that keeps the given rates from a quarter to three quarters of the shot."""
    active = np.zeros(frames)
    active[frames // 4 : 3 * frames // 4] = 1
    still = np.zeros(frames)
    rest = {name: active * rates.get(name, 0.0) for name in ("x", "y", "zoom", "roll")}
    return CameraPath(**rest, shake_x=still, shake_y=still, shake_size=active * rates.get("shake", 0.0))


def still_timeline(frames: int, path: CameraPath) -> Timeline:
    zeros = np.zeros(frames)
    return Timeline(FPS, frames, (Shot(0, frames, path),), (), zeros, zeros, np.arange(frames), zeros + 1)


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.sampled_from([timeline.random_timeline, timeline.people_timeline]))
def test_labels_of_any_video_are_known_ordered_and_inside_it(
    seed: int, random: Callable[[np.random.Generator], Timeline]
) -> None:
    video = random(np.random.default_rng(seed))
    labels = video.labels()
    duration = video.source.size / video.fps
    assert video.frames >= 20 * video.fps
    assert duration < 120
    assert {truth.label for truth in labels} <= set(LABELS)
    assert all(0 <= truth.start < truth.end <= duration for truth in labels)
    assert list(labels) == sorted(labels, key=lambda truth: (truth.start, truth.end, truth.label))
    for truth in labels:
        if truth.label.startswith(("pan", "tilt", "zoom")) or truth.label == "roll":
            assert truth.end - truth.start >= timeline.SHORTEST_MOVE - 1e-9
    for earlier, later in itertools.pairwise(t for t in labels if t.label == "cut"):
        assert later.start > earlier.end


@pytest.mark.parametrize(
    ("rates", "label"),
    [
        ({"x": 0.2}, "pan-left"),
        ({"x": -0.2}, "pan-right"),
        ({"y": 0.2}, "tilt-up"),
        ({"y": -0.2}, "tilt-down"),
        ({"zoom": 0.2}, "zoom-in"),
        ({"zoom": -0.2}, "zoom-out"),
        ({"roll": 12.0}, "roll"),
        ({"roll": -12.0}, "roll"),
        ({"shake": 0.03}, "shake"),
    ],
)
def test_a_camera_move_is_labelled_where_it_happens(rates: dict[str, float], label: str) -> None:
    (truth,) = still_timeline(100, path_of(100, **rates)).labels()
    assert (truth.label, truth.start, truth.end) == (label, 1.0, 3.0)


def test_drift_below_the_threshold_is_no_event() -> None:
    assert still_timeline(100, path_of(100, x=0.07, y=-0.07, zoom=0.06, roll=4.0, shake=0.01)).labels() == ()


@pytest.mark.parametrize(
    ("rates", "axis", "sign"), [({"x": 0.3}, 0, 1), ({"y": -0.3}, 1, -1), ({"zoom": 0.3}, 2, 1), ({"x": -0.3}, 0, -1)]
)
def test_the_painted_picture_moves_as_the_path_says(rates: dict[str, float], axis: int, sign: int) -> None:
    scene = Scene(np.random.default_rng(5), Shot(0, 32, path_of(32, **rates)), 112, 72, FPS)
    frames = np.empty((32, 72, 112, 3), np.uint8)
    for index in range(32):
        scene.paint(frames[index], index)
    measured = tiny._measure(torch.from_numpy(frames), torch.arange(32) / FPS).motion
    assert sign * measured[10:22, axis].mean() > 1
    assert measured[2:7, axis].abs().mean() < 0.5


def test_a_move_that_goes_on_across_a_cut_is_two() -> None:
    shots = (Shot(0, 50, path_of(100, x=0.2)), Shot(50, 100, path_of(100, x=0.2)))
    steady = [replace(shot, path=replace(shot.path, x=np.full(100, 0.2))) for shot in shots]
    zeros = np.zeros(100)
    video = Timeline(FPS, 100, tuple(steady), (Join("cut", 50, 50),), zeros, zeros, np.arange(100), zeros + 1)
    pans = [(truth.start, truth.end) for truth in video.labels() if truth.label == "pan-left"]
    assert pans == [(0.0, 2.0), (2.0, 4.0)]


def test_people_move_and_keep_still_before_a_camera_that_does_not_move() -> None:
    person = people.random_person(np.random.default_rng(3), 500, FPS)
    moving = person.moving(FPS)
    assert 0.05 < moving.mean() < 0.95
    here = int(np.flatnonzero(moving)[0])
    scene = Scene(np.random.default_rng(5), Shot(0, 500, motion.tripod(500), (person,)), 112, 72, FPS)
    frames = np.empty((16, 72, 112, 3), np.uint8)
    for index in range(16):
        scene.paint(frames[index], here + 4 * index)
    assert not motion.tripod(500).moving(FPS).any()
    assert motion.random_path(np.random.default_rng(0), 500, FPS).moving(FPS).any()
    changed = (frames.max(0) != frames.min(0)).any(2)
    assert 0.005 < changed.mean() < 0.7  # the body, and not what is behind it


@settings(max_examples=20)
@given(st.integers(0, 10**6))
def test_people_freeze_only_while_something_moves(seed: int) -> None:
    video = timeline.people_timeline(np.random.default_rng(seed))
    moving = np.zeros(video.frames, bool)
    for shot in video.shots:
        assert shot.people is not None
        moves = [shot.path.moving(video.fps), *(person.moving(video.fps) for person in shot.people)]
        moving[shot.first : shot.last] |= np.any(moves, 0)
    shown = np.flatnonzero(np.diff(video.source) == 0)
    long = [truth for truth in video.labels() if truth.label == "freeze"]
    for truth in long:
        held = video.source[round(truth.start * video.fps)]
        # A recording at a lower rate shows the frame a little late.
        assert moving[max(0, held - 4) : held + 5].any()
    assert len(shown) or not long


def test_joins_and_freezes_are_labelled_on_the_shown_clock() -> None:
    still = path_of(40)
    shots = (Shot(0, 40, still), Shot(30, 70, still), Shot(70, 110, still))
    joins = (Join("dissolve", 30, 40), Join("cut", 70, 70))
    source = np.repeat(np.arange(110), [1 + 20 * (index == 50) for index in range(110)])
    video = Timeline(FPS, 110, shots, joins, np.zeros(110), np.zeros(110), source, np.ones(110))
    found = {truth.label: (round(truth.start, 6), round(truth.end, 6)) for truth in video.labels()}
    assert found == {"dissolve": (1.2, 1.6), "freeze": (2.04, 2.84), "cut": (3.5, 3.7)}


def test_the_same_seed_gives_the_same_file_and_readable_annotations(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def short(rng: np.random.Generator) -> Timeline:
        return still_timeline(30, motion.random_path(rng, 30, FPS))

    monkeypatch.setattr(render, "random_timeline", short)
    jobs = [render._Job(tmp_path / f"{index}.mp4", 3, 0) for index in range(2)]
    first, second = (render._render(job) for job in jobs)
    assert jobs[0].path.read_bytes() == jobs[1].path.read_bytes()
    assert first.segments == second.segments
    with av.open(str(jobs[0].path)) as container:
        assert sum(1 for _ in container.decode(video=0)) == 30
    assert first.duration == 1.2


@pytest.mark.slow
def test_rendering_a_data_set_resumes_and_annotates(tmp_path: Path) -> None:
    """A whole video through a worker process; the second call finds it done."""
    told: list[tuple[int, int]] = []
    first = render.render_dataset(tmp_path, 1, 4, workers=1, progress=lambda done, total: told.append((done, total)))
    stamp = {path: path.stat().st_mtime_ns for path in (tmp_path / "videos").iterdir()}
    again = render.render_dataset(tmp_path, 1, 4, workers=1)
    assert told == [(1, 1)]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "videos").iterdir()} == stamp
    assert first == again
    assert first.rounded().videos == load_annotations(tmp_path / "annotations.json").videos
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["annotations.json", "camera-4-0000.mp4", "videos"]
