"""Annotation files of every form, well-formed and hostile, and merging them."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_runs import render_clip

from tal_cli import app
from tal_cli.datasets.annotations import Annotations, GroundTruth
from tal_cli.datasets.convert import merge, with_validation, with_videos
from tal_cli.datasets.formats import BUILT_IN, load_annotations
from tal_cli.datasets.formats.values import How
from tal_cli.datasets.video_facts import VideoFacts
from tal_cli.extractors.errors import AnnotationError, InputError
from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import FORMATS, RunInfo
from tal_cli.results.writers.elan import document_of
from tal_cli.results.writers.labelstudio import task
from tal_cli.spreadsheets import separator


def read(tmp_path: Path, text: str, label_key: str = "label", fps: float | None = None) -> Annotations:
    path = tmp_path / "labels.dat"  # forms are told by their content
    path.write_text(text, encoding="utf-8")
    return load_annotations(path, label_key, fps)


def spans(annotations: Annotations, video: str) -> list[tuple[str, float, float]]:
    return [(item.label, item.start, item.end) for item in annotations.videos[video].segments]


@pytest.mark.parametrize(
    "text",
    [
        "video,label,start,end,subset,duration\na.mp4,jump,1.5,2,test,9\nb,run,0:03,1:02:03.5,,\na,run,2,3,,\n",
        "Subset;End;Start;Label;Video;Duration\ntest;2;1.5;jump;clips/a.mp4;9\n;1:02:03.5;0:03;run;b;\n;3;2;run;a;\n",
        '\ufeffvideo_id\tt-end\tt-start\tlabel\tsplit\tduration\n"a"\t2\t1.5\tjump\tTest\t9\nb\t1:02:03.5\t3\trun\t\t\na\t3\t2\trun\t\t\n',
    ],
)
def test_csv_is_read_by_its_column_names(tmp_path: Path, text: str) -> None:
    found = read(tmp_path, text)
    assert spans(found, "a") == [("jump", 1.5, 2), ("run", 2, 3)] and spans(found, "b") == [("run", 3, 3723.5)]
    assert (found.videos["a"].subset, found.videos["a"].duration) == ("test", 9)
    assert (found.videos["b"].subset, found.videos["b"].duration) == ("training", 3723.5)
    assert found.labels == ("jump", "run")


@pytest.mark.parametrize(
    "text",
    [
        'Video, Label, Start (s), End (s)\r\n"my clip.mp4", "jump, high", 1.5, 2\r\n',
        "video-name;Behavior;start_sec;stop_sec\nmy clip;jump, high;1,5;2,0\n",
        "\tfile name\tclass name\tbegin time\tend time\n0\tmy clip\tjump, high\t00:00:01.500\t00:00:02\n",
        '\ufefffilename,action,start_frame,end_frame,fps\nmy clip,"jump, high",36,48,24\n',
        "filename,action,frame_start,stop_frame\nmy clip,'jump, high',36,48\n".replace("'", '"'),
    ],
)
def test_csv_as_other_programs_write_it(tmp_path: Path, text: str) -> None:
    fps = 24.0 if "stop_frame" in text else None
    assert spans(read(tmp_path, text, fps=fps), "my clip") == [("jump, high", 1.5, 2)]


def test_a_folder_is_not_a_file_of_annotations(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="a folder") as caught:
        load_annotations(tmp_path)
    assert f"tal datasets convert {tmp_path}/* " in caught.value.remedy


def test_csv_that_counts_frames_has_to_say_how_fast(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="line 2, video a: frame numbers") as caught:
        read(tmp_path, "video,label,start_frame,end_frame\na,jump,3,9\n")
    assert "--fps" in caught.value.remedy
    with pytest.raises(AnnotationError, match="line 3, video a: expected"):
        read(tmp_path, "video,label,start_frame,end_frame\na,,,\na,jump,3,x\n", fps=25)
    both = "video,label,start,end,start_frame,end_frame\na,jump,1,2,25,50\n"
    assert spans(read(tmp_path, both), "a") == [("jump", 1, 2)]


def test_csv_knows_videos_in_which_nothing_happens(tmp_path: Path) -> None:
    found = read(tmp_path, "video,label,start,end,duration,fps\na,,,,30,25\n\nb,jump,1,2,,\n")
    assert found.videos["a"].segments == () and (found.videos["a"].duration, found.videos["a"].fps) == (30, 25)


@pytest.mark.parametrize(
    ("row", "what"),
    [
        ("a,jump,x,2,", "video a"),
        ("a,jump,1,,", "video a"),
        ("a,,1,2,", "video a"),
        (",jump,1,2,", "no video"),
        ("a,jump,nan,2,", "video a"),
        ("a,jump,1_0,2_0,", "video a"),
        ("a,jump,00:00:61,00:01:99,", "video a"),
        ("a,jump,0:-1,2,", "video a"),
        ("a,jump,1,2,long", "duration"),
        ("a,jump,1,2,-3", "duration"),
        ("a,jump,1", "line 3"),
        (",jump,1,2", "line 3"),
    ],
)
def test_csv_errors_name_the_line(tmp_path: Path, row: str, what: str) -> None:
    with pytest.raises(AnnotationError, match="line 3") as caught:
        read(tmp_path, f"video,label,start,end,duration\nb,run,1,2,3\n{row}\n")
    assert what in str(caught.value)


EPIC_HEADER = (
    "narration_id,participant_id,video_id,narration_timestamp,start_timestamp,stop_timestamp,verb_class,noun_class"
)
EPIC_ROWS = "n1,P01,P01_11,x,00:00:00.00,00:00:01.89,0,2\nn2,P01,P01_11,x,00:01:01.5,00:01:02.45,1,0\n"


@pytest.fixture
def epic(tmp_path: Path) -> Path:
    (tmp_path / "EPIC_100_validation.csv").write_text(f"{EPIC_HEADER}\n{EPIC_ROWS}")
    (tmp_path / "EPIC_100_verb_classes.csv").write_text("id,key,category\n0,take,x\n1,put,x\n2,wash,x\n")
    packed = gzip.compress(b"id,key\n2,plate\n0,tap\n1,spoon\n")
    (tmp_path / "EPIC_100_noun_classes.csv.gz").write_bytes(packed)
    (tmp_path / "EPIC_100_video_info.csv").write_text("video_id,duration,fps,resolution\nP01_11,99.5,59.94,x\n")
    return tmp_path / "EPIC_100_validation.csv"


@pytest.mark.parametrize(
    ("key", "labels", "all_labels"),
    [
        ("verb", ["take", "put"], ("take", "put", "wash")),
        ("noun", ["plate", "tap"], ("tap", "spoon", "plate")),
        ("verb_id", ["0", "1"], ("0", "1")),
        ("action", ["0,2", "1,0"], ("0,2", "1,0")),
    ],
)
def test_epic_csv(epic: Path, key: str, labels: list[str], all_labels: tuple[str, ...]) -> None:
    found = load_annotations(epic, key)
    assert spans(found, "P01_11") == [(labels[0], 0, 1.89), (labels[1], 61.5, 62.45)] and found.labels == all_labels
    video = found.videos["P01_11"]
    assert (video.subset, video.duration, video.fps) == ("validation", 99.5, 59.94)


def test_epic_csv_says_what_it_lacks(epic: Path) -> None:
    with pytest.raises(AnnotationError, match="choose verb"):
        load_annotations(epic)
    epic.with_name("EPIC_100_verb_classes.csv").write_text("id,key\n0,take\n")
    with pytest.raises(AnnotationError, match="line 3, video P01_11: no such class"):
        load_annotations(epic, "verb")
    epic.with_name("EPIC_100_verb_classes.csv").unlink()
    with pytest.raises(AnnotationError, match="EPIC_100_verb_classes"):
        load_annotations(epic, "verb")


def test_epic_csv_that_counts_frames(epic: Path) -> None:
    path = epic.with_name("EPIC_100_train_frames.csv")
    path.write_text("narration_id,video,start,stop,verb,noun,action\nn1,P01_11,3,60,1,2,9\n")
    found = load_annotations(path, "noun")
    video = found.videos["P01_11"]
    assert spans(found, "P01_11") == [("plate", 0.1, 2.0)] and found.labels == ("tap", "spoon", "plate")
    assert (video.subset, video.duration, video.fps) == ("training", 99.5, 59.94)
    assert spans(load_annotations(path, "action"), "P01_11") == [("1,2", 0.1, 2.0)]


@pytest.mark.parametrize("row", ["n1,P01,P01_11", "n1,P01,,x,0:0:0,0:0:1,0,2", "n1,P01,P01_11,x,0:0:0,0:0:1,-1,2"])
def test_epic_rows_that_are_none_are_named(epic: Path, row: str) -> None:
    epic.write_text(f"{EPIC_HEADER}\n{EPIC_ROWS}{row}\n")
    with pytest.raises(AnnotationError, match=r"EPIC_100_validation\.csv: line 4"):
        load_annotations(epic, "verb")
    epic.write_text(f"{EPIC_HEADER}\n{EPIC_ROWS}{'x' * 200_000}\n")
    with pytest.raises(AnnotationError, match="not a row of the table"):
        load_annotations(epic, "verb")


def test_epics_own_file_says_what_its_json_says(shared: Path, tmp_path: Path) -> None:
    for name in ("EPIC_100_validation.csv.gz", "EPIC_100_video_info.csv.gz"):
        (tmp_path / name).symlink_to(shared / "data" / name)
    wanted = load_annotations(shared / "data/epic100_val.json.gz", "action")
    assert load_annotations(tmp_path / "EPIC_100_validation.csv.gz", "action").videos == wanted.videos


def test_thumos_text_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "Diving_val.txt").write_text("video_validation_0000001  1.50  2.5\n\nvideo_validation_0000002 3 4\n")
    (tmp_path / "CliffDiving_val.txt").write_text("video_validation_0000001  1.50  2.5\n")
    (tmp_path / "Diving_test.txt").write_text("video_test_0000001 7 9.25\n")
    (tmp_path / "Ambiguous_val.txt").write_text("video_validation_0000001 5 6\nvideo_validation_0000003 5 6\n")
    files = ("Diving_val", "CliffDiving_val", "Diving_test", "Ambiguous_val")
    names = [str(tmp_path / f"{name}.txt") for name in files]
    out = tmp_path / "annotations.json"
    assert app.run(["datasets", "convert", *names, str(out)]) == 0
    found = load_annotations(out)
    assert spans(found, "video_validation_0000001") == [("Diving", 1.5, 2.5), ("CliffDiving", 1.5, 2.5)]
    assert found.subsets == {"validation": 3, "test": 1} and found.labels == ("CliffDiving", "Diving")
    assert found.videos["video_validation_0000003"].segments == (), "Ambiguous is not a label"
    assert app.run(["datasets", "convert", names[0], names[0], str(out)]) == 3
    assert "label Diving: also in another file" in capsys.readouterr().err
    (tmp_path / "Diving_val.txt").write_text("video_validation_0000001 1 2\nvideo_validation_0000001 1\n")
    assert app.run(["datasets", "convert", names[0], str(out)]) == 3
    assert "line 2" in capsys.readouterr().err


EAF = """<?xml version="1.0" encoding="UTF-8"?>
<ANNOTATION_DOCUMENT VERSION="3.0">
  <HEADER><MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/videos/my%20clip.wav"/>
    <MEDIA_DESCRIPTOR MEDIA_URL="file:///C:/videos/my%20clip.mp4"/></HEADER>
  <TIME_ORDER>
    <TIME_SLOT TIME_SLOT_ID="a" TIME_VALUE="1000"/><TIME_SLOT TIME_SLOT_ID="b"/><TIME_SLOT TIME_SLOT_ID="c"/>
    <TIME_SLOT TIME_SLOT_ID="d" TIME_VALUE="2500"/>
  </TIME_ORDER>
  <TIER TIER_ID="gesture"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="1" TIME_SLOT_REF1="a" TIME_SLOT_REF2="b">
    <ANNOTATION_VALUE> wave </ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
  <TIER TIER_ID="nod (2)"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="2" TIME_SLOT_REF1="c" TIME_SLOT_REF2="d">
    <ANNOTATION_VALUE>0.93</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
</ANNOTATION_DOCUMENT>
"""


def test_elan(tmp_path: Path) -> None:
    found = read(tmp_path, EAF)
    assert spans(found, "my clip") == [("wave", 1.0, 1.5), ("nod", 2.0, 2.5)]


def referring(tier: str, *annotations: str) -> str:
    """A tier of annotations that refer to others: 'identity parent previous value'."""
    items = ""
    for identity, parent, previous, value in (annotation.split() for annotation in annotations):
        before = f' PREVIOUS_ANNOTATION="{previous}"' if previous != "-" else ""
        items += f"""<ANNOTATION><REF_ANNOTATION ANNOTATION_ID="{identity}" ANNOTATION_REF="{parent}"{before}>
            <ANNOTATION_VALUE>{value}</ANNOTATION_VALUE></REF_ANNOTATION></ANNOTATION>"""
    return f'<TIER TIER_ID="{tier}" PARENT_REF="gesture">{items}</TIER></ANNOTATION_DOCUMENT>'


def test_elan_annotations_that_refer_to_others_have_their_times(tmp_path: Path) -> None:
    words = referring("hand", "8 7 - fist", "5 2 4 open", "4 2 - shut", "7 1 - left", "6 9 - deep", "9 8 - deeper")
    found = spans(read(tmp_path, EAF.replace("</ANNOTATION_DOCUMENT>", words)), "my clip")
    assert found[:2] == [("wave", 1.0, 1.5), ("nod", 2.0, 2.5)]
    assert sorted(found[2:]) == [
        ("deep", 1.0, 1.5), ("deeper", 1.0, 1.5), ("fist", 1.0, 1.5), ("left", 1.0, 1.5),
        ("open", 2.25, 2.5), ("shut", 2.0, 2.25),
    ]  # fmt: skip


@pytest.mark.parametrize("annotations", [["5 nowhere - x"], ["5 5 - x"], ["5 6 - x", "6 5 - y"]])
def test_elan_annotations_that_refer_to_nothing_are_named(tmp_path: Path, annotations: list[str]) -> None:
    with pytest.raises(AnnotationError, match="annotation 5 has no times"):
        read(tmp_path, EAF.replace("</ANNOTATION_DOCUMENT>", referring("hand", *annotations)))


def test_elan_without_a_linked_video_goes_by_its_own_name(tmp_path: Path) -> None:
    path = tmp_path / "lecture.eaf.gz"
    path.write_bytes(gzip.compress(EAF.replace(".mp4", ".txt").encode()))
    assert list(load_annotations(path).videos) == ["lecture"]


BOMB = '<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>'
THIEF = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]>'


@pytest.mark.parametrize("declaration", [BOMB, THIEF, '<!DOCTYPE x SYSTEM "http://localhost/x.dtd">'])
def test_xml_that_declares_entities_is_rejected(tmp_path: Path, declaration: str) -> None:
    text = EAF.replace("<ANNOTATION_DOCUMENT", f"{declaration}<ANNOTATION_DOCUMENT").replace("wave", "&c;")
    with pytest.raises(AnnotationError, match="document type"):
        read(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "<ANNOTATION_DOCUMENT>",
        "<x><ANNOTATION_DOCUMENT/></x>",
        EAF.replace('REF1="a"', 'REF1="z"'),
        EAF.replace('"1000"', '"soon"'),
    ],
)
def test_other_xml_is_rejected(tmp_path: Path, text: str) -> None:
    with pytest.raises(AnnotationError):
        read(tmp_path, text)


def test_xml_in_another_encoding_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x.eaf"
    path.write_bytes(EAF.replace("<ANNOTATION_DOCUMENT", f"{BOMB}<ANNOTATION_DOCUMENT").encode("utf-16"))
    with pytest.raises(InputError):
        load_annotations(path)


def region(start: float, end: float, label: str, kind: str = "timelinelabels") -> dict[str, Any]:
    value = {"ranges": [{"start": start, "end": end}]} if kind == "timelinelabels" else {"start": start, "end": end}
    return {"type": kind, "value": {**value, kind: [label]}}


def export(data: dict[str, Any], *annotations: dict[str, Any]) -> str:
    return json.dumps([{"id": 1, "data": data, "annotations": list(annotations)}])


def test_label_studio(tmp_path: Path) -> None:
    data = {"video": "/data/upload/3/0a1b2c3d-my%20clip.mp4"}
    done = {
        "result": [
            region(1, 50, "wave"),
            region(0.5, 2, "talk", "labels"),
            {"type": "choices", "value": {"choices": ["x"]}},
        ]
    }
    text = export(data, {"was_cancelled": True, "result": [region(1, 2, "wrong")]}, done)
    found = read(tmp_path, text, fps=25)
    assert spans(found, "my clip") == [("wave", 0, 2), ("talk", 0.5, 2)]
    with pytest.raises(AnnotationError, match="frame rate") as caught:
        read(tmp_path, text)
    assert "--fps" in caught.value.remedy
    assert spans(read(tmp_path, export({**data, "fps": 50}, done)), "my clip")[0] == ("wave", 0, 1)
    assert read(tmp_path, export(data, {"result": []})).videos["my clip"].segments == ()


def test_a_task_without_annotations_is_no_background(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def task(number: int, *annotations: dict[str, Any]) -> dict[str, Any]:
        return {"id": number, "data": {"video": f"v{number}.mp4", "fps": 25}, "annotations": list(annotations)}

    done, skipped = {"result": [region(1, 25, "wave")]}, {"was_cancelled": True, "result": []}
    found = read(tmp_path, json.dumps([task(1, done), task(2), task(3, skipped), task(4, {"result": []})]))
    assert [(name, len(video.segments)) for name, video in found.videos.items()] == [("v1", 1), ("v4", 0)]
    assert "skipped 2 tasks without an annotation" in capsys.readouterr().err
    with pytest.raises(AnnotationError, match="none of its 2 tasks has an annotation"):
        read(tmp_path, json.dumps([task(1), task(2, skipped)]))


def test_an_elan_document_begins_where_its_medium_says(tmp_path: Path) -> None:
    (tmp_path / "a.eaf").write_text(
        """<ANNOTATION_DOCUMENT><HEADER>
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///a/sound.wav" TIME_ORIGIN="900"/>
        <MEDIA_DESCRIPTOR MEDIA_URL="file:///a/first.mp4" TIME_ORIGIN="300"/></HEADER>
        <TIME_ORDER><TIME_SLOT TIME_SLOT_ID="1" TIME_VALUE="500"/><TIME_SLOT TIME_SLOT_ID="2" TIME_VALUE="1400"/>
        </TIME_ORDER><TIER TIER_ID="t"><ANNOTATION><ALIGNABLE_ANNOTATION ANNOTATION_ID="x" TIME_SLOT_REF1="1"
        TIME_SLOT_REF2="2"><ANNOTATION_VALUE>jump</ANNOTATION_VALUE></ALIGNABLE_ANNOTATION></ANNOTATION></TIER>
        </ANNOTATION_DOCUMENT>"""
    )
    assert spans(load_annotations(tmp_path / "a.eaf"), "first") == [("jump", 0.8, pytest.approx(1.7))]


def test_nested_tiers_are_read_in_time_that_grows_with_the_file(tmp_path: Path) -> None:
    tiers = 20_000
    (tmp_path / "a.eaf").write_text(f"<ANNOTATION_DOCUMENT>{'<TIER>' * tiers}{'</TIER>' * tiers}</ANNOTATION_DOCUMENT>")
    assert load_annotations(tmp_path / "a.eaf").videos["a"].segments == ()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("first", ["", "sep=;\n"])
def test_tables_as_spreadsheets_save_them(tmp_path: Path, encoding: str, end: str, first: str) -> None:
    text = f"{first}video;label;start;end\nfirst;jump;0,5;00:00:01,400\nfirst;run;1.6;2.5\nthird\n"
    path = tmp_path / "labels.csv"
    path.write_bytes(text.replace("\n", end).encode(encoding))
    found = load_annotations(path)
    assert spans(found, "first") == [("jump", 0.5, 1.4), ("run", 1.6, 2.5)]
    assert found.videos["third"].segments == ()


def test_a_comma_in_a_number_is_no_guess(tmp_path: Path) -> None:
    assert spans(read(tmp_path, 'video,label,start,end\na,x,"00:00:01,500","2,5"\n'), "a") == [("x", 1.5, 2.5)]
    with pytest.raises(AnnotationError, match="line 2"):
        read(tmp_path, 'video,label,start,end\na,x,"1,234","2,345"\n')


def test_another_encoding_says_how_to_save(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_bytes("video,label,start,end\na,öffnen,1,2\n".encode("cp1252"))
    with pytest.raises(InputError, match="not UTF-8") as caught:
        load_annotations(path)
    assert "CSV UTF-8" in caught.value.remedy


def test_a_video_that_one_object_names_twice_is_an_error(tmp_path: Path) -> None:
    entry = '{"duration": 5, "annotations": []}'
    with pytest.raises(InputError, match="the key 'a' occurs twice"):
        read(tmp_path, f'{{"database": {{"a": {entry}, "b": {entry}, "a": {entry}}}}}')


def test_labels_that_look_alike_are_pointed_at(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(tmp_path, "video,label,start,end\na,Walk,1,2\na,walk,2,3\na,jump up,1,2\na,jump_up,1,2\na,run,1,2\n")
    read(tmp_path, "video,label,start,end\na,r\u00fcn,1,2\na,ru\u0308n,1,2\na,sit,1,2\na,sit\u200b,1,2\n")
    said = capsys.readouterr().err
    assert "'Walk', 'walk'" in said and "'jump up', 'jump_up'" in said and "run" not in said
    assert said.count("similar labels") == 4 and "'sit'" in said


def test_two_columns_of_one_name_are_no_guess(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="line 1: two columns are named start"):
        read(tmp_path, "video,label,start,end,Start\na,run,1,2,3\n")


def test_what_ends_before_it_starts_is_not_converted(tmp_path: Path) -> None:
    path = tmp_path / "labels.csv"
    path.write_text("video,label,start,end\na,jump,2,1\n")
    with pytest.raises(AnnotationError, match="video a: jump ends at 1 s, before it starts at 2 s"):
        merge([path], How())


def test_label_studio_with_several_annotators(tmp_path: Path) -> None:
    first, second, cancelled = ({"result": [region(1, 25, name)]} for name in ("first", "second", "cancelled"))
    data = {"video": "https://host/videos/a.mp4?X-Amz-Signature=z", "fps": 25}
    cancelled["was_cancelled"] = True  # type: ignore[assignment]
    assert spans(read(tmp_path, export(data, cancelled, first, second)), "a") == [("first", 0, 1)]
    truth = {**second, "ground_truth": True}
    assert spans(read(tmp_path, export(data, first, truth)), "a") == [("second", 0, 1)]
    assert spans(read(tmp_path, export(data, {**truth, "was_cancelled": True}, first)), "a") == [("first", 0, 1)]


def test_label_studio_regions_of_other_kinds_do_not_count(tmp_path: Path) -> None:
    box = {"type": "videorectangle", "value": {"labels": ["hand"], "sequence": [{"frame": 1}], "framesCount": 9}}
    series = region(2.5, 4, "run", "timeserieslabels")
    result = {"result": [box, series, {"type": "relation"}, {"value": {"start": 1, "end": 2}}]}
    assert spans(read(tmp_path, export({"video": "a.mp4", "csv": "a.csv"}, result)), "a") == [("run", 2.5, 4)]
    dated = {"result": [region(0, 0, "run", "timeserieslabels")]}
    dated["result"][0]["value"]["start"] = "2026-01-01"
    with pytest.raises(AnnotationError, match="video a: a region whose start"):
        read(tmp_path, export({"video": "a.mp4"}, dated))


def test_label_studios_short_form(tmp_path: Path) -> None:
    wave = {"ranges": [{"start": 1, "end": 50}], "timelinelabels": ["wave", "hello"]}
    talk = {"start": 0.5, "end": 2, "channel": 0, "labels": ["talk"]}
    task = {"video": "/data/upload/3/0a1b2c3d-my%20clip.mp4", "id": 1, "annotator": 1, "annotation_id": 4, "fps": 25}
    rows = [
        {**task, "actions": [wave], "speech": [talk], "quality": "good"},
        {**task, "annotator": 2, "annotation_id": 5, "actions": [{**wave, "timelinelabels": ["wrong"]}]},
        {"video": "b.mp4", "id": 2, "annotator": 1},
    ]
    found = read(tmp_path, json.dumps(rows))
    assert spans(found, "my clip") == [("wave", 0, 2), ("hello", 0, 2), ("talk", 0.5, 2)]
    assert found.videos["b"].segments == ()


NO_END = {"value": {"ranges": [{"start": 1}], "timelinelabels": ["x"]}}


@pytest.mark.parametrize(
    "text",
    [
        "[3]",
        '[{"data": 3}]',
        '[{"data": {"text": "hello"}}]',
        '[{"video": "a.mp4", "label": "x", "start": 1, "end": 2}]',
        export({"video": "a.mp4", "fps": 5}, {"result": [NO_END]}),
    ],
)
def test_other_lists_are_rejected(tmp_path: Path, text: str) -> None:
    with pytest.raises(AnnotationError):
        read(tmp_path, text)


def test_what_detect_writes_for_people_reads_back(tmp_path: Path) -> None:
    segments = (Segment("cut", 1.0, 1.2, 0.9), Segment("pan-left", 2.0, 6.0, 0.8), Segment("pan-left", 4.0, 5.0, 0.7))
    detections = Detections("clip", str(tmp_path / "clip.mp4"), 10.0, 25.0, 250, segments)
    run = RunInfo("0", "camera", "0" * 64)
    wanted = [("cut", 1.0, 1.2), ("pan-left", 2.0, 6.0), ("pan-left", 4.0, 5.0)]
    elan = read(tmp_path, document_of(detections, run).decode())
    assert sorted(spans(elan, "clip")) == wanted
    exported = task(detections, run)
    exported["annotations"] = exported.pop("predictions")
    studio = read(tmp_path, json.dumps([exported]))
    assert spans(studio, "clip") == [(label, pytest.approx(a), pytest.approx(b)) for label, a, b in wanted]


@pytest.mark.parametrize(
    "text", ["", "hello", "label,start\na,1\n", "\x00\x01", "{", "<", "[", '"', "video,label,start,end"]
)
def test_what_is_no_annotation_file_is_rejected(tmp_path: Path, text: str) -> None:
    if text.startswith("video"):
        assert read(tmp_path, text).videos == {}
        return
    with pytest.raises(InputError):
        read(tmp_path, text)


@given(text=st.text(max_size=80) | st.sampled_from([EAF, "video,label,start,end\n", "[{}]"]).flatmap(
    lambda base: st.tuples(st.just(base), st.integers(0, len(base)), st.text(max_size=5)).map(
        lambda parts: parts[0][: parts[1]] + parts[2]
    )
))  # fmt: skip
def test_broken_text_never_ends_in_another_error(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.getbasetemp() / "broken.txt"
    path.write_text(text, encoding="utf-8", errors="replace")
    try:
        load_annotations(path)
    except InputError as error:
        assert "broken.txt" in str(error) and "\n" not in str(error)


def test_every_reader_says_what_it_reads() -> None:
    assert len({reader.NAME for reader in BUILT_IN.values()}) == len(BUILT_IN) == 17
    assert separator("a;b;c,d") == ";"


def test_characteristics_tell_durations(shared: Path) -> None:
    found = load_annotations(shared / "data/thumos14_test_characteristics.json.gz")
    truth = load_annotations(shared / "data/thumos14.json.gz")
    for name, video in found.videos.items():
        assert video.duration == pytest.approx(truth.videos[name].duration, abs=0.2)


def test_conversion_merges_probes_and_splits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one.csv").write_text("video,label,start,end\nfirst,jump,0.1,0.5\n")
    (tmp_path / "two.csv").write_text("video,label,start,end\nsecond,run,0.2,0.4\n")
    render_clip(tmp_path / "videos" / "first.mp4", frames=30)
    render_clip(tmp_path / "videos" / "second.mp4", frames=50)
    out = tmp_path / "new" / "annotations.json"
    arguments = ["datasets", "convert", str(tmp_path / "one.csv"), str(tmp_path / "two.csv"), str(out)]
    assert app.run([*arguments, "--videos", str(tmp_path / "videos")]) == 0
    assert capsys.readouterr().out.strip() == str(out)
    found = load_annotations(out)
    assert found.labels == ("jump", "run") and found.videos["second"].duration > found.videos["first"].duration > 0.5
    assert found.videos["first"].fps and found.videos["first"].segments == (GroundTruth("jump", 0.1, 0.5),)
    (tmp_path / "videos" / "second.mp4").unlink()
    assert app.run([*arguments, "--videos", str(tmp_path / "videos")]) == 3
    assert app.run(["datasets", "convert", str(tmp_path / "one.csv"), str(tmp_path / "one.csv"), str(out)]) == 3
    assert app.run(["datasets", "convert", str(out)]) == 2
    assert app.run(["datasets", "convert", str(tmp_path / "one.csv"), str(tmp_path / "out.docx")]) == 2
    assert "in another file" in capsys.readouterr().err


def test_two_videos_of_one_name_are_not_taken_for_each_other(tmp_path: Path) -> None:
    files = [tmp_path / "day1" / "a.mp4", tmp_path / "day2" / "a.mp4"]
    with pytest.raises(InputError, match=r"day2/a\.mp4: video a: .*day1/a\.mp4 has the same name"):
        with_videos(read(tmp_path, "video,label,start,end\na,jump,1,2\n"), VideoFacts(files), tmp_path)


@pytest.mark.parametrize("format", ["json", "jsonl", "csv", "otio", "labelstudio"])
def test_results_become_annotations(tmp_path: Path, format: str) -> None:
    segments = (Segment("run", 1.0, 2.0, 0.9), Segment("jump", 0.4, 0.8, 0.2))
    run = RunInfo("0", "camera", "0" * 64, ("run", "jump", "rest"))
    path = tmp_path / f"results{FORMATS[format].suffix}"
    write_atomically(
        path, lambda file: FORMATS[format].writer()([Detections("a", "a.mp4", 10, 25, 250, segments)], file, run)
    )
    out = tmp_path / "annotations.json"
    assert app.run(["datasets", "convert", str(path), str(out)]) == 0
    found = load_annotations(out)
    assert sorted(spans(found, "a")) == [("jump", pytest.approx(0.4), pytest.approx(0.8)), ("run", 1.0, 2.0)]
    assert found.labels == (("run", "jump") if format == "json" else ("jump", "run"))  # others do not list the labels
    assert found.videos["a"].duration == (2.0 if format in ("csv", "labelstudio") else 10.0)


def test_results_are_no_annotations_by_themselves(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match="it holds results") as caught:
        read(tmp_path, '{"results": {"a": []}}')
    assert "tal datasets convert" in caught.value.remedy


def test_validation_is_a_share_that_stays(tmp_path: Path) -> None:
    rows = "".join(f"v{number},jump,1,2\n" for number in range(200))
    found = read(tmp_path, f"video,label,start,end\n{rows}")
    split = with_validation(found, 0.2)
    held = {name for name, video in split.videos.items() if video.subset == "validation"}
    assert 20 <= len(held) <= 60
    fewer = Annotations("", {name: found.videos[name] for name in list(found.videos)[50:]}, found.labels)
    assert {
        n for n, v in with_validation(fewer, 0.2).videos.items() if v.subset == "validation"
    } == held & fewer.videos.keys()
    assert with_validation(found, 0).videos == found.videos


def test_a_converted_file_serves_its_data_set(epic: Path, tmp_path: Path) -> None:
    out = tmp_path / "annotations.json"
    assert app.run(["datasets", "convert", str(epic), str(out), "--label-key", "verb"]) == 0
    found = load_annotations(out, "verb")
    assert found == load_annotations(epic, "verb") and found.labels == ("take", "put", "wash")


def test_a_table_with_other_columns_is_told_which_it_needs(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("foo;bar\n1;2\n")
    with pytest.raises(AnnotationError) as caught:
        load_annotations(tmp_path / "x.csv")
    assert caught.value.remedy == "a table needs the columns video, label, start, end; it has foo, bar"
