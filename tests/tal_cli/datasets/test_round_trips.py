"""What tal writes in formats of behaviour comes back when it is read, whatever people call things."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tal_cli.datasets.annotations import POINT, STATE, Annotations, GroundTruth, LabelDefinition, VideoAnnotation
from tal_cli.datasets.formats import read_annotations
from tal_cli.datasets.formats.values import How
from tal_cli.datasets.writers import TARGETS, write_annotations
from tal_cli.spreadsheets import csv_bytes

FPS, FRAMES = 25.0, 50
ALPHABET = "ab,;|+&:#(/\"'\n\r\t äß漢0"
NAMES = st.text(ALPHABET, min_size=1, max_size=5).map(str.strip).filter(bool)
TEXTS = st.text(ALPHABET, max_size=5).map(str.strip)
VALUES = st.text("ab (ä漢\"'+&;0", min_size=1, max_size=4).filter(str.strip)
MODIFIERS = st.lists(st.lists(VALUES, max_size=2).map(tuple), max_size=2).map(tuple)


@st.composite
def days(draw: st.DrawFn, times: Sequence[float] = tuple(n / FPS for n in range(FRAMES + 1))) -> Annotations:
    """Two seconds of video, with bouts of some labels that begin and end at given times, and points."""
    names = draw(st.lists(NAMES, min_size=1, max_size=3, unique_by=str.lower))
    people = draw(st.lists(NAMES, max_size=2, unique=True))
    items: list[GroundTruth] = []
    definitions = []
    for name in names:
        kind = draw(st.sampled_from([STATE, POINT]))
        definitions.append(LabelDefinition(name, kind))
        for person in (None, *people):
            chosen = sorted(draw(st.lists(st.sampled_from(times), max_size=6, unique=True)))
            pairs = zip(chosen, chosen, strict=True) if kind == POINT else zip(chosen[::2], chosen[1::2], strict=False)
            for start, end in pairs:
                told, comment = draw(MODIFIERS), draw(TEXTS)
                told = told if any(told) else ()
                ended = draw(TEXTS) if kind == STATE else ""
                items.append(GroundTruth(name, start, end, kind, person, told, comment, ended))
    video = VideoAnnotation("day", "training", FRAMES / FPS, FPS, tuple(items), frames=FRAMES, path="day.mp4")
    return Annotations("tal 1", {"day": video}, tuple(names), definitions=tuple(definitions), subjects=tuple(people))


def there_and_back(annotations: Annotations, name: str, how: How | None = None) -> VideoAnnotation:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"day{TARGETS[name].suffix}"
        write_annotations(annotations, file, name)
        (video,) = read_annotations(file, how or How()).videos.values()
    return video


def facts(video: VideoAnnotation, *attributes: str) -> list[Any]:
    found = [
        (i.label, round(i.start, 6), round(i.end, 6), *(getattr(i, a) for a in attributes)) for i in video.segments
    ]
    return sorted(found, key=repr)


@pytest.mark.parametrize("name", ["boris", "boris-aggregated", "boris-tabular"])
@given(annotations=days(tuple(n / 1000 for n in range(0, 2001, 7))))
def test_boris(name: str, annotations: Annotations) -> None:
    assume(name == "boris" or annotations.videos["day"].segments)  # tables have rows of events alone
    found = there_and_back(annotations, name)
    told = ("kind", "subject", "modifiers", "comment", "comment_end")
    assert facts(found, *told) == facts(annotations.videos["day"], *told)
    assert (found.duration, found.fps, found.path, found.observation) == (2.0, FPS, "day.mp4", "day")


@st.composite
def queues(draw: st.DrawFn) -> str:
    """A project with an observation of several files behind one another, of which bouts may cross or touch the ends."""
    lengths = draw(st.lists(st.sampled_from([1.0, 2.5, 0.04]), min_size=2, max_size=3))
    ends = [round(sum(lengths[:n]), 6) for n in range(len(lengths) + 1)]
    times = sorted({*ends, *(round(n * 0.13, 6) for n in range(int(ends[-1] / 0.13)))})
    events = []
    for label in draw(st.lists(NAMES, min_size=1, max_size=2, unique=True)):
        chosen = sorted(draw(st.lists(st.sampled_from(times), min_size=2, max_size=6, unique=True)))
        offset = draw(st.sampled_from([0, 1]))
        for start, end in zip(chosen[offset::2], chosen[offset + 1 :: 2], strict=False):
            events += [[time + 100.5, "", label, "", "", "NA"] for time in (start, end)]
        events += [[time + 100.5, "", "point", "", "", "NA"] for time in chosen[:offset]]
    files = [f"v{n}.mp4" for n in range(len(lengths))]
    media = {"length": dict(zip(files, lengths, strict=True)), "fps": dict.fromkeys(files, FPS)}
    kinds = {str(label): "State event" for _, _, label, *_ in events} | {"point": "Point event"}
    return json.dumps({
        "project_format_version": "7.0",
        "behaviors_conf": {str(n): {"code": code, "type": kind} for n, (code, kind) in enumerate(kinds.items())},
        "observations": {
            "day, 1": {
                "type": "MEDIA", "file": {"1": files}, "media_info": media, "events": events, "time offset": 100.5,
            }
        },
    })  # fmt: skip


@pytest.mark.parametrize("name", ["boris", "boris-aggregated", "boris-tabular"])
@given(project=queues())
def test_files_behind_one_another(name: str, project: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "x.boris").write_text(project)
        told = read_annotations(Path(folder) / "x.boris", How())
        assume(any(video.segments for video in told.videos.values()))
        file = Path(folder) / f"y{TARGETS[name].suffix}"
        write_annotations(told, file, name)
        found = read_annotations(file, How())
    assert {n: facts(video, "kind", "part") for n, video in found.videos.items()} == {
        n: facts(video, "kind", "part") for n, video in told.videos.items()
    }
    assert [video.duration for video in found.videos.values()] == [video.duration for video in told.videos.values()]


def apart(annotations: Annotations) -> Annotations:
    """One subject, states alone, and no two of a label that touch."""
    video = annotations.videos["day"]
    kept: dict[str, float] = {}
    items = []
    for item in sorted(video.segments, key=lambda item: item.start):
        if item.kind == STATE and item.start > kept.get(item.label, -1.0):
            kept[item.label] = item.end
            items.append(GroundTruth(item.label, item.start, item.end))
    labels = tuple(sorted({item.label for item in items}))
    return replace(annotations, videos={"day": replace(video, segments=tuple(items))}, labels=labels, definitions=())


@pytest.mark.parametrize("name", ["frames", "feral"])
@given(annotations=days().map(apart))
def test_frames(name: str, annotations: Annotations) -> None:
    found = there_and_back(annotations, name, How(fps=FPS))
    assert facts(found) == facts(annotations.videos["day"]) and found.frames == FRAMES


@pytest.mark.parametrize("name", ["textgrid", "textgrid-labels"])
@given(annotations=days())
def test_textgrids(name: str, annotations: Annotations) -> None:
    assume(all(item.subject != item.label for item in annotations.videos["day"].segments))  # which is told
    found = there_and_back(annotations, name, How(tiers="label" if "labels" in name else "subject"))
    assert facts(found, "kind", "subject") == facts(annotations.videos["day"], "kind", "subject")


@pytest.mark.parametrize(
    ("name", "told"),
    [("csv", ("kind", "subject", "comment")), ("vtrace", ("kind", "subject")), ("elan", ("kind",))],
)
@given(annotations=days())
def test_other_tables(name: str, told: tuple[str, ...], annotations: Annotations) -> None:
    assume(annotations.videos["day"].segments or name != "elan")
    found = there_and_back(annotations, name, How(fps=FPS))
    assert facts(found, *told) == facts(annotations.videos["day"], *told)


@given(annotations=days(), kept=st.lists(st.integers(0, FRAMES), min_size=2, max_size=8, unique=True).map(sorted))
def test_frames_that_were_not_reviewed(annotations: Annotations, kept: list[int]) -> None:
    annotations = apart(annotations)
    assume(annotations.labels)
    ranges = tuple((a / FPS, b / FPS) for a, b in zip(kept[::2], kept[1::2], strict=False))
    video = annotations.videos["day"]
    inside = [i for i in video.segments if any(a <= i.start and i.end <= b for a, b in ranges)]
    video = replace(video, segments=tuple(inside), reviewed=ranges)
    found = there_and_back(replace(annotations, videos={"day": video}), "frames", How(fps=FPS))
    assert facts(found) == facts(video) and found.reviewed == (None if ranges == ((0.0, 2.0),) else ranges)


@given(annotations=days(tuple(n / 10 for n in range(1, 20))))
def test_binary_tables_of_boris(annotations: Annotations) -> None:
    """Written here by its rules: 1 while an odd number of rows of a column is at or before the time."""
    assume(not any("(" in label for label in annotations.labels))  # where modifiers begin
    video = annotations.videos["day"]
    columns: dict[str, list[tuple[int, int]]] = {}
    told = []
    for item in video.segments:
        ends = columns.setdefault(column(item), [])
        place = round(item.start * 10), round(item.end * 10)
        if item.kind == STATE and item.subject is None and all(a != place[1] and b != place[0] for a, b in ends):
            ends.append(place)
            told.append((item.label, item.start, item.end, item.modifiers))
    rows = [
        [n / 10, *(sum(time <= n for pair in ends for time in pair) % 2 for ends in columns.values())]
        for n in range(21)
    ]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "day_binary_No focal subject.csv"
        file.write_bytes(csv_bytes([("time", *columns), *rows]))
        (found,) = read_annotations(file, How()).videos.values()
    assert facts(found, "modifiers") == sorted(told, key=repr)


def column(item: GroundTruth) -> str:
    text = "|".join(",".join(values) or "None" for values in item.modifiers)
    return f"{item.label} ({text})" if text else item.label


def test_separators_in_names_of_columns(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text('# about; this, "table\nframe,run; jump; sit,"dig,\nfast"\n0,1,0\n1,0,1\n')
    (found,) = read_annotations(tmp_path / "x.csv", How(fps=10.0)).videos.values()
    assert facts(found) == [("dig,\nfast", 0.1, 0.2), ("run; jump; sit", 0.0, 0.1)]


def test_what_cannot_be_held_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = (
        GroundTruth("run", 0.0, 1.0),
        GroundTruth("run", 1.0, 2.0),
        GroundTruth("null", 1.0, 2.0, subject="a (points)"),
    )
    values = (GroundTruth("dig", 0.0, 1.0, subject="No focal subject", modifiers=(("a,b", "x|y"), ("None",))),)
    empty = VideoAnnotation("none", "training", 2.0, FPS, ())
    day = VideoAnnotation("day", "training", 2.0, FPS, (*run, *values))
    told = Annotations("", {"day": day, "none": empty}, ("run", "dig", "null"))
    alone = replace(told, videos={"day": day})
    said = {}
    for name in ("frames", "feral", "textgrid", "boris", "boris-aggregated", "boris-tabular"):
        write_annotations(alone if name == "textgrid" else told, tmp_path / f"{name}{TARGETS[name].suffix}", name)
        said[name] = capsys.readouterr().err
    assert "day: 4 instances become 3" in said["frames"] and "day: 4 instances become 3" in said["feral"]
    assert "'null' is that of a gap" in said["textgrid"]
    assert all("'a,b', 'x|y', 'None'" in said[name] and "means no" in said[name] for name in said if "boris" in name)
    assert "1 video without instances" in said["boris-aggregated"] and "without" not in said["boris"]
