"""Files of programs for labelling behaviour as people have them: other columns, encodings, gaps; and frames of videos
with a variable rate."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from numbered_videos import write_numbered_video

from tal_cli import app
from tal_cli.datasets.annotations import Annotations
from tal_cli.datasets.convert import merge
from tal_cli.datasets.formats import read_annotations
from tal_cli.datasets.formats.values import Facts, How
from tal_cli.datasets.video_facts import VideoFacts
from tal_cli.extractors.errors import AnnotationError
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import FORMATS, RunInfo

STAMPS = [0, 40, 80, 500, 1000, 1040, 1500, 1540]  # milliseconds


def read(folder: Path, name: str, text: str, how: How | None = None, encoding: str = "utf-8") -> Annotations:
    (folder / name).write_bytes(text.encode(encoding))
    return read_annotations(folder / name, how or How(fps=10.0))


def items(found: Annotations, *attributes: str) -> list[tuple[Any, ...]]:
    return [
        (video.name, item.label, item.start, item.end, *(getattr(item, name) for name in attributes))
        for video in found.videos.values()
        for item in video.segments
    ]


def test_a_table_of_boris_with_columns_anywhere(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Clock times, the code page of Windows, a variable named like a column, no observation, modifiers backwards."""
    text = (
        "Time;Behavior type;weather;subject;Subject;Behavior;Modifier #2;Modifier #1\r\n"
        "0:01:05,000;STOP;sun;wild;Käfer;läuft;slow;left,right\r\n"
        "0:00:02,500;START;sun;wild;Käfer;läuft;slow;left,right\r\n"
        "-1,5;POINT;sun;wild;No focal subject;ruft;;\r\n1:00:00;POINT;sun;wild;;ruft;;\r\n5;START;sun;wild;;läuft\r\n"
    )
    found = read(tmp_path, "day.csv", text, encoding="cp1252")
    assert items(found, "subject", "modifiers") == [
        ("day", "ruft", -1.5, -1.5, None, ()),
        ("day", "läuft", 2.5, 65.0, "Käfer", (("left", "right"), ("slow",))),
        ("day", "ruft", 3600.0, 3600.0, None, ()),
    ]
    said = capsys.readouterr().err
    assert "line 6: day: läuft at 5 s has no stop" in said and "left out: weather" in said and "not UTF-8" in said


def test_an_observation_whose_name_begins_with_a_hash(tmp_path: Path) -> None:
    head = "Observation id\tSource\tBehavior\tBehavior type\tTime\tMedia duration (s)\tComment\n"
    about = ("#1\tplayer #1:a.mp4;b.mp4|player #2:c.mp4\trun", "10.0;NA|20")
    rows = f"{about[0]}\tSTOP\t15.0\t{about[1]}\tb\n{about[0]}\tSTART\t5.0\t{about[1]}\ta\n"
    found = read(tmp_path, "x.tsv", "\ufeff" + head + rows)
    assert items(found, "part", "comment", "comment_end") == [
        ("a", "run", 5.0, 10.0, (1, 2), "a", "b"), ("b", "run", 0.0, 5.0, (2, 2), "a", "b")
    ]  # fmt: skip
    assert found.videos["a"].observation == "#1" and found.videos["c"].reviewed == ()


def test_aggregated_rows_without_a_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = (
        "Behavior,Start (s),Stop (s),Media file name,Duration (s),Modifiers\nrun,1,NA,v/a.mp4,3,\n"
        "call,4,4,v/a.mp4,NA,x|y\nrun,21,25,v/b.mp4,4,None|y\n"
    )
    found = read(tmp_path, "day.csv", table, How(facts={"a": Facts(25.0, 500, 20.0)}))
    assert items(found, "kind", "modifiers") == [
        ("a", "call", 4.0, 4.0, "point", (("x",), ("y",))), ("b", "run", 1.0, 5.0, "state", ((), ("y",)))
    ]  # fmt: skip
    said = capsys.readouterr().err
    assert "line 2: run has no stop" in said and "not told" not in said
    found = read(tmp_path, "day.csv", table)
    assert "the length of v/a.mp4 is not told; taken as 4 s" in capsys.readouterr().err
    with pytest.raises(AnnotationError, match="line 2: not a time: 'soon'"):
        read(tmp_path, "x.csv", "Behavior,Start (s),Stop (s)\nrun,soon,2\n")
    with pytest.raises(AnnotationError, match="line 2: expected START, STOP or POINT, found 'PAUSE'"):
        read(tmp_path, "x.csv", "Behavior,Status,Time\nrun,pause,2\n")


def test_a_project_with_times_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    day: dict[str, Any] = {
        "type": "MEDIA", "description": "hot", "independent_variables": {"weather": "sun"}, "time offset": "1.0",
        "file": {"1": ["a.mp4", "b.mp4"]}, "observation time interval": ["0", "5"],
        "events": [[2, "No focal subject", "run", "", ""], [3, "", "run", "", "", None]],
    }  # fmt: skip
    document = {"observations": {"day": day}, "behaviors_conf": {"0": {"code": "run", "type": "State event"}}}
    assert items(read(tmp_path, "x.boris", "\ufeff" + json.dumps(document)), "subject") == [
        ("a", "run", 1.0, 2.0, None)
    ]
    said = capsys.readouterr().err
    assert "the length of a.mp4 is not told" in said and "left out: descriptions of observations, weather" in said
    day["events"].append(["x", "", "run", "", ""])
    with pytest.raises(AnnotationError, match=r"observation day is damaged .*event 3: not a time: 'x'"):
        read(tmp_path, "x.boris", json.dumps(document))


def test_media_of_old_projects_have_their_lengths_by_content(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def found(*lengths: int, how: How | None = None) -> list[tuple[Any, ...]]:
        about = {f"{n:032x}": {"video_length": length, "nframe": length // 40} for n, length in enumerate(lengths)}
        events = [[time, "", "run", "", ""] for time in (9, 12)]
        day = {"type": "MEDIA", "file": {"1": ["a.avi", "b.avi"], "2": []}, "media_file_info": about, "events": events}
        behaviours = {"0": {"code": "run", "type": "State event"}}
        document = {"project_format_version": "1.6", "observations": {"day": day}, "behaviors_conf": behaviours}
        return items(read(tmp_path, "x.boris", json.dumps(document), how or How()))

    assert found(10_000, 10_000) == [("a", "run", 9.0, 10.0), ("b", "run", 0.0, 2.0)]
    assert capsys.readouterr().err == ""
    assert found(8000, 20_000) == [("b", "run", 1.0, 4.0)]
    assert "day: the lengths of its media have no names; taken in their order" in capsys.readouterr().err
    assert found(8000, 20_000, how=How(facts={"a": Facts(25.0, 500, 20.0), "b": Facts(25.0, 200, 8.0)})) == [
        ("a", "run", 9.0, 12.0)
    ]
    assert found(8000) == [("a", "run", 9.0, 12.0)], "nothing tells which of the files it is"
    assert "the length of a.avi is not told" in capsys.readouterr().err


def test_rows_of_frames(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(AnnotationError, match="line 4: frame 8 after frame 6: a row is missing"):
        read(tmp_path, "a.csv", "frame,dig\n5,1\n6,1\n8,0\n")
    late = read(tmp_path, "a.csv", "frame;dig\r\n5;1\r\n6;1\r\n7;0\r\n")
    assert items(late) == [("a", "dig", 0.5, 0.7)] and late.videos["a"].reviewed == ((0.5, 0.8),)
    assert "the first row is frame 5" in capsys.readouterr().err
    again = read(tmp_path, "a.csv", "Unnamed: 0,Nose_x,dig\n0,3.5,0\n1,2,1\n")
    assert items(again) == [("a", "dig", 0.1, 0.2)] and "taken as labels: dig" in capsys.readouterr().err
    assert read(tmp_path, "a.csv", "time\n0.0\n0.5\n").videos["a"].duration == 1.0


def test_rows_of_vtrace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    table = 'endTimestamp ,labelId, timestamp,type\r\n,call,3,Point\r\n,dig,9,state\r\n# note,x,1\r\n2,"a,b",1.5\r\n'
    assert items(read(tmp_path, "a.csv", table), "kind") == [
        ("a", "a,b", 1.5, 2.0, "state"), ("a", "call", 3.0, 3.0, "point")
    ]  # fmt: skip
    assert "line 3: no endtimestamp, so it is left out" in capsys.readouterr().err


def test_attributes_of_cvat_are_modifiers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def shape(frame: int, side: str, outside: int = 0) -> str:
        told = f'<attribute name="animal">m1</attribute><attribute name="side">{side}</attribute>'
        return f'<box frame="{frame}" outside="{outside}">{told}<attribute name="new">x</attribute></box>'

    attribute = "<attribute><name>side</name><input_type>select</input_type><values>left\nright</values></attribute>"
    about = f"<labels><label><name>dig</name><attributes>{attribute}</attributes></label></labels>"
    every = "<stop_frame>50</stop_frame><frame_filter>step=5</frame_filter>"
    meta = f"<meta><task><source>a.mp4</source>{every}{about}</task></meta>"
    track = f'<track label="dig">{shape(0, "left")}{shape(10, "right")}{shape(20, "left", 1)}</track>'
    found = read(tmp_path, "a.xml", f"<annotations>{meta}{track}</annotations>")
    assert items(found, "subject", "modifiers") == [("a", "dig", 0.0, 2.0, "m1", (("left", "right"), ("x",)))]
    assert found.definitions[0].modifiers[0].values == ("left", "right") and found.subjects == ("m1",)
    tag = '<image id="{}"><tag label="dig"><attribute name="side">left</attribute></tag><box label="q"/></image>'
    images = "".join(tag.format(number) for number in (0, 5, 20))
    assert items(read(tmp_path, "a.xml", f"<annotations>{meta}{images}</annotations>"), "modifiers") == [
        ("a", "dig", 0.0, 1.0, (("left",),)), ("a", "dig", 2.0, 2.5, (("left",),))
    ]  # fmt: skip
    assert "3 shapes in single images left out" in capsys.readouterr().err
    two = "<annotations><meta><project><tasks><task/><task/></tasks></project></meta></annotations>"
    with pytest.raises(AnnotationError, match="it holds 2 tasks"):
        read(tmp_path, "a.xml", two)


def test_files_named_otherwise(tmp_path: Path) -> None:
    game = json.dumps({"annotations": [{"gameTime": "1 - 00:10", "label": "Goal", "position": "10000"}]})
    assert list(read(tmp_path, "x.json", game, How(facts={"1_720p": Facts()})).videos) == ["1_720p", "2_224p"]
    assert items(read(tmp_path, "a.csv", "Time,A,B\n0.0,dig,\n")) == [("a", "dig", 0.0, 0.2)]
    table = "video,label,start,end,kind\na,call,1.5,,point\n"
    assert items(read(tmp_path, "a.csv", table), "kind") == [("a", "call", 1.5, 1.5, "point")]
    grid = 'File type = "ooTextFile"\nObject class = "TextGrid"\n0\n9\n<exists>\n1\n"IntervalTier"\n"läuft"\n0\n9\n1\n'
    grid += '1\n2\n"Käfer"\n'
    found = read(tmp_path, "a.TextGrid", grid, How(tiers="label"), encoding="latin-1")
    assert items(found, "subject") == [("a", "läuft", 1.0, 2.0, "Käfer")]


@pytest.fixture(scope="module")
def uneven(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video with a variable rate."""
    return write_numbered_video(tmp_path_factory.mktemp("uneven") / "v.mp4", len(STAMPS), stamps=STAMPS, sound=None)


def written(video: Path, format: str, segments: Sequence[Segment], **run: Any) -> list[str]:
    out = video.with_suffix(".out")
    found = Detections("v", str(video), 1.58, 5.06, len(STAMPS), tuple(segments))
    with out.open("wb") as file:
        FORMATS.usable()[format].writer()([found], file, RunInfo("0", "m", "", ("cut",), **run))
    return out.read_text().splitlines()


def test_results_tell_the_frames_of_a_variable_rate(uneven: Path) -> None:
    segments = [Segment("cut", 0.5, 1.04, 0.9), Segment("cut", 1.51, 1.52, 0.8)]
    assert [row[-1] for row in written(uneven, "frames", segments)[1:]] == list("00011010")
    assert [row.split(",")[-2:] for row in written(uneven, "csv", segments, frames=True)[1:]] == [
        ["3", "5"],
        ["6", "7"],
    ]


@pytest.mark.parametrize("name", ["frames", "fiftyone", "feral"])
def test_annotations_in_frames_of_a_variable_rate_come_back(uneven: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / "a.csv").write_text("video,label,start,end\nv,dig,0.5,1.04\nv,run,1.5,1.54\n")
    convert = ["datasets", "convert", "--videos", str(uneven.parent)]
    assert app.run([*convert, str(tmp_path / "a.csv"), str(tmp_path / "b"), "--to", name]) == 0
    if name == "frames":
        assert len((tmp_path / "b").read_text().splitlines()) == 1 + len(STAMPS)
    assert app.run([*convert, str(tmp_path / "b"), str(tmp_path / "c.json")]) == 0
    (video,) = read_annotations(tmp_path / "c.json", How()).videos.values()
    assert [(i.label, i.start, i.end) for i in video.segments] == [("dig", 0.5, 1.04), ("run", 1.5, 1.54)]


def test_what_fiftyone_has_no_field_for_is_an_attribute(tmp_path: Path) -> None:
    text = json.dumps({"classes": None, "labels": {"a": [
        {"label": "dig", "support": [1, 2], "attributes": {"side": "left", "how": ["x", "y"], "comment": "c"}},
        {"label": "dig", "support": [3, 4], "attributes": {"how": "z"}},
    ]}})  # fmt: skip
    found = read(tmp_path, "x.json", text)
    assert items(found, "modifiers", "comment") == [
        ("a", "dig", 0.0, 0.2, (("left",), ("x", "y")), "c"), ("a", "dig", 0.2, 0.4, ((), ("z",)), "")
    ]  # fmt: skip
    assert [each.name for each in found.definitions[0].modifiers] == ["side", "how"]


def test_columns_of_simba(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Probabilities before, behind and without their labels; counts among the features are no labels."""
    table = ",Nose_x,Low_prob_detections_0.5,{}\n0,3.5,2,{}\n1,2.5,0,{}\n2,2.5,1,{}\n"
    before = table.format("Probability_dig,dig", "0.9,1", "0.7,1", "0.1,0")
    behind = table.format("dig,Probability_dig", "1,0.9", "1,0.7", "0,0.1")
    for text in (before, behind):
        assert items(read(tmp_path, "a.csv", text), "score") == [("a", "dig", 0.0, 0.2, 0.8)]
    saved = "\n".join(line.partition(",")[2] for line in before.splitlines())
    assert items(read(tmp_path, "a.csv", saved), "score") == [("a", "dig", 0.0, 0.2, 0.8)], "without the index"
    body = "Nose_x,Nose_y,Nose_p,dig\n1.5,2,0.9,0\n1.5,2,1,1\n"
    assert items(read(tmp_path, "a.csv", body)) == [("a", "dig", 0.1, 0.2)]
    plain = table.format("dig,run", "1,0", "1,0", "0,1")
    assert items(read(tmp_path, "a.csv", plain)) == [("a", "dig", 0.0, 0.2), ("a", "run", 0.2, 0.3)]
    assert "taken as labels: dig, run" in capsys.readouterr().err


def test_videos_of_one_stem_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    for name, frames in (("one", 4), ("two", 6)):
        for file in (f"clips/{name}/224p.mp4", f"league/{name}/1_224p.mkv"):
            (tmp_path / file).parent.mkdir(parents=True)
            write_numbered_video(tmp_path / file, frames, sound=None)
    clips = [{"path": f"x/{name}/224p.mp4", "annotations": []} for name in ("two", "one")]
    (tmp_path / "osl.json").write_text(json.dumps({"labels": ["a"], "videos": clips}))
    convert = ["datasets", "convert", "--videos"]
    assert app.run([*convert, str(tmp_path / "clips"), str(tmp_path / "osl.json"), str(tmp_path / "x.json")]) == 0
    lengths = {name: video.duration for name, video in read_annotations(tmp_path / "x.json", How()).videos.items()}
    assert lengths == pytest.approx({"x/two/224p": 0.24, "x/one/224p": 0.16})
    goal = {"gameTime": "1 - 00:00", "label": "goal", "position": "80"}
    for name in ("one", "two"):
        game = {"UrlLocal": f"league/{name}/", "annotations": [goal]}
        (tmp_path / "league" / name / "Labels-v2.json").write_text(json.dumps(game))
    facts = VideoFacts([*tmp_path.glob("league/*/*.mkv")])
    found = merge([*sorted(tmp_path.glob("league/*/*.json"))], How(facts=facts), tmp_path / "x.json")
    halves = {name: video.duration for name, video in found.videos.items() if video.segments}
    assert halves == pytest.approx({"1_224p": 0.16, "league/two/1_224p": 0.24})


LATE = {"labels": {"a.mp4": [0] * 40_000}, "class_names": ["Other", "dig"], "is_multilabel": False}
BY_NUMBER = {"labels": {"a": [{"label": 1, "support": [1, 10]}]}, "classes": ["run", "dig"]}
NO_CLASSES = {"labels": {"a": [{"label": "dig", "support": [1, 10]}]}}
OLD_TABLE = (
    "Player #1,v/a.mp4\nTime offset (s),10\n\nTime,Behavior,Behavior type,Total length,FPS,Status\n"
    "11,dig,STATE,9,25,START\n12,dig,STATE,9,25,STOP\n"
)
VIEWS = {
    "project": {}, "attribute": {"1": {"type": 4, "options": {"0": "dig"}}}, "view": {"1": {"fid_list": [1]}},
    "file": {"1": {"fname": "", "src": "https://x.org/v/a%20b.mp4?key=1"}},
    "metadata": {"x": {"vid": 1, "z": [1, 2], "av": {"1": "0"}}, "y": {"vid": "9", "z": [1, 2], "av": {"1": "0"}}},
}  # fmt: skip


ONLY_FRAMES = (
    '# trace-meta: {"fps": 10, "frames": 90}\nlabelId,timestamp,endTimestamp,startFrame,endFrame\ndig,,,10,19\n'
)
TAGS = '<annotations><meta><task><name>{}</name></task></meta><image id="0"><tag label="dig"/></image></annotations>'
TIER = (
    'File type = "ooTextFile short"\n"TextGrid"\n0\n9\n<exists>\n1\n'
    '"IntervalTier"\n"m"\n0\n9\n2\n0\n1\n" "\n1\n2\n"dig"\n'
)


@pytest.mark.parametrize(
    ("name", "text", "expected"),
    [
        ("a.json", json.dumps(LATE), []),
        ("a.json", json.dumps(BY_NUMBER), [("a", "dig", 0.0, 1.0)]),
        ("a.json", json.dumps(NO_CLASSES), [("a", "dig", 0.0, 1.0)]),
        ("a.json", json.dumps({"UrlLocal": "x/", "annotations": []}), []),
        ("a.json", json.dumps(VIEWS), [("a b", "dig", 1.0, 2.0)]),
        ("a.csv", OLD_TABLE, [("a", "dig", 1.0, 2.0)]),
        ("a.csv", "Behavior,status,Behavior type,Time\ndig,sick,START,1\ndig,sick,STOP,2\n", [("a", "dig", 1.0, 2.0)]),
        ("a.csv", ",Background,dig\n0,1,0\n1,0,1\n", [("a", "dig", 0.1, 0.2)]),
        ("a.csv", "background,dig\n1,0\n0,1\n", [("a", "dig", 0.1, 0.2)]),
        ("a.csv", ",background,dig\n", []),
        ("a.csv", "frame_number,time,dig\n0,0.0,1\n1,0.1,0\n", [("a", "dig", 0.0, 0.1)]),
        ("a.csv", ",dig,Probability_dig,speed\n0,1,0.9,3.3\n1,0,0.2,1.1\n", [("a", "dig", 0.0, 0.1)]),
        ("a.csv", "time,dig\n0.5,True\n1.0,False\n", [("a", "dig", 0.5, 1.0)]),
        ("a.csv", "time,dig\n0.5,1\n", [("a", "dig", 0.5, 0.5)]),
        ("a.csv", "Time;dig\n0:00,0;deep\n0:00,2;\n", [("a", "deep", 0.0, 0.2)]),
        ("a.csv", "Time,dig,count\n0,deep,1\n0.2,,1\n", [("a", "deep", 0.0, 0.2), ("a", "1", 0.0, 0.4)]),
        ("a.csv", ONLY_FRAMES, [("a", "dig", 1.0, 2.0)]),
        ("a.xml", TAGS.format("b.mp4"), [("b", "dig", 0.0, 0.1)]),
        ("a.xml", TAGS.format("day"), [("a", "dig", 0.0, 0.1)]),
        ("a.TextGrid", TIER, [("a", "dig", 1.0, 2.0)]),
    ],
)  # fmt: skip
def test_forms_that_people_have(tmp_path: Path, name: str, text: str, expected: list[tuple[Any, ...]]) -> None:
    assert items(read(tmp_path, name, text)) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (",background,dig\n0,0.9,0.1\n", "line 2, dig: expected 0, 1 or -1"),
        (",background,dig,dig\n0,1,0,1\n", "two columns are named dig"),
        ("labelId,timestamp,endTimestamp\ndig,1e308,1e309\n", "expected a label, a start and an end"),
        ("labelId,timestamp,endTimestamp\ndig,1,1e308\n", r"video a: 1e\+308 s is no time of a video"),
        ('# trace-meta: {"fps": 1e308}\nlabelId,timestamp,endTimestamp\ndig,1,2\n', r"1e\+308 frames per second"),
        (TIER.replace("9\n<", "1e400\n<"), "inf s is no time"),
        (TIER.replace("\n9\n2\n", "\n9\n1e400\n"), "not a TextGrid, or cut off"),
        (
            json.dumps({"labels": {"a": [{"label": "x", "support": [1, 2]}]}}).replace("2]", "1e400]"),
            "expected a label",
        ),
        (json.dumps({"labels": {"a": [0]}, "class_names": ["x"], "splits": {"train": 5}}), "splits: expected a list"),
    ],
)
def test_tables_that_are_none_say_why(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(AnnotationError, match=reason):
        read(tmp_path, "a.csv", text)


def test_rates_of_simba_are_found_by_stem(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "project_config.ini").write_text("[SML settings]\ntarget_name_1 = dig\n")
    (tmp_path / "logs" / "video_info.csv").write_text("Video,fps\nx.mp4,10\na.mp4,20\n")
    found = read(tmp_path, "a.csv", ",nose,dig,flag\n0,2.5,1,1\n1,1.5,0,1\n", How())
    assert items(found) == [("a", "dig", 0.0, 0.05)]


def test_values_that_projects_hold_in_other_types(tmp_path: Path) -> None:
    """Keys of modifiers before blanks and of function keys; types as text; no comment; pictures without times."""
    sets = {
        "0": {"name": "side", "type": "1", "values": ["left (l) ", "right (F10)"]},
        "1": {"name": "heart", "type": 3, "values": []},
    }
    behaviour = {"0": {"code": "dig", "type": "STATE EVENT", "modifiers": sets}}
    events = [["NA", "", "dig", "left |61", None, 3, "d/3.png"], ["NA", None, "dig", "left |61", None, 5, "d/5.png"]]
    observation = {"type": "IMAGES", "file": {}, "events": events}
    document = {"project_format_version": "8.6", "behaviors_conf": behaviour, "observations": {"day": observation}}
    found = read(tmp_path, "x.boris", json.dumps(document))
    assert [(each.kind, each.values) for each in found.definitions[0].modifiers] == [
        ("several", ("left ", "right")), ("external", ())
    ]  # fmt: skip
    (item,) = found.videos["day"].segments
    assert (item.modifiers, item.comment, item.frames) == ((("left ",), ("61",)), "", (3, 5))
