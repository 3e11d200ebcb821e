"""`tal extract-features` over a corpus: what is summed up, who computes where, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest
from small_runs import TAL, Tal, render_clip

from tal_cli import console
from tal_cli.commands import extraction_run
from tal_cli.extractors.corpus.run import Job, Outcome, Summary
from tal_cli.extractors.errors import UsageError
from tal_cli.inputs import gather


@pytest.mark.slow
def test_a_summary_says_what_became_of_all(run: Tal, clips: Path, tmp_path: Path) -> None:
    awkward = tmp_path / os.fsdecode(b"not utf-8 \xff.mp4")
    awkward.write_bytes(b"broken")
    videos = [clips / "first.mp4", clips / "broken.mp4", clips / "second.mp4", clips / "absent.mp4", awkward]
    run("extract-features", videos[0], "--out", tmp_path / "out")
    (tmp_path / "out" / ".second.npy.99.part").write_bytes(b"of a run that was killed")
    done = run("extract-features", *videos, "--out", tmp_path / "out", "--summary", tmp_path / "deep" / "all.json")
    assert (done.code, done.out) == (3, "")
    said = json.loads((tmp_path / "deep" / "all.json").read_text())
    assert (said["extractor"], said["done"], said["kept"], said["frames"]) == ("tiny", 1, 1, 40)
    assert said["video_seconds"] == pytest.approx(1.6)
    assert said["video_hours_per_hour"] == pytest.approx(1.6 / said["elapsed_seconds"], rel=0.1)
    assert {Path(failure["path"]).name: failure["reason"] for failure in said["failed"]} == {
        "absent.mp4": "no such file or folder",
        "broken.mp4": "it is not a video file, or its index is lost",
        "not utf-8 \\udcff.mp4": "it is not a video file, or its index is lost",
    }
    assert "1 feature file written to" in done.err
    assert "1 kept, 3 failed; " in done.err
    assert " hours per hour" in done.err
    assert sorted(os.listdir(tmp_path / "out")) == ["first.json", "first.npy", "second.json", "second.npy"]


@pytest.mark.slow
def test_an_interrupt_ends_at_once_and_leaves_nothing(
    environment: dict[str, str], long_clip: Path, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [*TAL, "extract-features", str(long_clip)], env=environment, cwd=tmp_path, stderr=subprocess.PIPE
    )
    until = time.monotonic() + 60
    while not list(tmp_path.glob("features/.*.lock")):
        assert time.monotonic() < until
        time.sleep(0.02)
    time.sleep(0.3)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, b"")
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
    assert children
    assert not any(Path(f"/proc/{child}").exists() for child in children)


@pytest.mark.slow
def test_a_changed_contract_is_told_and_another_one(run: Tal, clips: Path, tmp_path: Path) -> None:
    done = run("extract-features", clips / "first.mp4", "-x", "tiny", "--fps", "10", "--out", tmp_path)
    assert done.code == 0, done.err
    assert "not the contract of the published features: sampling_rate: 10.0, not none" in done.err
    contract = json.loads((tmp_path / "first.json").read_text())["contract"]
    assert contract["sampling_rate"] == 10.0


def test_videos_at_a_time_are_spread_over_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tal_cli.extractors.cpu.usable_cores", lambda: 32)
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 4)
    every = [f"cuda:{index}" for index in range(4)]
    assert extraction_run.layout("auto", 16, 100) == (every, 4, None)
    assert extraction_run.layout("cuda", 6, 100) == (every, 2, None)
    assert extraction_run.layout("cuda:2", 3, 100) == (["cuda:2"], 3, None)
    assert extraction_run.layout("cpu", 8, 100) == (["cpu"] * 4, 2, 8)
    assert extraction_run.layout("cpu", 1, 100) == (["cpu"], 1, None)
    monkeypatch.setattr("tal_cli.extractors.cpu.usable_cores", lambda: 2)
    assert extraction_run.layout("cpu", 3, 100) == (["cpu"], 3, None)
    with pytest.raises(UsageError, match="torch can use 4 CUDA devices"):
        extraction_run.layout("cuda:4", None, 1)


def test_every_video_that_is_worked_on_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(console, "is_lively", lambda: True)
    one, two = Job("a.mp4", "out/a.npy"), Job("b.mp4", "out/b.npy")
    with console.progress("videos", total=2, unit="videos"), extraction_run._Bars() as bars:
        bars(one, 1, 10)
        bars(two, 1, None)
        bars(one, 2, 10)
        shown = console._state.progress
        assert shown is not None
        assert [task.description for task in shown.tasks] == ["videos", "a", "b"]
        bars.end(one)
        bars.end(one)
        assert [task.description for task in shown.tasks] == ["videos", "b"]


def test_sentences_say_only_what_there_is() -> None:
    total = Summary()
    total.add(Outcome(Job("a", "b"), kept=True))
    assert extraction_run.sentence(total, "out") == "0 feature files written to out, 1 kept"


def test_only_those_who_ask_get_urls(tmp_path: Path) -> None:
    assert gather(["s3://bucket/x.mp4"]).problems[0].reason.startswith("URLs can only be read by")
    clip = render_clip(tmp_path / "x.mp4", frames=2)
    assert gather([f"file://{clip}"], remote=True).sources == gather([str(clip)]).sources
    assert gather([str(clip)]).sources[0].path_or_url == str(clip)
