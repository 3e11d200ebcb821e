"""What tal writes, read by the readers of the programs that it is for.

praatIO is small, and a dependency of the tests. The others are large: `TAL_READERS=PYTHON` names the Python of an
environment that has them; `tests/support/other_reader.py` says how to make one.
"""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import other_reader
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tal_cli.datasets.annotations import Annotations, GroundTruth, LabelDefinition, ModifierSet, VideoAnnotation
from tal_cli.datasets.formats import read_annotations
from tal_cli.datasets.formats.values import How
from tal_cli.datasets.writers import TARGETS, write_annotations

FPS = 25.0
DAY = VideoAnnotation("a", "training", 20.0, FPS, (
    GroundTruth("dig", 1.0, 4.2, "state", "Rex", (("left",), ("deep", "fast")), "begins", "ends"),
    GroundTruth("dig", 2.0, 6.0, "state", "Rex", (("right",), ())),
    GroundTruth("bark", 3.0, 3.0, "point"), GroundTruth("bark", 3.0, 3.0, "point"),
    GroundTruth('run "fast"', 6.0, 8.0, "state", "Rex"), GroundTruth('run "fast"', 8.0, 8.0, "state", "Rex"),
    GroundTruth('run "fast"', 18.0, 20.0),
), frames=500)  # fmt: skip
SETS = (ModifierSet("side", "one", ("left", "right")), ModifierSet("how", "several", ("deep", "fast")))
LABELS = (LabelDefinition("dig", modifiers=SETS), LabelDefinition('run "fast"'), LabelDefinition("bark", "point"))
ANNOTATIONS = Annotations(
    "tal 1",
    {"a": DAY, "b": VideoAnnotation("b", "validation", 4.0, FPS, (), frames=100)},
    tuple(label.name for label in LABELS),
    definitions=LABELS,
    subjects=("Rex",),
)


def by_its_program(program: str, file: Path) -> Any:
    python = os.environ.get("TAL_READERS")
    if not python:
        pytest.skip("TAL_READERS does not name a Python that has the program")
    done = subprocess.run(
        [python, other_reader.__file__, program, str(file)], capture_output=True, text=True, timeout=300, check=False
    )
    if "No module named" in done.stderr:
        pytest.skip(f"{python}: {done.stderr.splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
def test_boris_opens_a_project(tmp_path: Path) -> None:
    write_annotations(ANNOTATIONS, tmp_path / "x.boris", "boris")
    found = by_its_program("boris", tmp_path / "x.boris")
    assert (found["message"], found["unsound"], found["paired"]) == ("", "", True)
    assert found["events"]["b"] == [] and sorted(found["events"]["a"]) == sorted([
        [1.0, "Rex", "dig", "left|deep,fast", "begins", "START"],
        [4.2, "Rex", "dig", "left|deep,fast", "ends", "STOP"],
        [2.0, "Rex", "dig", "right|None", "", "START"], [6.0, "Rex", "dig", "right|None", "", "STOP"],
        [3.0, "", "bark", "", "", "POINT"], [3.0, "", "bark", "", "", "POINT"],
        [6.0, "Rex", 'run "fast"', "", "", "START"], [8.0, "Rex", 'run "fast"', "", "", "STOP"],
        [8.0, "Rex", 'run "fast"', "", "", "START"], [8.0, "Rex", 'run "fast"', "", "", "STOP"],
        [18.0, "", 'run "fast"', "", "", "START"], [20.0, "", 'run "fast"', "", "", "STOP"],
    ])  # fmt: skip


@st.composite
def on_the_grid(draw: st.DrawFn, name: str = "a") -> VideoAnnotation:
    """Ten seconds with bouts of two labels, with and without a subject, with edges at half seconds; those of one label
    and subject do not touch."""
    found = []
    for subject in ("Rex", None):
        for label, sides in (("dig", ("left", "right")), ('run "fast"', ())):
            edges = sorted(draw(st.lists(st.integers(1, 19), max_size=8, unique=True)))
            for start, end in zip(edges[::2], edges[1::2], strict=False):
                modifiers = ((draw(st.sampled_from(sides)),), ()) if sides else ()
                found.append(GroundTruth(label, start / 2, end / 2, "state", subject, modifiers))
    return VideoAnnotation(name, "training", 10.0, FPS, tuple(found), frames=250)


# The programs take seconds to start, so each looks at many videos at once.
MANY = st.tuples(*(on_the_grid(f"v{n}") for n in range(30)))


@pytest.mark.slow
@settings(max_examples=2)  # the first is the simplest: nothing in it
@given(videos=MANY)
def test_binary_tables_of_boris_hold_what_was_written(videos: tuple[VideoAnnotation, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "x.boris"
        write_annotations(replace(ANNOTATIONS, videos={video.name: video for video in videos}), project, "boris")
        tables = by_its_program("boris-binary", project)
        assert tables.keys() == {video.name for video in videos}
        for video in videos:
            for who, table in tables[video.name].items():
                file = Path(folder) / f"{video.name}_binary_{who}.csv"
                file.write_text(table)
                (read,) = read_annotations(file, How()).videos.values()
                told = [i for i in video.segments if (i.subject or "No focal subject") == who]
                assert sorted((i.label, i.start, i.end, i.modifiers) for i in read.segments) == sorted(
                    (i.label, i.start, i.end, i.modifiers) for i in told
                )


@pytest.mark.slow
def test_vtrace_reads_its_table(tmp_path: Path) -> None:
    offered = replace(DAY, suggestions=(GroundTruth("dig", 9.0, 9.5, source="model", score=0.5, status="rejected"),))
    write_annotations(replace(ANNOTATIONS, videos={"a": offered}), tmp_path / "a.csv", "vtrace")
    rows = by_its_program("vtrace", tmp_path / "a.csv")
    assert rows == [
        [i.label, str(i.start), str(i.end), i.subject or "", i.kind, i.status]
        for i in sorted((*DAY.segments, *offered.suggestions), key=lambda item: item.start)
    ]


@pytest.mark.slow
@settings(max_examples=2)  # the first is the simplest: nothing in it
@given(videos=MANY)
def test_feral_takes_the_labels(videos: tuple[VideoAnnotation, ...]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "x.json"
        known = {video.name: video for video in videos} | ANNOTATIONS.videos
        write_annotations(replace(ANNOTATIONS, videos=known), file, "feral")
        assert by_its_program("feral", file) is None


@pytest.mark.slow
def test_fiftyone_imports_the_labels(tmp_path: Path) -> None:
    write_annotations(ANNOTATIONS, tmp_path / "x.json", "fiftyone")
    assert by_its_program("fiftyone", tmp_path / "x.json") == {
        "a": [
            ["dig", [26, 105], {"subject": "Rex", "side": "left", "how": ["deep", "fast"], "comment": "begins"}],
            ["dig", [51, 150], {"subject": "Rex", "side": "right"}],
            ["bark", [76, 76], {"kind": "point"}], ["bark", [76, 76], {"kind": "point"}],
            ['run "fast"', [151, 200], {"subject": "Rex"}], ['run "fast"', [201, 201], {"subject": "Rex"}],
            ['run "fast"', [451, 500], {}],
        ],
        "b": [],
    }  # fmt: skip


@pytest.mark.parametrize("name", ["textgrid", "textgrid-labels"])
def test_praatio_reads_textgrids(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]) -> None:
    textgrid = pytest.importorskip("praatio.textgrid")
    file = tmp_path / f"a{TARGETS[name].suffix}"
    write_annotations(replace(ANNOTATIONS, videos={"a": DAY}), file, name)
    assert 'run "fast" at 8 s is shorter than 0.001 s' in capsys.readouterr().err
    tiers = {
        tier.name: [(*entry[:-1], entry[-1]) for entry in tier.entries]
        for tier in textgrid.openTextgrid(str(file), False, reportingMode="error").tiers
    }
    runs = [(6.0, 8.0), (8.0, 8.001)]
    assert tiers == ({
        "Rex": [(1.0, 4.2, "dig"), *((*bounds, 'run "fast"') for bounds in runs)],
        "Rex (overlapping 2)": [(2.0, 6.0, "dig")],
        "No focal subject (points)": [(3.0, "bark")], "No focal subject (points 2)": [(3.0, "bark")],
        "No focal subject": [(18.0, 20.0, 'run "fast"')],
    } if name == "textgrid" else {
        "dig": [(1.0, 4.2, "Rex")], "dig (overlapping 2)": [(2.0, 6.0, "Rex")],
        "bark (points)": [(3.0, "bark")], "bark (points 2)": [(3.0, "bark")],
        'run "fast"': [*((*bounds, "Rex") for bounds in runs), (18.0, 20.0, 'run "fast"')],
    })  # fmt: skip


@given(day=on_the_grid())
def test_praatio_finds_each_bout_of_a_label(day: VideoAnnotation) -> None:
    textgrid = pytest.importorskip("praatio.textgrid")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.TextGrid"
        write_annotations(replace(ANNOTATIONS, videos={"a": day}), file, "textgrid")
        tiers = textgrid.openTextgrid(str(file), False, reportingMode="error").tiers
    found = [(tier.name.partition(" (")[0], *entry) for tier in tiers for entry in tier.entries]
    assert sorted(found) == sorted(
        (item.subject or "No focal subject", item.start, item.end, item.label) for item in day.segments
    )


@pytest.mark.parametrize(("name", "tiers"), [("textgrid", "subject"), ("textgrid-labels", "label")])
def test_textgrids_come_back(tmp_path: Path, name: str, tiers: str) -> None:
    file = tmp_path / f"a{TARGETS[name].suffix}"
    write_annotations(replace(ANNOTATIONS, videos={"a": DAY}), file, name)
    found = read_annotations(file, How(tiers=tiers))
    told = [
        (i.label, i.start, max(i.end, i.start + 0.001 * (i.kind == "state")), i.kind, i.subject) for i in DAY.segments
    ]
    items = [(i.label, i.start, i.end, i.kind, i.subject) for i in found.videos["a"].segments]
    assert sorted(items, key=repr) == sorted(told, key=repr)
    assert found.videos["a"].duration == 20.0 and found.subjects == ("Rex",)
