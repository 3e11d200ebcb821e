"""The one reader: everything that `tal detect` writes and that can be read back, and what other tools write."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from small_runs import Tal

from tal_cli.datasets.formats import load_annotations
from tal_cli.evaluation.average_precision import evaluate
from tal_cli.evaluation.predictions import Predictions, load_predictions
from tal_cli.extractors.errors import InputError
from tal_cli.extractors.video.clock import FileClock
from tal_cli.results.outputs import Output, write_results
from tal_cli.results.readers import read_results
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import FORMATS, RunInfo

RUN = RunInfo("0.1.0", "camera", "ab" * 32, ("3", "7"))
# Times that fall on frames, so that formats which count frames keep them exactly.
ONE = Detections(
    "one",
    "/videos/one é.mp4",
    60.0,
    25.0,
    1500,
    (
        Segment("3", 1.0, 4.0, 0.91),
        Segment("7", 1.0, 5.0, 0.82),
        Segment("3", 10.0, 20.0, 0.73),
        Segment("3", 40.0, 45.0, 0.4),
    ),
)
TWO = Detections("two", "/videos/two.mp4", 30.0, 25.0, 750, (Segment("7", 2.0, 9.0, 0.65), Segment("3", 3.0, 9.0, 0.5)))
VIDEOS = (ONE, TWO)
TRUTH = {"one": [("3", 1, 5), ("7", 2, 5), ("3", 11, 20)], "two": [("7", 2, 8), ("7", 20, 22)]}

READ_BACK = ("json", "jsonl", "csv", "parquet", "otio", "labelstudio")
TEXT = tuple(kind for kind in READ_BACK if kind != "parquet")
FILES = [*((kind, False) for kind in READ_BACK), *((kind, True) for kind in TEXT)]


def write(folder: Path, kind: str, packed: bool = False, videos: tuple[Detections, ...] = VIDEOS) -> Path:
    path = folder / f"found{FORMATS[kind].suffix}"
    write_results(videos, [Output(str(path), FORMATS[kind])], RUN)
    if packed:
        path = path.rename(f"{path}.gz")
        path.write_bytes(gzip.compress(path.read_bytes()))
    return path


@pytest.fixture
def truth(tmp_path: Path) -> Path:
    database = {
        name: {
            "subset": "validation",
            "duration": 60,
            "annotations": [{"label": label, "segment": [start, end]} for label, start, end in rows],
        }
        for name, rows in TRUTH.items()
    }
    path = tmp_path / "truth.json"
    path.write_text(json.dumps({"database": database}))
    return path


@pytest.mark.parametrize(("kind", "packed"), FILES)
@pytest.mark.slow
def test_every_command_takes_every_format(run: Tal, tmp_path: Path, truth: Path, kind: str, packed: bool) -> None:
    (tmp_path / "plain").mkdir()
    file, plain = write(tmp_path, kind, packed), write(tmp_path / "plain", "json")

    def printed(*arguments: object) -> Any:
        done = run(*arguments)
        assert done.code == 0, done.err
        return json.loads(done.out)

    rows = [(video.video, s.label, s.start, s.end, s.score) for video in VIDEOS for s in video.segments]
    expected = evaluate(Predictions.from_rows(rows), load_annotations(truth), "validation", [0.3, 0.4, 0.5, 0.6, 0.7])
    how = ("--annotations", truth, "--format", "json")
    evaluation = printed("eval", file, *how)
    evaluation.pop("shown")  # at the display score, which some formats cannot hold
    assert 0.3 < evaluation["average"] < 0.9 and evaluation == json.loads(json.dumps(expected.as_json()))
    assert printed("diagnose", file, *how) == printed("diagnose", plain, *how)
    comparison = printed("compare", file, plain, *how)
    assert comparison["mAP"]["average"]["a"] == evaluation["average"]
    assert {row["difference"] for part in ("mAP", "per_label") for row in comparison[part].values()} == {0}

    actions = []
    for predictions in (file, plain):
        out = tmp_path / "actions.json"
        assert run("combine", "actions", predictions, predictions, "-o", out).code == 0
        actions.append(json.loads(out.read_text()))
    assert actions[0] == actions[1] and len(actions[0]["results"]["one"]) > 3

    done = run("view", file, "--label", "3", "-o", tmp_path / "page.html")
    assert done.code == 0 and "one" in (tmp_path / "page.html").read_text()


@pytest.mark.parametrize(("kind", "packed"), FILES)
def test_results_are_read_back(tmp_path: Path, kind: str, packed: bool) -> None:
    results = read_results(write(tmp_path, kind, packed))
    one, two = results.detections()
    if kind in ("csv", "parquet"):
        expected = replace(ONE, path="", duration=0, fps=0, frames=0)
    elif kind == "jsonl":
        expected = replace(ONE, fps=0, frames=0)
    elif kind == "labelstudio":
        expected = replace(ONE, duration=0, frames=0)
    else:
        expected = ONE
    assert one == expected and two.segments == TWO.segments
    assert results.labels == (RUN.labels if kind == "json" else ())
    knows_its_run = kind not in ("jsonl", "csv")
    assert (results.model, results.version) == (("camera", "0.1.0") if knows_its_run else ("", ""))


@pytest.mark.parametrize("kind", READ_BACK)
def test_a_clock_of_the_files_own_changes_no_time(tmp_path: Path, kind: str) -> None:
    video = replace(ONE, file_clock=FileClock(0.5, "01:00:00:00"))
    (read,) = read_results(write(tmp_path, kind, videos=(video,))).detections()
    assert read.segments == ONE.segments


@pytest.mark.parametrize("kind", READ_BACK)
def test_the_content_tells_the_format(tmp_path: Path, kind: str) -> None:
    path = write(tmp_path, kind).rename(tmp_path / "found")
    assert [video.video for video in read_results(path).videos] == ["one", "two"]


@pytest.mark.parametrize("kind", sorted(set(FORMATS) - {*READ_BACK, "elan"}))
def test_formats_that_lose_scores_are_rejected(tmp_path: Path, kind: str) -> None:
    with pytest.raises(InputError, match="not a results file"):
        read_results(write(tmp_path, kind, videos=(ONE,))).detections()


AWKWARD = ("jump", "jump (2)", "a, b", "two\nlines", "7", "", "日本語 é", "\x00\ud800", "<b>")


def test_elan_comes_back_by_tier(tmp_path: Path) -> None:
    """Every label under its own name, also where tiers have other ones, with scores of two decimals."""
    segments = tuple(Segment(label, 1.0 + n, 4.0 + n, 0.5) for label in AWKWARD for n in range(3))
    late = FileClock(offset=2.5)
    video = Detections("part 1/100%41", "/videos/100%41.mp4", 60.0, 25.0, 1500, segments, late)
    path = write(tmp_path, "elan", videos=(video,))
    results = read_results(path)
    (read,) = results.detections()
    assert (read.video, read.path, results.model) == (video.video, video.path, "camera")
    named = tuple(replace(segment, label=segment.label or "(no label)") for segment in segments)
    assert read.segments == replace(video, segments=named).segments
    (truth,) = load_annotations(path).videos.values()
    assert truth.name == video.video
    wanted = sorted((segment.label, segment.start, segment.end) for segment in named)
    assert sorted((item.label, item.start, item.end) for item in truth.segments) == wanted


def test_elan_of_annotators_is_no_result(tmp_path: Path) -> None:
    path = write(tmp_path, "elan", videos=(ONE,))
    path.write_text(path.read_text().replace(">0.91<", ">a remark<"))
    with pytest.raises(InputError, match=r"video one, row 1: expected a score; .*--annotations"):
        read_results(path)


def test_eval_of_elan(run: Tal, truth: Path, tmp_path: Path) -> None:
    files = [write(tmp_path, kind, videos=(ONE,)) for kind in ("elan", "json")]
    first, second = (run("eval", file, "--annotations", truth, "-f", "json") for file in files)
    assert first.code == 0 and first.out == second.out


@pytest.mark.parametrize("kind", READ_BACK)
@pytest.mark.parametrize("label", ["a, b", 'say "no"', "two\nlines", "half\u2028a line", "日本語 é"])
def test_labels_survive(tmp_path: Path, kind: str, label: str) -> None:
    video = replace(ONE, segments=(Segment(label, 1.0, 2.0, 0.5),))
    ((row,),) = (video.rows for video in read_results(write(tmp_path, kind, videos=(video,))).videos)
    written = {"two\nlines": "two\\nlines", "half\u2028a line": "half\\u2028a line"} if kind == "otio" else {}
    assert row[:4] == (written.get(label, label), 1.0, 2.0, 0.5)


@pytest.mark.parametrize("kind", ["json", "jsonl", "csv", "parquet"])
def test_equal_scores_stay_in_the_order_of_the_file(tmp_path: Path, kind: str) -> None:
    rows = [("b", "x", 3.0, 4.0, 0.5), ("b", "x", 1.0, 2.0, 0.5), ("a", "x", 5.0, 6.0, 0.5), ("a", "x", 0.0, 9.0, 0.5)]
    items = {
        name: [{"label": row[1], "segment": list(row[2:4]), "score": row[4]} for row in rows if row[0] == name]
        for name in ("b", "a")
    }
    path = tmp_path / "found"
    if kind == "json":
        path.write_text(json.dumps({"results": items}))
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps({"video": name, "segments": part}) for name, part in items.items()))
    elif kind == "csv":
        path.write_text("video,label,start,end,score\n" + "".join(",".join(map(str, row)) + "\n" for row in rows))
    else:
        import pyarrow as pa
        from pyarrow import parquet

        columns = dict(zip(("video", "label", "start", "end", "score"), zip(*rows, strict=True), strict=True))
        parquet.write_table(pa.table({name: list(column) for name, column in columns.items()}), path)
    found = load_predictions(path)
    assert [*zip(found.videos, found.labels, found.starts, found.ends, found.scores, strict=True)] == rows


def test_a_table_may_mix_its_videos(tmp_path: Path) -> None:
    path = tmp_path / "found.csv"
    path.write_text("score,video,label,start,end,more\n.5,a,x,1,2,\n.9,b,x,3,4,\n.7,a,y,-1,2,\n.7,a,y,2,2,\n")
    assert load_predictions(path).videos == ("a", "b", "a", "a")
    a, b = read_results(path).detections()
    assert (a.segments, b.video) == ((Segment("y", 0.0, 2.0, 0.7), Segment("x", 1.0, 2.0, 0.5)), "b")


def test_what_a_row_calls_its_label(tmp_path: Path) -> None:
    rows = [{"verb": 3, "noun": 7, "action": "3,7", "score": 0.5, "segment": [1, 2]}]
    (tmp_path / "found.json").write_text(json.dumps({"results": {"v": rows}, "version": "0.2"}, indent=1))
    (tmp_path / "found.csv").write_text("video,verb,start,end,score\nv,3,1,2,0.5\n")
    assert load_predictions(tmp_path / "found.json", "action").labels == ("3,7",)
    assert load_predictions(tmp_path / "found.csv", "verb").labels == ("3",)
    with pytest.raises(InputError, match="video v, row 1: expected label, score"):
        load_predictions(tmp_path / "found.json")


@pytest.mark.parametrize("facts", [None, [], {"v": None}, {"v": {"duration": "long", "fps": None, "frames": 1e999}}])
def test_facts_that_are_none_are_unknown(tmp_path: Path, facts: Any) -> None:
    content = {"results": {"v": [{"label": "x", "score": 1, "segment": [1, 2]}]}, "external_data": {"videos": facts}}
    (tmp_path / "found.json").write_text(json.dumps(content))
    (video,) = read_results(tmp_path / "found.json").detections()
    assert (video.path, video.duration, video.fps, video.frames) == ("", 0, 0, 0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "the file is empty"),
        ("a,b\n1,2\n", "columns"),
        ("[1]", "task 1: not as"),
        ("[", "not JSON"),
        ('{"a": 1}', "not a results file"),
        ('{"a": 1}\n{"b": 2}', "not JSON"),
        ('{"results": {"v": 3}}', "video v: expected a list"),
        ('{"results": {"v": [{"label": "x"}]}}', "video v, row 1: expected label"),
        ('{"results": {"v": [{"label": "x", "score": NaN, "segment": [0, 1]}]}}', "video v, row 1: expected label"),
        ('{"video": "v", "segments": []}\n{"video"', "line 2"),
        ('{"video": "v", "segments": []}\n\n{"video": "w"}', "line 3"),
        ("video,label,start,end,score\nv,x,one,2,3\n", "video v, row 1: expected label"),
        ('video,label,start,end,score\nv,"x"y,1,2,3\n', "line 2"),
        ("PAR1 or not", "not a Parquet file"),
        ('{"OTIO_SCHEMA": "Clip.2"}', "timeline"),
        ('{"OTIO_SCHEMA": "Timeline.1", "tracks": {"children": []}}', "timeline 1"),
        ('[{"data": {"video": "v.mp4", "name": "v", "fps": 25}, "annotations": []}]', "task 1"),
        (
            '[{"data": {"video": "v.mp4", "name": "v", "fps": 0}, "predictions": [{"result": '
            '[{"score": 1, "value": {"ranges": [{"start": 1, "end": 2}], "timelinelabels": ["x"]}}]}]}]',
            "video v, row 1",
        ),
    ],
)
def test_other_files_are_rejected(tmp_path: Path, text: str, reason: str) -> None:
    path = tmp_path / "found.json"
    path.write_text(text)
    with pytest.raises(InputError, match=reason):
        read_results(path).detections()


def test_parquet_without_its_package_names_the_extra(
    run: Tal, tmp_path: Path, truth: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "parquet")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    done = run("eval", path, "--annotations", truth)
    assert done.code == 4 and "pip install 'tal-cli[parquet]'" in done.err


def test_reading_lines_and_tables_holds_one_video(tmp_path: Path) -> None:
    import weakref

    many = tuple(replace(ONE, video=f"v{number}") for number in range(20))
    for kind in ("jsonl", "csv", "parquet"):
        seen: list[weakref.ref[Any]] = []
        for part in read_results(write(tmp_path, kind, videos=many)).videos:
            seen.append(weakref.ref(part))
            assert sum(reference() is not None for reference in seen) <= 2
        assert len(seen) == 20
