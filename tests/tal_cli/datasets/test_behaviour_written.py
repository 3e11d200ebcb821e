"""Annotations written in other programs' formats, and read back."""

from __future__ import annotations

import json
import os
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from numbered_videos import write_numbered_video

from tal_cli import app
from tal_cli.datasets.annotations import Annotations, GroundTruth, LabelDefinition, ModifierSet, VideoAnnotation
from tal_cli.datasets.formats import read_annotations
from tal_cli.datasets.formats.values import Facts, How
from tal_cli.datasets.writers import TARGETS, write_annotations
from tal_cli.extractors.errors import UsageError

FOLDER = Path(os.environ.get("TAL_SHARED", Path(__file__).resolve().parents[4] / "shared")) / "behaviour"
FPS = 25.0
TEN = How(fps=10.0)
ANNOTATIONS = Annotations(
    "tal 1",
    {
        "a": VideoAnnotation("a", "training", 20.0, FPS, (
            GroundTruth("dig", 1.0, 4.2, "state", "Rex", (("left",), ("deep", "fast")), "begins", "ends"),
            GroundTruth("dig", 2.0, 6.0, "state", "Rex", (("right",), ())),
            GroundTruth("bark", 3.0, 3.0, "point"),
            GroundTruth("run", 6.0, 8.0, "state", "Rex"),
            GroundTruth("run", 8.0, 9.0, "state", "Rex"),
            GroundTruth("run", 18.0, 20.0, "state", part=(1, 2)),
        ), frames=500, path="v/a.mp4", observation="day"),
        "b": VideoAnnotation("b", "training", 10.0, FPS, (
            GroundTruth("run", 0.0, 1.4, "state", part=(2, 2)), GroundTruth("bark", 5.0, 5.0, "point"),
        ), frames=250, path="v/b.mp4", observation="day"),
        "empty": VideoAnnotation("empty", "training", 4.0, FPS, (), frames=100, path="v/empty.mp4", observation="n"),
        "live": VideoAnnotation("live", "training", 5.0, None, (GroundTruth("run", 1.0, 5.0),), observation="live"),
    },
    ("dig", "run", "bark"),
    definitions=(
        LabelDefinition("dig", "state", "d", "", "#123456", (ModifierSet("side", "one", ("left", "right")),
                        ModifierSet("how", "several", ("deep", "fast")), ModifierSet("heart", "external")), "work",
                        ("run",)),
        LabelDefinition("run"), LabelDefinition("bark", "point"),
    ),
    subjects=("Rex",),
)  # fmt: skip
FACTS = {name: Facts(FPS, video.frames, video.duration) for name, video in ANNOTATIONS.videos.items() if video.frames}
Fact = tuple[object, ...]


def facts(annotations: Annotations, *attributes: str) -> list[Fact]:
    """What of each instance has to come back."""
    return sorted(
        (
            (video.name, item.label, round(item.start, 6), round(item.end, 6), *(getattr(item, a) for a in attributes))
            for video in annotations.videos.values()
            for item in video.segments
            if item.start == item.start
        ),
        key=repr,
    )


def back(out: Path, how: How | None = None) -> Annotations:
    return read_annotations(out, how or How(facts=FACTS))


@pytest.mark.parametrize("name", ["boris", "boris-aggregated", "boris-tabular"])
def test_formats_of_boris_come_back(tmp_path: Path, name: str) -> None:
    out = tmp_path / f"x{TARGETS[name].suffix}"
    write_annotations(ANNOTATIONS, out, name)
    found = back(out)
    kept = ("kind", "subject", "modifiers", "comment", "comment_end", "part")
    assert facts(found, *kept) == facts(ANNOTATIONS, *kept)
    videos = {name: (v.path, v.observation, v.duration) for name, v in found.videos.items()}
    told = {name: (v.path, v.observation, v.duration) for name, v in ANNOTATIONS.videos.items()}
    assert videos == (told if name == "boris" else {n: v for n, v in told.items() if n != "empty"})
    if name == "boris":
        assert found.definitions == ANNOTATIONS.definitions and found.subjects == ("Rex",)


def test_a_project_holds_what_boris_wants(tmp_path: Path) -> None:
    """The keys with which BORIS 10.0.2 opens a project."""
    write_annotations(ANNOTATIONS, tmp_path / "x.boris", "boris")
    document = json.loads((tmp_path / "x.boris").read_text())
    assert set(document) == {
        "time_format", "project_date", "project_name", "project_description", "project_format_version", "subjects_conf",
        "behaviors_conf", "observations", "behavioral_categories", "independent_variables", "coding_map",
        "behaviors_coding_map", "converters",
    }  # fmt: skip
    for item in document["behaviors_conf"].values():
        assert {"type", "key", "code", "description", "category", "modifiers", "excluded", "coding map"} <= set(item)
    day, live = document["observations"]["day"], document["observations"]["live"]
    assert list(day["file"]) == [str(n) for n in range(1, 9)] and day["file"]["1"] == ["v/a.mp4", "v/b.mp4"]
    assert set(day["media_info"]) == {"length", "fps", "hasVideo", "hasAudio", "offset"}
    assert {len(event) for event in day["events"]} == {6} and {len(event) for event in live["events"]} == {5}
    assert [event for event in day["events"] if event[2] == "run" and not event[1]] == [
        [18.0, "", "run", "", "", 450], [21.4, "", "run", "", "", 35]
    ]  # fmt: skip
    assert live["type"] == "LIVE" and day["type"] == "MEDIA"


def test_boris_cannot_hold_overlaps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    items = tuple(GroundTruth("run", float(n), n + 1.5, id=str(n)) for n in (0, 1, 5))
    video = VideoAnnotation("a", "training", 9.0, FPS, items)
    write_annotations(Annotations("", {"a": video}, ("run",)), tmp_path / "x.boris", "boris")
    assert facts(back(tmp_path / "x.boris")) == [("a", "run", 0.0, 2.5), ("a", "run", 5.0, 6.5)]
    said = capsys.readouterr().err
    assert "run at 1 s overlaps the one at 0 s" in said and "no place for identifiers" in said


def test_frames_come_back(tmp_path: Path) -> None:
    videos = {name: replace(video, reviewed=((0.0, 7.0),)) for name, video in ANNOTATIONS.videos.items() if video.fps}
    write_annotations(replace(ANNOTATIONS, videos=videos), tmp_path / "x.csv", "frames")
    lines = (tmp_path / "x.csv").read_text().splitlines()
    assert lines[0] == "video,frame,dig,run,bark" and len(lines) == 1 + 500 + 250 + 100
    assert lines[1] == "a,0,0,0,0" and lines[76] == "a,75,1,0,1" and lines[500] == "a,499,-1,-1,-1"
    found = back(tmp_path / "x.csv")
    assert [row for row in facts(found) if row[0] == "a"] == [
        ("a", "bark", 3.0, 3.04), ("a", "dig", 1.0, 6.0), ("a", "run", 6.0, 7.0)
    ]  # fmt: skip
    assert found.videos["a"].reviewed == ((0.0, 7.0),) and found.videos["a"].frames == 500
    with pytest.raises(UsageError, match="video live: its frame rate is not known"):
        write_annotations(ANNOTATIONS, tmp_path / "x.csv", "frames")


@pytest.mark.parametrize("name", ["csv", "fiftyone", "vtrace", "elan"])
def test_other_formats_come_back(tmp_path: Path, name: str) -> None:
    (video,) = [replace(ANNOTATIONS.videos["a"], segments=ANNOTATIONS.videos["a"].segments[2:5])]
    one = replace(ANNOTATIONS, videos={"a": video})
    out = tmp_path / f"a{TARGETS[name].suffix}"
    write_annotations(one, out, name)
    kept = ("kind",) if name == "elan" else ("kind", "subject")
    assert facts(back(out), *kept) == facts(one, *kept)


def test_formats_of_one_video_take_a_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds one video, and there are 4"):
        write_annotations(ANNOTATIONS, tmp_path / "x.csv", "vtrace")
    write_annotations(ANNOTATIONS, tmp_path / "out", "vtrace")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.csv", "b.csv", "empty.csv", "live.csv"]


@pytest.mark.skipif(not FOLDER.is_dir(), reason=f"the shared folder is absent: {FOLDER}")
@pytest.mark.parametrize("sample", ["boris/mice.boris", "boris/mice_raters.boris.gz", "boris/mice_stills.boris"])
@pytest.mark.parametrize("name", ["boris", "boris-aggregated", "boris-tabular"])
def test_samples_come_back(tmp_path: Path, sample: str, name: str) -> None:
    told = read_annotations(FOLDER / sample, How())
    out = tmp_path / f"x{TARGETS[name].suffix}"
    write_annotations(told, out, name)
    found = back(out, How())
    kept = ("kind", "subject", "modifiers", "comment", "comment_end")
    assert facts(found, *kept) == facts(told, *kept)


def test_the_command_converts_by_suffix_and_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("video,label,start,end,kind,subject,fps,duration\na,run,1,2,state,Rex,25,9\n")
    convert = ["datasets", "convert", str(tmp_path / "a.csv")]
    assert app.run([*convert, str(tmp_path / "x.boris")]) == 0
    assert app.run([*convert, str(tmp_path / "x.csv"), "--to", "frames"]) == 0
    assert app.run([*convert, str(tmp_path / "x.json")]) == 0
    assert facts(back(tmp_path / "x.boris"), "subject") == [("a", "run", 1.0, 2.0, "Rex")]
    assert len((tmp_path / "x.csv").read_text().splitlines()) == 226
    assert facts(back(tmp_path / "x.json"), "subject") == [("a", "run", 1.0, 2.0, "Rex")]
    assert app.run([*convert, str(tmp_path / "x.csv"), "--to", "odt"]) == 2
    assert "no such format" in capsys.readouterr().err


def test_paths_of_videos_stay_right(tmp_path: Path) -> None:
    (tmp_path / "in" / "v").mkdir(parents=True)
    (tmp_path / "in" / "v" / "a.mp4").touch()
    write_annotations(ANNOTATIONS, tmp_path / "in" / "x.boris", "boris")
    assert app.run(["datasets", "convert", str(tmp_path / "in" / "x.boris"), str(tmp_path / "out" / "x.json")]) == 0
    found = back(tmp_path / "out" / "x.json").videos
    assert found["a"].path == "../in/v/a.mp4" and found["b"].path == "v/b.mp4", "the latter is not there"


@pytest.mark.parametrize("name", ["boris", "boris-aggregated", "boris-tabular"])
def test_states_without_length_come_back(tmp_path: Path, name: str) -> None:
    """As points of a label that is a state elsewhere, or as another program's states of one moment."""
    items = tuple(GroundTruth("run", start, end) for start, end in ((0.0, 1.0), (1.0, 1.0), (1.0, 2.0), (3.0, 3.0)))
    items += (GroundTruth("run", 3.0, 4.0), GroundTruth("run", 5.0, 5.0, "point"))
    video = VideoAnnotation("a", "training", 9.0, FPS, items, frames=225, path="a.mp4")
    write_annotations(Annotations("", {"a": video}, ("run",)), tmp_path / f"x{TARGETS[name].suffix}", name)
    assert facts(back(tmp_path / f"x{TARGETS[name].suffix}")) == sorted(("a", "run", i.start, i.end) for i in items)


def test_two_observations_of_one_video_are_both_written(tmp_path: Path) -> None:
    videos = {
        name: VideoAnnotation(name, "training", 2.0, FPS, (GroundTruth("run", start, 2.0),), frames=50, path="v/a.mp4")
        for name, start in (("a", 0.4), ("a (rater 2)", 0.8))
    }
    write_annotations(Annotations("", videos, ("run",)), tmp_path / "x.json", "feral")
    assert facts(back(tmp_path / "x.json", How(fps=FPS))) == [("a (rater 2)", "run", 0.8, 2.0), ("a", "run", 0.4, 2.0)]


@pytest.mark.parametrize("name", ["fiftyone", "vtrace"])
def test_the_last_point_stays_where_it_is(tmp_path: Path, name: str) -> None:
    """Where the length of the video is unknown, in any number of conversions."""
    items = (GroundTruth("run", 0.4, 1.0), GroundTruth("bark", 20.4, 20.4, "point"))
    told = Annotations("", {"a": VideoAnnotation("a", "training", 0.0, FPS, items)}, ("run", "bark"))
    out = tmp_path / f"a{TARGETS[name].suffix}"
    for _ in range(3):
        write_annotations(told, out, name)
        told = read_annotations(out, How(fps=FPS))
        assert facts(told, "kind") == [("a", "bark", 20.4, 20.4, "point"), ("a", "run", 0.4, 1.0, "state")]
    if name == "vtrace":
        assert ",510,510," in out.read_text()


def test_seconds_are_written_short_and_lie_in_their_frames(tmp_path: Path) -> None:
    """30 frames a second: 0.1 + 0.2 is 0.30000000000000004, and a third of a second never ends."""
    bouts = (GroundTruth("dig", 0.1 + 0.2, 10 / 3), GroundTruth("dig", 16 / 3, 17 / 3))
    video = VideoAnnotation("a", "training", 20 / 3, 30.0, bouts, ((0.1 + 0.2, 20 / 3),), frames=200)
    told = Annotations("", {"a": video}, ("dig",))
    for name in ("activitynet", "csv", "vtrace"):
        out = tmp_path / f"x{TARGETS[name].suffix}"
        write_annotations(told, out, name)
        numbers = re.findall(r"\d+\.\d+", out.read_text())
        assert "0.3" in numbers and "3.333333" in numbers and max(len(number.split(".")[1]) for number in numbers) == 6
        write_annotations(read_annotations(out, How()), tmp_path / "f.csv", "frames")
        rows = (tmp_path / "f.csv").read_text().splitlines()[1:]
        assert [n for n, row in enumerate(rows) if row.endswith(",1")] == [*range(9, 100), *range(160, 170)]


def test_what_has_no_times_is_not_counted_as_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text("frame,dig\n0,1\n1,0\n")
    convert = ["datasets", "convert", str(tmp_path / "a.csv")]
    assert app.run([*convert, str(tmp_path / "x.csv")]) == 2 and not (tmp_path / "x.csv").exists()
    assert "none of the instances has times" in capsys.readouterr().err
    (tmp_path / "b.csv").write_text("video,label,start,end\nb,run,1,2\n")
    assert app.run([*convert, str(tmp_path / "b.csv"), str(tmp_path / "x.csv")]) == 0
    assert "2 videos, 1 instance of 2 labels" in capsys.readouterr().err


def test_a_folder_is_no_file_and_the_hint_says_what_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("a.TextGrid", "b.TextGrid", "a.mp4", "b.mp4", "c.mp4", "notes.txt"):
        (tmp_path / name).touch()
    for command in (["stats", str(tmp_path)], ["datasets", "check", str(tmp_path)]):
        assert app.run(command) in (3, 4)
        assert f"tal datasets convert {tmp_path}/*.TextGrid" in capsys.readouterr().err


def test_live_observations_have_the_frame_rate_that_is_given(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """They have no video, so --videos does not look for one, and a rate is all that frames need."""
    videos = {
        "a": VideoAnnotation("a", "training", 1.0, 25.0, (GroundTruth("dig", 0.2, 0.6),), path="a.mp4"),
        "live": VideoAnnotation("live", "training", 2.0, None, (GroundTruth("dig", 1.0, 2.0),), observation="live"),
    }
    write_annotations(Annotations("tal 1", videos, ("dig",)), tmp_path / "x.boris", "boris")
    (tmp_path / "videos").mkdir()
    write_numbered_video(tmp_path / "videos" / "a.mp4", 25, sound=None)
    convert = ["datasets", "convert", str(tmp_path / "x.boris"), "--videos", str(tmp_path / "videos"), "--to", "frames"]
    assert app.run([*convert, str(tmp_path / "y.csv")]) != 0
    assert "video live: its frame rate is not known" in capsys.readouterr().err
    assert app.run([*convert, str(tmp_path / "y.csv"), "--fps", "10"]) == 0
    rows = [line.split(",") for line in (tmp_path / "y.csv").read_text().splitlines()[1:]]
    assert [row[2] for row in rows if row[0] == "live"] == list("0" * 10 + "1" * 10)


def test_points_come_back_from_elan(tmp_path: Path) -> None:
    write_annotations(replace(ANNOTATIONS, videos={"a": ANNOTATIONS.videos["a"]}), tmp_path / "a.eaf", "elan")
    found = back(tmp_path / "a.eaf")
    assert [(i.label, i.start, i.end) for i in found.videos["a"].segments if i.kind == "point"] == [("bark", 3.0, 3.0)]
    text = (tmp_path / "a.eaf").read_text().replace('TIER_ID="bark"', 'TIER_ID="bark" PARTICIPANT="Rex"')
    (tmp_path / "a.eaf").write_text(text)
    assert {i.subject for i in back(tmp_path / "a.eaf").videos["a"].segments if i.label == "bark"} == {"Rex"}


def test_frames_of_boris_are_those_of_the_source_and_none_before_the_video(tmp_path: Path) -> None:
    items = (
        GroundTruth("dig", -0.5, 1.0), GroundTruth("run", 2.0, 3.0, frames=(None, 76)), GroundTruth("bark", 4.0, 4.0),
    )  # fmt: skip
    video = VideoAnnotation("a", "training", 5.0, FPS, items, path="a.mp4")
    write_annotations(Annotations("tal 1", {"a": video}, ("dig", "run", "bark")), tmp_path / "x.boris", "boris")
    (observation,) = json.loads((tmp_path / "x.boris").read_text())["observations"].values()
    assert [event[5] for event in observation["events"]] == ["NA", 25, "NA", 76, 100, 100]


@pytest.mark.skipif(sys.platform != "linux", reason="file systems of other systems hold Unicode alone")
@pytest.mark.parametrize("name", TARGETS)
def test_files_whose_names_are_not_unicode(tmp_path: Path, name: str) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/k\xe4fer_labels.CSV"))
    path.write_text(",background,dig\n0,1,0\n1,0,1\n")
    out = tmp_path / f"x{TARGETS[name].suffix}"
    assert app.run(["datasets", "convert", str(path), str(out), "--to", name, "--fps", "10"]) == 0
    assert [(i.label, i.start, i.end) for v in back(out, TEN).videos.values() for i in v.segments] == [
        ("dig", 0.1, 0.2)
    ]


def test_suggestions_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.pred.csv").write_text("labelId,timestamp,endTimestamp,score,predictionId\ndig,1,2,0.9,a::0\n")
    assert app.run(["datasets", "convert", str(tmp_path / "a.pred.csv"), str(tmp_path / "x.json")]) == 0
    assert "1 video, 0 instances of 0 labels; 1 suggestion\n" in capsys.readouterr().err


def test_tables_of_frames_have_an_end(tmp_path: Path) -> None:
    """BORIS may count from 1970."""
    video = VideoAnnotation("a", "training", 0.0, FPS, (GroundTruth("dig", 1.7e9, 1.7e9 + 2),))
    with pytest.raises(UsageError, match="video a: 42500000050 frames are too many for a table"):
        write_annotations(Annotations("tal 1", {"a": video}, ("dig",)), tmp_path / "x.csv", "frames")


@pytest.mark.parametrize("name", ["../../other", "/other", "../day/../other"])
def test_no_name_of_a_video_leads_out_of_the_folder(tmp_path: Path, name: str) -> None:
    videos = {n: VideoAnnotation(n, "training", 9.0, FPS, (GroundTruth("dig", 1.0, 2.0),)) for n in (name, "a")}
    out = tmp_path / "in" / "out"
    write_annotations(Annotations("tal 1", videos, ("dig",)), out, "vtrace")
    made = {path for path in tmp_path.rglob("*.csv")}
    assert len(made) == 2 and all(path.is_relative_to(out) for path in made)


def test_videos_whose_names_make_one_file_are_told_of(tmp_path: Path) -> None:
    videos = {n: VideoAnnotation(n, "training", 9.0, FPS, (GroundTruth("dig", 1.0, 2.0),)) for n in ("../a", "a")}
    with pytest.raises(UsageError, match=r"videos \.\./a and a would have one file"):
        write_annotations(Annotations("tal 1", videos, ("dig",)), tmp_path / "out", "vtrace")
    assert not (tmp_path / "out").exists()
