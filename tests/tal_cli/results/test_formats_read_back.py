"""What annotators' and editors' programs read: every format read back by somebody else's parser."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import duckdb
import opentimelineio as otio
import pympi
import pysubs2
import pytest
import webvtt
from hypothesis import given
from hypothesis import strategies as st
from opentimelineio.opentime import RationalTime, to_timecode

from tal_cli.extractors.video.clock import FileClock
from tal_cli.results.media_links import file_uri, media_type, relative_url
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import FORMATS, RunInfo, format_for
from tal_cli.results.writers.elan import without_overlap
from tal_cli.results.writers.timecode import STANDARD, TimecodeRate, timecode_rate

RUN = RunInfo("0.1.0", "camera", "ab" * 32, file=Path("/out/here/v.eaf"))
NTSC = 30000 / 1001
AWKWARD = (
    "pan, left",
    'say "no"',
    "two\nlines",
    "a --> b",
    "<b>&amp;</b> {x}",
    "日本語 é",
    "",
    "\x00\ud800",
    "00:01 --> 00:02",
)

spans = st.tuples(st.floats(0, 5e3), st.floats(1e-3, 500), st.floats(0, 1), st.sampled_from(AWKWARD))


def video(*rows: tuple[str, float, float, float], fps: float = 25.0) -> Detections:
    """A video of an hour and a half with segments (label, start, end, score)."""
    return Detections(
        "v", "/videos/my video é.mp4", 5600.0, fps, round(5600 * fps), tuple(Segment(*row) for row in rows)
    )


def from_spans(rows: list[tuple[float, float, float, str]], fps: float = 25.0) -> Detections:
    return video(*((label, start, start + length, score) for start, length, score, label in rows), fps=fps)


def written(name: str, *videos: Detections) -> bytes:
    file = io.BytesIO()
    FORMATS[name].writer()(iter(videos), file, RUN)
    return file.getvalue()


TWO = video(("cut", 61.0004, 61.2, 0.25), ("pan, left", 3.1234567, 60.04, 0.75))


def test_srt_is_in_the_order_of_time() -> None:
    first, second = pysubs2.SSAFile.from_string(written("srt", TWO).decode(), format_="srt")
    assert (first.start, first.end, first.plaintext) == (3123, 60040, "pan, left 0.75")
    assert (second.start, second.end, second.plaintext) == (61000, 61200, "cut 0.25")


def test_vtt_is_in_the_order_of_time() -> None:
    first, second = webvtt.from_string(written("vtt", TWO).decode())
    assert (first.start, first.end, first.text) == ("00:00:03.123", "00:01:00.040", "pan, left 0.75")
    assert second.text == "cut 0.25"


def test_players_and_editors_get_the_times_of_the_files_own_clock() -> None:
    late = replace(video(("cut", 2.5, 2.7, 0.5)), file_clock=FileClock(offset=2.0))
    (cue,) = pysubs2.SSAFile.from_string(written("srt", late).decode(), format_="srt")
    assert (cue.start, cue.end) == (4500, 4700)
    assert webvtt.from_string(written("vtt", late).decode())[0].start == "00:00:04.500"
    assert b'TIME_VALUE="4500"' in written("elan", late)
    assert b"00:00:04:12 00:00:04:18 01:00:00:00" in written("edl", late)
    coded = replace(late, file_clock=FileClock(offset=2.0, timecode="10:00:00:05"))
    assert b"10:00:02:17 10:00:02:23 01:00:00:00" in written("edl", coded)
    for found, origin in ((late, 50), (coded, 36000 * 25 + 5)):
        clip = otio.adapters.read_from_string(written("otio", found).decode(), "otio_json").tracks[0][0]
        assert clip.media_reference.available_range.start_time.value == origin
        assert clip.source_range.start_time.value == origin
        assert clip.markers[0].marked_range.start_time.value == origin + 62.5


@given(st.sampled_from(STANDARD), st.integers(0, 24 * 3600 * 23))
def test_a_time_code_is_read_as_it_is_written(rate: TimecodeRate, frame: int) -> None:
    assert rate.origin(FileClock(timecode=rate.text(frame))) == frame % rate.frames_in(24)


@pytest.mark.parametrize("timecode", ["", "1:2:3:4", "00:61:00:00", "later"])
def test_what_is_no_time_code_is_ignored(timecode: str) -> None:
    assert timecode_rate(25).origin(FileClock(offset=2.0, timecode=timecode)) == 50


@given(st.lists(spans, max_size=12))
def test_no_label_breaks_a_subtitle_file(rows: list[tuple[float, float, float, str]]) -> None:
    found = from_spans(rows)
    times = sorted((s.start, s.end) for s in found.segments)
    srt = pysubs2.SSAFile.from_string(written("srt", found).decode(), format_="srt")
    vtt = list(webvtt.from_string(written("vtt", found).decode()))
    assert len(srt) == len(vtt) == len(rows)
    for event, caption, (start, end) in zip(srt, vtt, times, strict=True):
        assert abs(event.start - 1000 * start) <= 0.5 + 1e-6
        assert abs(event.end - 1000 * end) <= 1.5 and event.start < event.end
        assert caption.start_in_seconds == event.start // 1000
        assert "\n" not in caption.text


def test_elan_has_a_tier_per_label_and_the_video(tmp_path: Path) -> None:
    (tmp_path / "v.eaf").write_bytes(written("elan", TWO))
    document = pympi.Elan.Eaf(str(tmp_path / "v.eaf"))
    assert sorted(document.get_tier_names()) == ["cut", "pan, left"]
    assert document.get_annotation_data_for_tier("pan, left") == [(3123, 60040, "0.75")]
    assert document.get_annotation_data_for_tier("cut") == [(61000, 61200, "0.25")]
    media = document.get_linked_files()[0]
    # ELAN takes away file:// and looks for the rest as it stands: quoted names would not be found.
    assert media["MEDIA_URL"] == "file:///videos/my video é.mp4"
    assert media["RELATIVE_MEDIA_URL"] == "./../../videos/my video é.mp4"
    assert media["MIME_TYPE"] == "video/mp4"


@pytest.mark.parametrize(("name", "kind"), [("a.TS", "video/mp2t"), ("a.mkv", "video/x-matroska"), ("a.b", "video/*")])
def test_kinds_of_media_are_known_on_every_system(name: str, kind: str) -> None:
    assert media_type(name) == kind


@given(st.lists(spans, max_size=12))
def test_elan_keeps_every_segment_and_no_tier_overlaps(rows: list[tuple[float, float, float, str]]) -> None:
    import xml.etree.ElementTree as ElementTree

    root = ElementTree.fromstring(written("elan", from_spans(rows)))
    times = {slot.attrib["TIME_SLOT_ID"]: int(slot.attrib["TIME_VALUE"]) for slot in root.iter("TIME_SLOT")}
    assert list(times.values()) == sorted(times.values())
    names = [tier.attrib["TIER_ID"] for tier in root.iter("TIER")]
    assert len(names) == len(set(names))
    kept = 0
    for tier in root.iter("TIER"):
        end = 0
        for annotation in tier.iter("ALIGNABLE_ANNOTATION"):
            first, last = (times[annotation.attrib[f"TIME_SLOT_REF{number}"]] for number in (1, 2))
            assert end <= first < last
            end, kept = last, kept + 1
    assert kept == len(rows)


def test_items_go_to_the_first_line_that_is_free() -> None:
    assert without_overlap([(0, 5, 1.0), (2, 3, 0.5), (3, 9, 0.4), (5, 6, 0.3)]) == [
        [(0, 5, 1.0), (5, 6, 0.3)],
        [(2, 3, 0.5), (3, 9, 0.4)],
    ]


@pytest.mark.parametrize(
    ("fps", "base", "drop"),
    [
        (24000 / 1001, 24, False),
        (23.98, 24, False),
        (24, 24, False),
        (25, 25, False),
        (NTSC, 30, True),
        (29.97, 30, True),
        (30, 30, False),
        (60000 / 1001, 60, True),
        (12.5, 25, False),
        (15000 / 1001, 30, True),
        (5, 25, False),
        (19.62, 30, False),
        (1000, 30, False),
    ],
)
def test_rates_that_editors_have(fps: float, base: int, drop: bool) -> None:
    rate = timecode_rate(fps)
    assert (rate.base, rate.drop) == (base, drop)


def test_known_time_codes() -> None:
    drop = timecode_rate(29.97)
    assert [drop.text(frame) for frame in (1799, 1800, 17981, 17982, 107892)] == [
        "00:00:59;29",
        "00:01:00;02",
        "00:09:59;29",
        "00:10:00;00",
        "01:00:00;00",
    ]
    assert drop.frames_in(1) == 107892
    cinema = timecode_rate(23.976)
    assert cinema.text(cinema.frame_at(3600)) == "00:59:56:10"  # 3600 s are 86,313.7 frames
    assert cinema.text(cinema.frames_in(1)) == "01:00:00:00"


@given(st.sampled_from(STANDARD), st.integers(0, 24 * 3600 * 23))
def test_time_codes_are_those_of_another_library(rate: TimecodeRate, frame: int) -> None:
    assert rate.text(frame) == to_timecode(RationalTime(frame, float(rate.rate)), float(rate.rate), rate.drop)


@given(st.sampled_from(STANDARD), st.floats(0, 8e4))
def test_a_time_code_is_within_half_a_frame(rate: TimecodeRate, seconds: float) -> None:
    frame = rate.frame_at(seconds)
    assert abs(Fraction(seconds) - frame / rate.rate) <= 1 / (2 * rate.rate)
    code = otio.opentime.from_timecode(rate.text(frame), float(rate.rate))
    assert code.value == frame


@given(st.sampled_from(STANDARD), st.floats(0, 1e4), st.floats(0, 1e3))
def test_a_span_has_at_least_one_frame(rate: TimecodeRate, start: float, length: float) -> None:
    first, end = rate.frames_of(start, start + length)
    assert first < end and first == rate.frame_at(start)


def events(text: bytes, rate: TimecodeRate) -> Iterator[otio.schema.Clip]:
    timeline = otio.adapters.read_from_string(text.decode(), "cmx_3600", rate=float(rate.rate))
    assert len(timeline.tracks) == 1
    yield from timeline.tracks[0]


def test_edl_strings_the_segments_together() -> None:
    text = written("edl", video(("cut", 60.0, 61.0, 0.5), ("pan, left", 3.0, 5.0, 0.75), fps=NTSC))
    lines = text.decode().splitlines()
    assert lines[:2] == ["TITLE: v", "FCM: DROP FRAME"]
    assert lines[3] == "001  AX       V     C        00:00:03;00 00:00:05;00 01:00:00;00 01:00:02;00"
    assert lines[8] == "002  AX       V     C        00:00:59;28 00:01:01;00 01:00:02;00 01:00:03;00"
    first, second = events(text, timecode_rate(NTSC))
    assert first.source_range.start_time.value == 90 and first.source_range.duration.value == 60
    assert second.source_range.start_time.value == 1798 and second.source_range.duration.value == 30
    assert first.name == "my video é.mp4"
    assert lines[6] == "* LOC: 01:00:00;00 CYAN    pan, left 0.75"
    marked = [clip.markers[0].name for clip in events(written("edl", TWO), timecode_rate(25))]
    assert marked == ["pan, left 0.75", "cut 0.25"]


@given(st.lists(spans, min_size=1, max_size=8), st.sampled_from([24000 / 1001, 24.0, 25.0, NTSC, 60000 / 1001, 19.62]))
def test_edl_read_back_lies_where_the_segments_do(rows: list[tuple[float, float, float, str]], fps: float) -> None:
    found = from_spans(rows, fps)
    rate = timecode_rate(fps)
    read = list(events(written("edl", found), rate))
    assert len(read) == len(rows)
    for clip, segment in zip(read, sorted(found.segments, key=lambda s: (s.start, s.end)), strict=True):
        start = clip.source_range.start_time.value
        assert abs(start / float(rate.rate) - segment.start) <= 0.5 / float(rate.rate) + 1e-6
        end = start + clip.source_range.duration.value
        assert abs(end / float(rate.rate) - segment.end) <= 1.5 / float(rate.rate) + 1e-6


def test_an_edl_longer_than_cmx_3600_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    many = video(*(("cut", float(number), number + 0.5, 0.5) for number in range(1001)))
    read = list(events(written("edl", many), timecode_rate(25)))
    assert len(read) == 1001 and "1001 events" in capsys.readouterr().err
    written("edl", TWO)
    assert capsys.readouterr().err == ""


def test_otio_has_a_marker_per_segment() -> None:
    timeline = otio.adapters.read_from_string(written("otio", TWO).decode(), "otio_json")
    clip = next(iter(timeline.find_clips()))
    assert clip.media_reference.target_url == "file:///videos/my%20video%20%C3%A9.mp4"
    first, second = clip.markers
    assert (first.name, first.metadata["tal"]["score"]) == ("pan, left", 0.75)
    assert math.isclose(first.marked_range.start_time.to_seconds(), 3.1234567)
    assert math.isclose(second.marked_range.end_time_exclusive().to_seconds(), 61.2)
    both = otio.adapters.read_from_string(written("otio", TWO, TWO).decode(), "otio_json")
    assert [type(child).__name__ for child in both] == ["Timeline", "Timeline"]


def test_parquet_is_a_table_for_duckdb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tal_cli.results.writers.parquet.GROUP", 3)
    other = Detections("w", "w.mp4", 9.0, 25.0, 225, tuple(Segment("日本語 é", i, i + 1, 0.1 * i) for i in range(7)))
    path = tmp_path / "all.parquet"
    path.write_bytes(written("parquet", TWO, other, Detections("none", "n", 1.0, 25.0, 25, ())))
    rows = duckdb.sql(f"select * from '{path}'").fetchall()
    assert rows[:2] == [("v", "pan, left", 3.1234567, 60.04, 0.75), ("v", "cut", 61.0004, 61.2, 0.25)]
    assert len(rows) == 9 and [row[0] for row in rows[2:]] == ["w"] * 7
    counted = duckdb.sql(f"select label, sum(\"end\" - start) from '{path}' group by 1 order by 2 desc").fetchall()
    assert counted[0][0] == "pan, left"
    facts = duckdb.sql(f"select key, value from parquet_kv_metadata('{path}')").fetchall()
    assert (b"tal.model", b"camera") in facts


def test_parquet_of_nothing_is_an_empty_table(tmp_path: Path) -> None:
    (tmp_path / "none.parquet").write_bytes(written("parquet"))
    assert duckdb.sql(f"select count(*) from '{tmp_path / 'none.parquet'}'").fetchall() == [(0,)]


def test_labelstudio_counts_frames_from_one() -> None:
    tasks = json.loads(written("labelstudio", TWO, Detections("n", "n.mp4", 1.0, 25.0, 25, ())))
    assert tasks[0]["data"]["video"] == "/data/local-files/?d=videos/my%20video%20%C3%A9.mp4"
    (prediction,) = tasks[0]["predictions"]
    assert prediction["score"] == 0.75
    region = prediction["result"][0]
    assert region["type"] == "timelinelabels" and region["value"]["timelinelabels"] == ["pan, left"]
    assert region["value"]["ranges"] == [{"start": 79, "end": 1501}]  # 3.12 s begins frame 79; 60.04 s ends 1501
    assert tasks[1]["predictions"][0]["result"] == []
    assert json.loads(written("labelstudio")) == []


def test_the_longest_suffix_decides() -> None:
    assert format_for(Path("a.labelstudio.json")).name == "labelstudio"
    assert format_for(Path("a.json")).name == "json"
    assert format_for(Path("A.EAF")).name == "elan"


def test_places(tmp_path: Path) -> None:
    assert file_uri("/a b/c#d?.mp4") == "file:///a%20b/c%23d%3F.mp4"
    assert relative_url("/a/b:c.mp4", "/a/d") == "./../b%3Ac.mp4"
    assert relative_url("/a/d/javascript:x", "/a/d") == "./javascript%3Ax"
    assert io.BytesIO(relative_url("/a/\udcff.mp4", "/a").encode()).read() == b"./%FF.mp4"
