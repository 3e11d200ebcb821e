"""Writers and sinks."""

from __future__ import annotations

import csv
import io
import json
import re
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tal_cli.extractors.errors import InputError, UsageError
from tal_cli.extractors.files.atomic import is_device, write_atomically
from tal_cli.results.output_paths import file_for, is_folder
from tal_cli.results.outputs import Output, write_results
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import FORMATS, RunInfo, format_for
from tal_cli.results.writers.table import BAR_WIDTH, bar
from tal_cli.safe_text import seconds_as_clock

RUN = RunInfo("0.1.0", "camera", "ab" * 32)
TWO = Detections(
    "a",
    "/videos/a.mp4",
    60.04,
    25.0,
    1501,
    (Segment("cut", 1.0, 1.2, 0.25), Segment("pan, left", 2.1234567, 60.04, 0.75)),
)
NONE = Detections("b/c.mp4", "c.mp4", 1.0, 30.0, 30, ())


def written(name: str, *videos: Detections, run: RunInfo = RUN) -> str:
    file = io.BytesIO()
    FORMATS[name].writer()(iter(videos), file, run)
    return file.getvalue().decode()


def test_json_is_what_activitynet_evaluators_read() -> None:
    document = json.loads(written("json", TWO, NONE))
    assert document["version"] == "0.1.0"
    assert document["results"] == {
        "a": [
            {"label": "pan, left", "score": 0.75, "segment": [2.123457, 60.04]},
            {"label": "cut", "score": 0.25, "segment": [1.0, 1.2]},
        ],
        "b/c.mp4": [],
    }
    data = document["external_data"]
    assert (data["version"], data["model"], data["weights_sha256"]) == ("0.1.0", "camera", "ab" * 32)
    assert data["videos"]["a"] == {"path": "/videos/a.mp4", "duration": 60.04, "fps": 25.0, "frames": 1501}


def test_jsonl_is_a_line_per_video() -> None:
    row, other = map(json.loads, written("jsonl", TWO, NONE).splitlines())
    assert list(row) == ["video", "path", "duration", "segments"]
    assert (row["video"], row["path"], row["duration"]) == ("a", "/videos/a.mp4", 60.04)
    assert [segment["score"] for segment in row["segments"]] == [0.75, 0.25]
    assert other == {"video": "b/c.mp4", "path": "c.mp4", "duration": 1.0, "segments": []}


def test_csv_has_its_header_quotes_and_the_order_of_time() -> None:
    text = written("csv", TWO, NONE)
    assert text.splitlines()[0] == "video,label,start,end,score"
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["start"] for row in rows] == ["1.0", "2.123457"]
    assert rows[1] == {"video": "a", "label": "pan, left", "start": "2.123457", "end": "60.04", "score": "0.75"}
    assert len(rows) == 2


def test_table_is_in_the_order_of_time_and_plain_in_a_file() -> None:
    text = written("table", TWO, NONE)
    assert text.index("cut") < text.index("pan, left")
    assert "\x1b" not in text
    assert written("table", NONE).splitlines()[1].startswith("0 segments in "), "no empty table"


@given(st.floats(0, 1), st.floats(0, 1), st.floats(1e-3, 1e5))
def test_a_bar_shows_something_and_never_more_than_its_width(one: float, two: float, duration: float) -> None:
    text = bar(Segment("cut", min(one, two) * duration, max(one, two) * duration, 1.0), duration)
    assert len(text) == BAR_WIDTH and "█" in text
    assert bar(Segment("cut", 5.0, 10.0, 1.0), 20.0) == "·····█████··········"


@pytest.mark.parametrize(
    ("columns", "header"),
    [
        (97, ["label", "start", "end", "seconds", "score", "when"]),
        (96, ["label", "start", "end", "seconds", "score"]),
        (60, ["label", "start", "end", "seconds", "score"]),
        (59, ["label", "start", "end", "score"]),
        (20, ["label", "start", "end", "score"]),
    ],
)
def test_table_on_a_narrow_terminal_keeps_its_times(
    monkeypatch: pytest.MonkeyPatch, columns: int, header: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    long = Segment("a long label of many words", 3605.25, 3610.22, 0.56)
    text = written("table", replace(TWO, duration=4000.0, segments=(long,)), run=replace(RUN, terminal=True))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert re.search("┃.*┃", plain)[0].strip("┃").replace("┃", " ").split() == header
    assert "1:00:05.25" in plain and "1:00:10.22" in plain and "0.56" in plain and "…" not in plain
    assert re.sub(r"[^a-z]", "", "".join(re.findall("│ ([a-z ]*?) +│", plain))) == "alonglabelofmanywords"


def test_table_on_a_terminal_has_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert "\x1b[" in written("table", TWO, run=RunInfo("0.1.0", "camera", "", terminal=True))


@given(
    st.lists(
        st.tuples(st.floats(0, 1e5), st.floats(1e-3, 1e4), st.floats(0, 1), st.sampled_from(["a", "é", 'q"', "n\nl"])),
        max_size=20,
    )
)
def test_every_format_keeps_every_segment(rows: list[tuple[float, float, float, str]]) -> None:
    duration = 2e5
    segments = tuple(Segment(label, start, start + length, score) for start, length, score, label in rows)
    video = Detections("v", "v.mp4", duration, 30.0, 10, segments)
    results = json.loads(written("json", video))["results"]["v"]
    assert len(results) == len(list(csv.reader(io.StringIO(written("csv", video))))) - 1 == len(rows)
    assert [row["score"] for row in results] == sorted((row["score"] for row in results), reverse=True)
    assert all(0 <= row["segment"][0] < row["segment"][1] <= duration for row in results)


def test_keep() -> None:
    assert [s.label for s in TWO.keep(min_score=0.5).segments] == ["pan, left"]
    assert [s.label for s in TWO.keep(top_k=1).segments] == ["pan, left"]
    assert [s.label for s in TWO.keep(labels=["cut"], top_k=1).segments] == ["cut"]
    assert TWO.keep() == TWO


def test_format_by_suffix() -> None:
    assert format_for(Path("x.JSONL")).name == "jsonl"
    with pytest.raises(UsageError, match="xyz"):
        format_for(Path("a.xyz"))


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_folders_fill_as_videos_are_done_and_files_appear_at_the_end(tmp_path: Path) -> None:
    outputs = [Output(str(tmp_path / name), FORMATS[kind]) for name, kind in (("x.json", "json"), ("each", "csv"))]

    def videos() -> Iterator[Detections]:
        yield TWO
        assert files_in(tmp_path) == ["each/a.csv"]
        yield NONE
        assert files_in(tmp_path) == ["each/a.csv", "each/b/c.mp4.csv"]

    write_results(videos(), outputs, RUN)
    assert files_in(tmp_path) == ["each/a.csv", "each/b/c.mp4.csv", "x.json"]
    assert (tmp_path / "x.json").read_text() == written("json", TWO, NONE)


@pytest.mark.parametrize("kind", [name for name, format in FORMATS.items() if not format.single])
def test_standard_output_is_live_where_parts_are_of_use(kind: str, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    shown = []

    def videos() -> Iterator[Detections]:
        for video in (TWO, NONE):
            yield video
            shown.append(capfdbinary.readouterr().out)

    write_results(videos(), [Output("-", FORMATS[kind])], RUN)
    rest = capfdbinary.readouterr().out
    if FORMATS[kind].live:
        assert shown[0] == written(kind, TWO).encode() and b"".join(shown) == written(kind, TWO, NONE).encode()
    else:
        assert shown == [b"", b""]
    file = io.BytesIO()
    FORMATS[kind].writer()([TWO, NONE], file, RUN)
    assert b"".join((*shown, rest)) == file.getvalue()


@pytest.mark.parametrize("error", [KeyboardInterrupt, InputError("a.mp4", "broken")])
def test_a_run_that_ends_early_leaves_no_file(tmp_path: Path, error: BaseException) -> None:
    def videos() -> Iterator[Detections]:
        yield TWO
        raise error

    with pytest.raises(type(error) if isinstance(error, Exception) else KeyboardInterrupt):
        write_results(videos(), [Output(str(tmp_path / f"x.{kind}"), FORMATS[kind]) for kind in FORMATS], RUN)
    assert files_in(tmp_path) == []


def test_a_writer_that_fails_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None:
        for _ in detections:
            file.write(b"half")
            raise KeyboardInterrupt

    monkeypatch.setattr("tal_cli.results.writers.csv.write", write)
    with pytest.raises(KeyboardInterrupt):
        write_results([TWO], [Output(str(tmp_path / "x.csv"), FORMATS["csv"])], RUN)
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("kind", FORMATS)
def test_no_writer_holds_the_videos(kind: str) -> None:
    alive: list[weakref.ref[Detections]] = []
    most = 0

    def videos() -> Iterator[Detections]:
        nonlocal most
        for number in range(20):
            video = replace(TWO, video=f"v{number}")
            alive.append(weakref.ref(video))
            yield video
            del video
            most = max(most, sum(reference() is not None for reference in alive))

    FORMATS[kind].writer()(videos(), io.BytesIO(), RUN)
    assert most <= 2


def test_a_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out.json"
    target.write_bytes(b"old")

    def fail(handle: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(InputError, match=r"out\.json: cannot be written: disk full"):
        write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["out.json"]


def test_a_device_is_written_to_and_not_replaced() -> None:
    write_atomically(Path("/dev/null"), b"x")
    assert Path("/dev/null").is_char_device()


def test_a_link_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "target.json").write_bytes(b"old")
    (tmp_path / "link.json").symlink_to("target.json")
    write_atomically(tmp_path / "link.json", b"new")
    assert (tmp_path / "link.json").is_symlink()
    assert (tmp_path / "target.json").read_bytes() == b"new"


def test_the_systems_names_are_never_replaced() -> None:
    for name in ("/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", "/dev/../dev/null"):
        assert is_device(Path(name))
    assert not is_device(Path("device/stdout")) and not is_device(Path("/dev/shm/new.json"))


def test_a_folder_holds_one_file_per_video(tmp_path: Path) -> None:
    write_results([TWO, NONE], [Output(f"{tmp_path}/out/", FORMATS["csv"])], RUN)
    assert files_in(tmp_path / "out") == ["a.csv", "b/c.mp4.csv"]


@given(st.text(alphabet="./ab\\", max_size=12))
def test_no_name_leads_out_of_the_folder(name: str) -> None:
    folder = Path("/out/folder")
    path = file_for(folder, name, ".json")
    assert ".." not in path.parts
    assert path.is_relative_to(folder) and path != folder


def test_what_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert is_folder(str(tmp_path)) and is_folder(str(tmp_path / "new")) and is_folder(str(tmp_path / "new.d") + "/")
    assert (
        not is_folder(str(tmp_path / "file"))
        and not is_folder(str(tmp_path / "new.json"))
        and not is_folder("/dev/null")
    )


@pytest.mark.parametrize(
    ("seconds", "clock"), [(0, "0:00.00"), (59.999, "1:00.00"), (61.5, "1:01.50"), (3725.5, "1:02:05.50")]
)
def test_clock(seconds: float, clock: str) -> None:
    assert seconds_as_clock(seconds) == clock
