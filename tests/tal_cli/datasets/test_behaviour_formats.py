# ruff: noqa: E501 - lines of other programs are as long as they are
"""Files of programs for labelling behaviour, told apart by their content; small ones, made up here."""

from __future__ import annotations

import gzip
import json
import math
from pathlib import Path
from typing import Any

import pytest

from tal_cli.datasets.annotations import Annotations
from tal_cli.datasets.formats import BUILT_IN, read_annotations, reader_for
from tal_cli.datasets.formats.values import Facts, How
from tal_cli.extractors.errors import AnnotationError, InputError

Row = tuple[str, str, float | None, float | None, str | None]

BEHAVIOURS = {
    "0": {"code": "dig", "type": "State event", "key": "d", "excluded": "run", "category": "work", "color": "#123456",
          "modifiers": {"0": {"name": "where", "type": 0, "values": ["left (l)", "right"]},
                        "1": {"name": "how", "type": 1, "values": ["fast", "deep"]}}},
    "1": {"code": "run", "type": "State event", "modifiers": ""},
    "2": {"code": "bark", "type": "Point event with coding map", "modifiers": {}},
}  # fmt: skip
SUBJECTS = {"0": {"name": "Rex", "key": "1"}}


def project(**observations: dict[str, Any]) -> str:
    head = {"project_format_version": "7.0", "behaviors_conf": BEHAVIOURS, "subjects_conf": SUBJECTS}
    return json.dumps({**head, "observations": observations})


def media(lengths: dict[str, float], events: list[list[Any]], **more: Any) -> dict[str, Any]:
    info = {"length": lengths, "fps": dict.fromkeys(lengths, 10.0)}
    return {"type": "MEDIA", "file": {"1": list(lengths), "2": []}, "media_info": info, "events": events, **more}


def read(folder: Path, name: str, text: str, how: How | None = None, encoding: str = "utf-8") -> Annotations:
    (folder / name).write_bytes(text.encode(encoding))
    return read_annotations(folder / name, how or How())


def rows(found: Annotations) -> list[Row]:
    return sorted(
        (
            video.name,
            item.label,
            *(None if math.isnan(t) else round(t, 6) for t in (item.start, item.end)),
            item.subject,
        )
        for video in found.videos.values()
        for item in video.segments
    )  # type: ignore[return-value]


def test_a_project_pairs_events_by_modifiers_and_cuts_at_files(tmp_path: Path) -> None:
    events = [
        [16.0, "", "dig", "left|fast,deep", "", 159], [12.0, "", "dig", "left|fast,deep", "begins", 119],
        [1.0, "Rex", "run", "", "", "NA"], [2.0, "Rex", "run", "", "", 20], [2.0, "Rex", "run", "", "", 20],
        [3.0, "Rex", "run", "", "stops", 30], [13.0, "", "dig", "None|None", ""], [14.0, "", "dig", "None|None", ""],
        [15.0, "Rex", "bark", "", "", 150],
    ]  # fmt: skip
    observation = media(
        {"v/a.mp4": 14.5, "v/b.mp4": 10.0}, [[e[0] + 100, *e[1:]] for e in events], **{"time offset": 100}
    )
    found = read(tmp_path, "x.boris", project(day=observation))
    assert rows(found) == [
        ("a", "dig", 12.0, 14.5, None), ("a", "dig", 13.0, 14.0, None), ("a", "run", 1.0, 2.0, "Rex"),
        ("a", "run", 2.0, 3.0, "Rex"), ("b", "bark", 0.5, 0.5, "Rex"), ("b", "dig", 0.0, 1.5, None),
    ]  # fmt: skip
    a = {(item.label, item.start): item for item in found.videos["a"].segments}
    assert a["dig", 12.0].modifiers == (("left",), ("fast", "deep")) and a["dig", 12.0].part == (1, 2)
    assert a["dig", 13.0].modifiers == ((), ()) and a["run", 1.0].modifiers == ()
    assert (
        a["dig", 12.0].comment == "begins"
        and a["run", 2.0].comment_end == "stops"
        and a["run", 1.0].frames == (None, 20)
    )
    assert found.videos["b"].segments[1].kind == "point" and found.videos["b"].path == "v/b.mp4"
    assert found.videos["a"].observation == "day" and found.videos["a"].fps == 10.0 and found.subjects == ("Rex",)
    (dig, run, bark) = found.definitions
    assert (dig.excludes, dig.category, dig.key, dig.color) == (("run",), "work", "d", "#123456")
    assert [(m.kind, m.values) for m in dig.modifiers] == [("one", ("left", "right")), ("several", ("fast", "deep"))]
    assert run.modifiers == () and bark.kind == "point"


def test_a_project_says_what_it_leaves_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events = [
        [1.0, "Rex", "run", "", ""],
        [2.0, "Rex", "fly", "", ""],
        [3.0, "Tim", "bark", "", ""],
        [50.0, "", "bark", "", ""],
    ]
    again = media({"a.mp4": 9.0}, [])
    cameras = media({"a.mp4": 9.0}, events) | {"file": {"1": ["a.mp4"], "2": ["c.mp4"]}}
    pictures = {
        "type": "IMAGES",
        "file": {},
        "events": [[math.nan, "", "run", "", "", 3], [math.nan, "", "run", "", "", 7]],
    }
    found = read(tmp_path, "x.boris", project(one=cameras, two=again, stills=pictures))
    said = capsys.readouterr().err
    for words in (
        "one: run of Rex at 1 s has no stop",
        "one, 2 s: fly is not in the ethogram",
        "3 s: Tim is not in the",
    ):
        assert words in said
    assert "c.mp4 is a further camera" in said and "1 of its instances end after its media" in said
    assert found.videos["c"].reviewed == () and list(found.videos) == ["a", "c", "a (two)", "stills"]
    (still,) = found.videos["stills"].segments
    assert math.isnan(still.start) and still.frames == (3, 7) and found.videos["a (two)"].segments == ()


def test_a_project_that_is_cut_off(tmp_path: Path) -> None:
    whole = project(day=media({"a.mp4": 9.0}, []))
    with pytest.raises(AnnotationError, match="not a BORIS project: the JSON ends early"):
        read(tmp_path, "x.boris", whole[:-40])
    with pytest.raises(AnnotationError, match=r"observation day is damaged \(ValueError.*event 1"):
        read(tmp_path, "x.boris", project(day=media({"a.mp4": 9.0}, [[1.0]])))
    (tmp_path / "x.boris.gz").write_bytes(gzip.compress(whole.encode()))
    assert list(read_annotations(tmp_path / "x.boris.gz", How()).videos) == ["a"]
    with pytest.raises(InputError, match="empty"):
        read(tmp_path, "y.boris", "")


FERAL = json.dumps({
    "is_multilabel": False, "class_names": {"0": "other", "1": "dig", "2": "run"},
    "labels": {"a.mp4": [0, 1, 1, 2, 0]}, "splits": {"val": ["a.mp4"]},
})  # fmt: skip
CASES: dict[str, tuple[str, str, list[Row]]] = {
    "boris-tables": (
        "x.csv",
        "Observation id;Source;Time offset (s);Media duration (s);FPS;Subject;Behavior;Modifier #1;Behavior type;Time\n"
        "day;player #1:v/a.mp4;1,5;20,0;10,0;Rex;dig;left;START;2,5\nday;player #1:v/a.mp4;1,5;20,0;10,0;;bark;;POINT;4,0\n"
        "day;player #1:v/a.mp4;1,5;20,0;10,0;Rex;dig;left;STOP;5,0\n",
        [("a", "bark", 2.5, 2.5, None), ("a", "dig", 1.0, 3.5, "Rex")],
    ),
    "boris-tables of version 7": (
        "x.tsv",
        "Observation id\tday\nPlayer #1\tv/a.mp4\nTime offset (s)\t1.5\n\t\n"
        "Time\tTotal length\tFPS\tSubject\tBehavior\tStatus\n2.5\t20.0\t10.0\tRex\tdig\tSTART\n5.0\t20\t10\tRex\tdig\tSTOP\n",
        [("a", "dig", 1.0, 3.5, "Rex")],
    ),
    "boris-tables aggregated": (
        "x.csv",
        "Observation id,Source,Time offset (s),Media duration (s),Subject,Behavior,Behavior type,Start (s),Stop (s)\n"
        'day,"player #1:a.mp4|player #2:b.mp4",0.0,20|30,No focal subject,dig,STATE,1.0,2.0\nday,NA,0,NA,Rex,bark,POINT,3.0,NA\n',
        [("a", "bark", 3.0, 3.0, "Rex"), ("a", "dig", 1.0, 2.0, None)],
    ),
    "frames": ("a_labels.csv", ",background,dig,run\n0,1,0,0\n1,0,1,1\n2,0,1,0\n3,0,-1,-1\n",
               [("a", "dig", 0.1, 0.3, None), ("a", "run", 0.1, 0.2, None)]),
    "frames of SimBA": ("a.csv", ",Nose_x,Probability_dig,dig\n0,1.5,0.2,0\n1,2,0.5,1\n", [("a", "dig", 0.1, 0.2, None)]),
    "frames of time": ("a.csv", "time,dig,dig,run (left|slow)\n0.0,0,1,0\n0.5,1,0,1\n1.0,0,0,2\n",
                       [("a", "dig", 0.0, 1.0, None), ("a", "run", 0.5, 1.5, None)]),
    "feral": ("x.json", FERAL, [("a", "dig", 0.1, 0.3, None), ("a", "run", 0.3, 0.4, None)]),
    "vtrace": ("a.csv", "# trace-meta: behaviors=dig:d\nlabelId, timestamp, endTimestamp, animal\ndig,1,2,Rex\nrun,3\n",
               [("a", "dig", 1.0, 2.0, "Rex")]),
    "vtrace in JSON": ("x.json", json.dumps({"database": {"a": {"fps": 10, "duration": 9, "annotations": [
        {"label": "dig", "frame_segment": [10, 19]}]}}}), [("a", "dig", 1.0, 2.0, None)]),
    "cvat": ("x.xml", '<annotations><meta><task><stop_frame>50</stop_frame><source>a.mp4</source></task></meta>'
             '<track label="dig"><box frame="10" outside="0"/><box frame="20" outside="1"/><box frame="40" outside="0"/>'
             '<track label="inner"><box frame="1" outside="0"/></track></track></annotations>',
             [("a", "dig", 1.0, 2.0, None), ("a", "dig", 4.0, 5.1, None)]),
    "cvat of images": ("x.xml", '<annotations><meta><task><source>a.mp4</source></task></meta>' + "".join(
        f'<image id="{n}"><tag label="dig"/></image>' for n in (3, 4, 5, 9)) + "</annotations>",
             [("a", "dig", 0.3, 0.6, None), ("a", "dig", 0.9, 1.0, None)]),
    "via": ("x.json", json.dumps({
        "project": {}, "attribute": {"1": {"type": 2, "options": {"0": "dig", "1": "run"}}, "2": {"type": 1}},
        "file": {"7": {"fname": "a.mp4"}}, "view": {"1": {"fid_list": ["7"]}},
        "metadata": {"m": {"vid": "1", "z": [1, 2], "av": {"1": "0,1", "2": "sure"}}, "n": {"vid": "1", "z": [], "av": {}}},
    }), [("a", "dig", 1.0, 2.0, None), ("a", "run", 1.0, 2.0, None)]),
    "via as a table": ("x.csv", '# CSV_HEADER = metadata_id,file_list,temporal_segment_start,temporal_segment_end,metadata\n'
                    '"m","[""a.mp4""]",1,2,"{""action"":""0""}"\n', [("a", "0", 1.0, 2.0, None)]),
    "soccernet": ("x.json", json.dumps({"annotations": [
        {"gameTime": "2 - 01:02", "label": "Foul", "position": "62500", "team": "home"}]}),
        [("2_224p", "Foul", 62.5, 62.5, "home")]),
    "soccernet as OSL": ("x.json", json.dumps({"videos": [
        {"path": "x/a.mp4", "annotations": [{"label": "PASS", "gameTime": "1 - 00:03"}]}, {"path": "y/a.mp4", "annotations": []}
    ]}), [("x/a", "PASS", 3.0, 3.0, None)]),
    "soccernet as OSL of version 2": ("x.json", json.dumps({
        "labels": {"action": {"labels": ["shot", "pass"]}, "side": {"labels": ["left"]}}, "data": [
            {"inputs": [{"path": "x/a.npy", "type": "frames_npy"}, {"path": "x/a.mp4"}, {"path": "y/a.mp4"}],
             "events": [{"head": "action", "label": "pass", "position_ms": 1240, "gameTime": "1 - 00:09"}]},
            {"inputs": [{"path": "x/b.npy", "type": "frames_npy"}], "events": [{"label": "left", "gameTime": "1 - 00:03"}]},
        ]}), [("a", "pass", 1.24, 1.24, None), ("b", "left", 3.0, 3.0, None)]),
    "textgrid": ("a.TextGrid", 'File type = "ooTextFile"\nObject class = "TextGrid"\n\n0\n9\n<exists>\n7\n"IntervalTier"\n'
                 '"Rex"\n0\n9\n2\n0\n4\n""\n4\n9\n"say ""dig"""\n"TextTier"\n"p"\n0\n9\n1\n3.5\n"bark"\n',
                 [("a", "bark", 3.5, 3.5, "p"), ("a", 'say "dig"', 4.0, 9.0, "Rex")]),
    "solomon": ("a.csv", "Time;Ch\n0,0;\n0,2;dig\n0,4;dig\n0,6;run\n",
                [("a", "dig", 0.2, 0.6, None), ("a", "run", 0.6, 0.8, None)]),
    "fiftyone": ("x.json", json.dumps({"classes": None, "labels": {"a": [
        {"label": "dig", "support": [11, 20], "confidence": 0.5, "attributes": {"subject": "Rex"}}]}}),
        [("a", "dig", 1.0, 2.0, "Rex")]),
    "fiftyone in times": ("x.json", json.dumps({"classes": None, "labels": {"a": [
        {"label": "dig", "timestamps": [10 / 90 * 9.1, 19 / 90 * 9.1]}]}}), [("a", "dig", 1.0, 2.0, None)]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_format_is_told_by_its_content(tmp_path: Path, case: str) -> None:
    name, text, expected = CASES[case]
    assert reader_for("x", text) is BUILT_IN[case.split()[0]]
    how = How(fps=10.0, facts={"a": Facts(10.0, 91, 9.1)})
    assert rows(read(tmp_path, name, text, how)) == expected


@pytest.mark.parametrize("case", ["frames", "feral", "cvat", "fiftyone"])
def test_frames_without_a_rate_have_no_times(tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]) -> None:
    name, text, expected = CASES[case]
    found = read(tmp_path, name, text)
    assert [row[1:4] for row in rows(found)] == [(row[1], None, None) for row in expected]
    (item, *_) = next(iter(found.videos.values())).segments
    assert item.frames is not None and "--videos DIR" in capsys.readouterr().err


def test_what_was_not_looked_at(tmp_path: Path) -> None:
    table = ",background,dig,run,new\n0,1,0,0,-1\n1,-1,-1,-1,-1\n2,1,0,0,-1\n"
    video = read(tmp_path, "a_labels.csv", table, How(fps=10.0)).videos["a"]
    assert video.reviewed == ((0.0, 0.1), (0.2, 0.3)) and video.reviewed_of("new") == () and video.frames == 3
    multi = json.dumps({"class_names": {"0": "dig"}, "is_multilabel": True, "labels": {"a": [[0], [1], [1]]}})
    assert read(tmp_path, "x.json", multi, How(fps=10.0)).videos["a"].reviewed is None


def test_suggestions_of_vtrace(tmp_path: Path) -> None:
    table = "labelId,timestamp,endTimestamp,type,source,review,score\n" + "".join(
        f"dig,{n},{n + 1},state,model,{review},0.5\n"
        for n, review in enumerate(("", "accepted", "pending", "rejected"))
    )
    video = read(tmp_path, "a.csv", table).videos["a"]
    assert [item.status for item in video.segments] == ["", "accepted"]
    assert [item.status for item in video.suggestions] == ["pending", "rejected"]
    alone = read(tmp_path, "b.pred.csv", "labelId,timestamp,endTimestamp,score,predictionId\ndig,1,2,0.5,x::0\n")
    assert alone.videos["b"].segments == () and alone.videos["b"].suggestions[0].status == "pending"


def test_an_attribute_of_cvat_as_label(tmp_path: Path) -> None:
    boxes = "".join(
        f'<box frame="{frame}" outside="0"><attribute name="what">{value}</attribute></box>'
        for frame, value in ((0, "none"), (10, "dig"), (20, "none"))
    )
    text = f'<annotations><meta><task><stop_frame>30</stop_frame></task></meta><track label="pet">{boxes}</track></annotations>'
    assert rows(read(tmp_path, "a.xml", text, How(fps=10.0, label_attribute="what")))[0][1:4] == ("dig", 1.0, 2.0)
    with pytest.raises(AnnotationError, match="document type"):
        read(tmp_path, "a.xml", '<!DOCTYPE x [<!ENTITY y "z">]>' + text)


def test_other_encodings(tmp_path: Path) -> None:
    name, text, expected = CASES["textgrid"]
    assert rows(read(tmp_path, name, text, encoding="utf-16")) == expected
    table = "video;label;start;end\na;спит;0,5;1,5\n"
    assert rows(read(tmp_path, "a.csv", table, encoding="utf-16-le")) == [("a", "спит", 0.5, 1.5, None)]
    found = read(tmp_path, "a.csv", "Time;Tätigkeit\n0,0;schläft\n0,2;\n", encoding="cp1252")
    assert found.labels == ("schläft",)
    with pytest.raises(InputError, match="not UTF-8 text"):
        read(tmp_path, "b.csv", "video,label,start,end\na,schläft,1,2\n", encoding="cp1252")


def test_times_hold_the_date_of_the_file_that_was_playing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """BORIS adds it to the time on the clock of all files, and the time offset besides."""
    dates = {"a.mp4": 1_700_000_000.5, "b.mp4": 1_700_100_000.0}
    events = [
        [time + 5 + dates[file], "", code, "", ""]
        for time, file, code in (
            (2.0, "a.mp4", "run"), (9.5, "a.mp4", "run"), (8.0, "a.mp4", "bark"), (10.0, "b.mp4", "dig"),
            (14.25, "b.mp4", "dig"), (12.0, "b.mp4", "swim"),
        )
    ]  # fmt: skip
    day = media({"a.mp4": 10.0, "b.mp4": 20.0}, events, media_creation_date_as_offset=True)
    day |= {"time offset": 5.0, "media_info": {**day["media_info"], "media_creation_time": dates}}
    (tmp_path / "x.boris").write_text(project(day=day))
    found = read_annotations(tmp_path / "x.boris", How())
    assert [(v.name, i.label, i.start, i.end) for v in found.videos.values() for i in v.segments] == [
        ("a", "run", 2.0, 9.5), ("a", "bark", 8.0, 8.0), ("b", "dig", 0.0, 4.25)
    ]  # fmt: skip
    assert "day, 12 s: swim is not in the ethogram" in capsys.readouterr().err


def test_pictures_without_times_are_told_of_by_their_numbers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    events = [[math.nan, "", code, "", "", number, f"d/{number}.png"] for code, number in (("run", 3), ("swim", 7))]
    (tmp_path / "x.boris").write_text(project(day={"type": "IMAGES", "file": [], "events": events}))
    read_annotations(tmp_path / "x.boris", How())
    said = capsys.readouterr().err
    assert "run at image 3 has no stop" in said and "day, image 7: swim is not in the ethogram" in said


def test_files_that_hold_zeros_are_empty(tmp_path: Path) -> None:
    (tmp_path / "x.boris").write_bytes(bytes(5000))
    with pytest.raises(AnnotationError, match="the file is empty"):
        read_annotations(tmp_path / "x.boris", How())


def test_labels_that_exclude_one_another_are_parted_by_commas_and_blanks(tmp_path: Path) -> None:
    behaviours = {"0": {**BEHAVIOURS["0"], "excluded": "run, bark,"}}
    (tmp_path / "x.boris").write_text(json.dumps({"behaviors_conf": behaviours, "observations": {}}))
    (definition,) = read_annotations(tmp_path / "x.boris", How()).definitions
    assert definition.excludes == ("run", "bark")


def test_tracks_without_the_attribute_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    boxes = '<box frame="1" outside="0">{}</box><box frame="4" outside="1">{}</box>'
    value = '<attribute name="does">dig</attribute>'
    tracks = [
        f'<track id="{n}" label="{label}">{boxes.format(told, told)}</track>'
        for n, (label, told) in enumerate({"mouse": value, "nest": ""}.items())
    ]
    (tmp_path / "a.xml").write_text(f"<annotations>{''.join(tracks)}</annotations>")
    found = read_annotations(tmp_path / "a.xml", How(fps=10.0, label_attribute="does"))
    assert [(i.label, i.start, i.end) for i in found.videos["a"].segments] == [("dig", 0.1, 0.4)]
    assert "track 1 (nest) has no attribute does, so it is left out" in capsys.readouterr().err


def test_rows_of_frames_with_decimal_commas(tmp_path: Path) -> None:
    for text in (";background;dig\n0;1,0;0,0\n1;0,0;1,0\n", "time;dig\n0,0;0,0\n0,1;1,0\n"):
        (tmp_path / "a.csv").write_text(text)
        found = read_annotations(tmp_path / "a.csv", How(fps=10.0))
        assert [(i.label, i.start, i.end) for i in found.videos["a"].segments] == [("dig", 0.1, 0.2)]


def test_a_table_with_none_of_the_labels_of_its_project(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "project_config.ini").write_text("[SML settings]\ntarget_name_1 = run\n")
    (tmp_path / "a.csv").write_text(",nose,dig\n0,2.5,0\n1,1.5,1\n")
    found = read_annotations(tmp_path / "a.csv", How(fps=10.0))
    assert [(i.label, i.start, i.end) for i in found.videos["a"].segments] == [("dig", 0.1, 0.2)]
    assert "taken as labels: dig" in capsys.readouterr().err


def test_behaviours_and_modifiers_of_a_project_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    sets = {"1": {"name": "how", "type": 1, "values": ["fast"]}, "0": {"name": "where", "type": 0, "values": ["left"]}}
    codes = {"10": "bark", "2": "dig", "0": "run"}
    behaviours = {
        number: {"code": code, "type": "State event", "modifiers": sets if code == "dig" else {}}
        for number, code in codes.items()
    }
    (tmp_path / "x.boris").write_text(json.dumps({"behaviors_conf": behaviours, "observations": {}}))
    found = read_annotations(tmp_path / "x.boris", How()).definitions
    assert [item.name for item in found] == ["run", "dig", "bark"]
    assert [each.name for each in found[1].modifiers] == ["where", "how"]


def test_videos_of_via_have_the_last_parts_of_their_addresses(tmp_path: Path) -> None:
    header = "# CSV_HEADER = metadata_id,file_list,flags,temporal_coordinates,spatial_coordinates,metadata\n"
    for file, name in (("http://h/v/run%20two.mp4?key=1", "run two"), ("v/50%25.mp4", "50%25")):
        row = f'"1","[""{file}""]",0,"[1,2]","[]","{{""1"":""dig""}}"\n'
        (tmp_path / "a.csv").write_text(header + row)
        assert list(read_annotations(tmp_path / "a.csv", How()).videos) == [name]


def test_a_project_of_cvat_with_one_task(tmp_path: Path) -> None:
    task = "<task><name>t</name><size>60</size><stop_frame>59</stop_frame><source>v/a.mp4</source></task>"
    labels = "<labels><label><name>run</name></label><label><name>dig</name></label></labels>"
    meta = f"<meta><project><tasks>{task}</tasks>{labels}</project></meta>"
    track = '<track id="0" label="dig"><box frame="10" outside="0"/></track>'
    (tmp_path / "x.xml").write_text(f"<annotations>{meta}{track}</annotations>")
    found = read_annotations(tmp_path / "x.xml", How(fps=10.0))
    assert [(i.label, i.start, i.end) for i in found.videos["a"].segments] == [("dig", 1.0, 6.0)]
    assert found.videos["a"].frames == 60 and [item.name for item in found.definitions] == ["run", "dig"]
