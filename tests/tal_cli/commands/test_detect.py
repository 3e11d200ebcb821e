"""`tal detect` on real videos: what it writes, what it rejects, and its exit codes."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import LABELS, TAL, Finished, Tal, render_clip

from tal_cli import VideoDetector
from tal_cli.extractors.errors import UsageError
from tal_cli.extractors.extraction.cpu_parallel import _start_pool
from tal_cli.extractors.extraction.extractor import Extractor
from tal_cli.results.output_paths import record_origin


def segments(text: str, video: str = "first") -> list[dict[str, object]]:
    rows: list[dict[str, object]] = json.loads(text)["results"][video]
    return rows


def test_json_on_standard_output(run: Tal, clips: Path) -> None:
    done = run("detect", clips / "first.mp4")
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)
    rows = document["results"]["first"]
    facts = document["external_data"]["videos"]["first"]
    assert rows and (facts["duration"], facts["fps"], facts["frames"]) == (2.4, 25.0, 60)
    assert document["external_data"]["model"] == "small"
    assert len(document["external_data"]["weights_sha256"]) == 64
    assert [row["score"] for row in rows] == sorted((row["score"] for row in rows), reverse=True)
    for row in rows:
        start, end = row["segment"]
        assert 0 <= start < end <= 2.4
        assert row["label"] in LABELS


@pytest.mark.slow
def test_what_to_keep(run: Tal, clips: Path) -> None:
    everything = segments(run("detect", clips / "first.mp4", "--min-score", 0).out)
    assert len(segments(run("detect", clips / "first.mp4", "--top-k", 2).out)) == 2
    middle = round((everything[3]["score"] + everything[4]["score"]) / 2, 6)  # type: ignore[operator]
    some = segments(run("detect", clips / "first.mp4", "--min-score", middle).out)
    assert some == everything[:4]
    only = segments(run("detect", clips / "first.mp4", "--label", "run", "--label", "cut").out)
    assert only == [row for row in everything if row["label"] in ("run", "cut")]
    assert len(segments(run("detect", clips / "first.mp4", "--set", "inference.max_segments=1").out)) == 1


def test_classes_of_epic_go_by_name_and_number(
    run: Tal, clips: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(Path(environment["TAL_HOME"]) / "models" / "small", model)
    recipe = (model / "recipe.yaml").read_text()
    (model / "recipe.yaml").write_text(re.sub(r"^dataset:.*$", "dataset: epic-verb", recipe, flags=re.MULTILINE))
    by_number = segments(run("detect", clips / "first.mp4", "-m", model, "--label", "1").out)
    assert by_number and {row["label"] for row in by_number} == {LABELS[1]}
    assert by_number == segments(run("detect", clips / "first.mp4", "-m", model, "--label", LABELS[1]).out)
    assert run("detect", clips / "first.mp4", "-m", model, "--label", str(len(LABELS))).code == 2
    assert run("detect", clips / "first.mp4", "--label", "1").code == 2, "other models have no class numbers"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--label", "fly"], "unknown label 'fly'"),
        (["--set", "inference.sigmma=1"], "did you mean sigma"),
        (["--set", "model.width=64"], "fit only the model"),
        (["--model", "smal"], "did you mean small"),
        (["--device", "tpu"], "no device named 'tpu'"),
        (["--device", "cuda:99"], "cuda:99"),
        (["--format", "xml"], "use one of table, json"),
        (["--format", "json", "--output", "second.mp4"], "results cannot be written to a video file"),
        (["--output", "result.xyz"], "use one of .txt, .json"),
        (["--output", "/dev/null/x/result.json"], "not a folder"),
        (["--batch-size", "0"], "--batch-size 0"),
        (["--min-score", "2"], "--min-score"),
        (["--frobnicate"], "--frobnicate"),
    ],
)
def test_wrong_usage_says_what_is_right(run: Tal, clips: Path, arguments: list[str], complaint: str) -> None:
    done = run("detect", clips / "first.mp4", *arguments)
    assert done.code == 2
    assert done.out == ""
    assert complaint in done.err
    assert "Traceback" not in done.err


def test_missing_weights_end_in_4(run: Tal, clips: Path) -> None:
    done = run("detect", clips / "first.mp4", "--model", "thumos-i3d")
    assert (done.code, done.out) == (4, "")
    assert "thumos-i3d" in done.err


def test_failed_inputs_are_one_line_each_and_the_others_are_done(run: Tal, clips: Path) -> None:
    done = run("detect", clips, clips / "gone.mp4", clips / "notes.txt", "--format", "jsonl")
    assert done.code == 3
    assert sorted(json.loads(line)["video"] for line in done.out.splitlines()) == ["first", "second"]
    lines = done.err.splitlines()
    assert len(lines) == 3
    for name in ("gone.mp4", "broken.mp4", "notes.txt"):
        (line,) = (line for line in lines if name in line)
        assert line.startswith(f"error: {clips / name}: ")


def test_formats(run: Tal, clips: Path) -> None:
    table = run("detect", clips / "first.mp4", "-f", "table", "--top-k", 3).out
    assert "first" in table and "3 segments in 0:02.40" in table
    rows = list(csv.DictReader(io.StringIO(run("detect", clips / "first.mp4", "-f", "csv", "--top-k", 3).out)))
    assert [row["video"] for row in rows] == ["first"] * 3
    line = json.loads(run("detect", clips / "first.mp4", "-f", "jsonl", "--top-k", 3).out)
    assert (line["video"], line["path"], line["duration"]) == ("first", str(clips / "first.mp4"), 2.4)
    assert [row["score"] for row in line["segments"]] == sorted((float(row["score"]) for row in rows), reverse=True)


@pytest.mark.slow
def test_output_files(run: Tal, clips: Path, tmp_path: Path) -> None:
    done = run("detect", clips / "first.mp4", clips / "second.mp4", "-o", tmp_path / "new" / "all.csv")
    assert (done.code, done.out) == (0, "")
    assert (tmp_path / "new" / "all.csv").read_text().startswith("video,label,start,end,score\n")
    run("detect", clips / "first.mp4", clips / "second.mp4", "-o", tmp_path / "each")
    assert sorted(path.name for path in (tmp_path / "each").iterdir()) == ["first.json", "second.json"]
    assert list(json.loads((tmp_path / "each" / "second.json").read_text())["results"]) == ["second"]
    both = run("detect", clips / "first.mp4", "-o", "-", "-o", tmp_path / "table.txt")
    assert json.loads(both.out)["results"]
    assert "segments in 0:02.40" in (tmp_path / "table.txt").read_text()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.slow
def test_a_full_disk_is_one_line(environment: dict[str, str], run: Tal, clips: Path) -> None:
    done = run("detect", clips / "first.mp4", "-f", "csv", "-o", "/dev/full")
    assert (done.code, done.err) == (3, "error: /dev/full: cannot be written: No space left on device\n")
    with open("/dev/full", "wb") as full:
        command = [*TAL, "detect", str(clips / "first.mp4")]
        piped = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, env=environment)
    assert piped.returncode == 3
    assert piped.stderr == b"error: standard output: cannot be written: No space left on device\n"


@pytest.mark.slow
def test_clashing_stems_and_many_workers(run: Tal, clips: Path, tmp_path: Path) -> None:
    for name in ("a/x.mp4", "b/x.mp4"):
        (tmp_path / "in" / name).parent.mkdir(parents=True)
        shutil.copy(clips / "first.mp4", tmp_path / "in" / name)
    one = json.loads(run("detect", tmp_path / "in", "--workers", 1).out)
    two = json.loads(run("detect", tmp_path / "in", "--workers", 2).out)
    assert sorted(one["results"]) == ["a/x.mp4", "b/x.mp4"]
    assert one["results"] == two["results"]


@pytest.mark.slow
def test_outputs_belong_to_a_video_not_to_a_name(run: Tal, tmp_path: Path) -> None:
    probe = tmp_path / "probe"
    probe.touch()
    record_origin(probe, str(probe))
    if not hasattr(os, "getxattr") or not os.listxattr(probe):
        pytest.skip("this file system keeps no attributes of files")
    first = render_clip(tmp_path / "day1" / "clip.mp4", frames=30)
    second = render_clip(tmp_path / "day2" / "clip.mp4", frames=20)
    moved = tmp_path / "day3" / "clip.mp4"

    def detect(video: Path) -> Finished:
        folders = ("-o", f"{tmp_path}/out/", "--clips", tmp_path / "clips", "--overlay", tmp_path / "over")
        return run("detect", video, "--format", "csv", "--top-k", 2, *folders)

    def outputs() -> dict[Path, bytes]:
        folders = (tmp_path / name for name in ("out", "clips", "over"))
        return {path: path.read_bytes() for folder in folders for path in folder.rglob("*") if path.is_file()}

    assert detect(first).code == 0
    of_first = outputs()
    assert len(of_first) == 4
    refused = detect(second)
    assert refused.code == 3 and outputs() == of_first
    assert f"error: {second}: " in refused.err and str(first) in refused.err and "another folder" in refused.err
    moved.parent.mkdir()
    first.rename(moved)
    again = detect(moved)  # the same video elsewhere
    assert again.code == 0 and outputs().keys() == of_first.keys() and "warning" not in again.err
    moved.write_bytes(second.read_bytes())
    replaced = detect(moved)
    assert replaced.code == 0 and replaced.err.count("made from an earlier") == 3
    assert len(outputs()) == 4 and outputs().keys() != of_first.keys()  # the earlier clips are gone


@pytest.mark.slow
def test_features_stand_for_their_video(run: Tal, clips: Path, tmp_path: Path) -> None:
    run("extract-features", clips / "first.mp4", "--out", tmp_path)
    assert run("detect", tmp_path / "first.npy", "-f", "csv").out == run("detect", clips / "first.mp4", "-f", "csv").out


@pytest.mark.slow
def test_features_under_another_contract_are_rejected_by_name(run: Tal, clips: Path, tmp_path: Path) -> None:
    run("extract-features", clips / "first.mp4", "--out", tmp_path, "--fps", 12)
    done = run("detect", tmp_path / "first.npy", clips / "second.mp4", "-f", "jsonl")
    assert done.code == 2
    assert "sampling_rate: wanted none, found 12.0" in done.err
    assert [json.loads(line)["video"] for line in done.out.splitlines()] == ["second"]
    assert run("detect", tmp_path / "first.npy", "--force").code == 0


def test_other_peoples_features(run: Tal, tmp_path: Path) -> None:
    from tal_cli.extractors.backbones import create_backbone

    channels = create_backbone("tiny").contract.channels
    np.save(tmp_path / "theirs.npy", np.random.default_rng(0).normal(size=(50, channels)).astype(np.float32))
    refused = run("detect", tmp_path / "theirs.npy")
    assert refused.code == 2 and "--fps" in refused.err
    done = run("detect", tmp_path / "theirs.npy", "--fps", 25)
    assert done.code == 0
    assert "note: " in done.err and "assuming the contract" in done.err
    assert json.loads(done.out)["external_data"]["videos"]["theirs"]["duration"] == pytest.approx((49 * 4 + 16) / 25)
    np.save(tmp_path / "narrow.npy", np.zeros((50, 7), np.float32))
    narrow = run("detect", tmp_path / "narrow.npy", "--fps", 25)
    assert narrow.code == 2 and f"7 channels, model small expects {channels}" in narrow.err


def test_hostile_feature_files(run: Tal, tmp_path: Path) -> None:
    np.save(tmp_path / "pickle.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.save(tmp_path / "nan.npy", np.full((20, 5), np.nan, np.float32))
    (tmp_path / "text.npy").write_text("hello")
    done = run("detect", *sorted(tmp_path.glob("*.npy")), "--fps", 25, "-f", "jsonl")
    assert (done.code, done.out) == (3, "")
    assert len(done.err.splitlines()) == 3


def test_short_and_single_frame_videos(run: Tal, tmp_path: Path) -> None:
    for frames in (1, 15, 17):
        render_clip(tmp_path / f"f{frames}.mp4", frames=frames)
    done = run("detect", tmp_path, "-f", "json")
    assert done.code == 0
    facts = json.loads(done.out)["external_data"]["videos"]
    assert {name: fact["frames"] for name, fact in facts.items()} == {"f1": 1, "f15": 15, "f17": 17}


def test_python_api(clips: Path, home: Path) -> None:
    detector = VideoDetector.load(home / "models" / "small", device="cpu")
    found = detector.detect(clips / "first.mp4", top_k=3)
    assert (found.video, found.duration, found.fps, found.frames) == ("first", 2.4, 25.0, 60)
    assert len(found.segments) == 3
    assert detector.labels == tuple(LABELS)
    with pytest.raises(UsageError, match="fly"):
        detector.detect(clips / "first.mp4", labels=["fly"])


# Real videos of all kinds, among them one that cannot be decoded to its end and one too short for a window.
REAL = (
    "mmaction2_test.avi",
    "decord_corrupted.mp4",
    "decord_flipping_a_pancake.mkv",
    "moviepy_1x1_pixel.mp4",
    "torchcodec_h265_10bits.mp4",
    "torchcodec_nasa_13013.mp4",
)


@pytest.fixture
def real_videos(shared: Path) -> list[Path]:
    return [shared / "videos" / name for name in REAL]


@pytest.mark.slow
def test_videos_in_parallel_give_exactly_the_same(tal: Tal, real_videos: list[Path]) -> None:
    """Two torch threads, so that each process also computes several blocks of a video at once."""
    found = []
    for workers in (1, 4):
        options = ("-m", "camera", "--min-score", 0, "--workers", workers)
        done = tal("detect", *real_videos, *options, env={"OMP_NUM_THREADS": "2"})
        assert done.code == 0, done.err
        found.append(json.loads(done.out))
    assert found[0]["results"] == found[1]["results"]
    assert found[0]["external_data"] == found[1]["external_data"]
    assert len(found[0]["results"]["torchcodec_nasa_13013"]) > 100


@pytest.mark.slow
def test_threads_share_a_detector(real_videos: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Extractor] = []

    class Counted(Extractor):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            made.append(self)

    monkeypatch.setattr("tal_cli.api.Extractor", Counted)
    alone = VideoDetector.load("camera", device="cpu")
    expected = [alone.detect(video, min_score=0) for video in real_videos]
    _start_pool.cache_clear()
    together = VideoDetector.load("camera", device="cpu")
    # From here on no thread changes the number of torch's threads, on which rounding depends.
    monkeypatch.setattr("torch.set_num_threads", lambda count: pytest.fail("the thread count changes"))
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda video: together.detect(video, min_score=0), real_videos * 2))
    assert found == expected * 2
    assert made == [alone.extractor, together.extractor]
