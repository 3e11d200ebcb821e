"""Many videos: what is left to do, who does it, failures, and runs that are killed. Workers are real processes."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tal_cli.extractors.corpus.local import LocalEngine
from tal_cli.extractors.corpus.run import Job, Outcome, Summary, is_done, run_corpus
from tal_cli.extractors.corpus.worker_config import Setup, WorkerError, pack, unpack
from tal_cli.extractors.errors import (
    DecoderUnavailable,
    FeatureError,
    PackageMissing,
    RemoteError,
    VideoError,
    WeightsError,
    WeightsMissing,
)
from tal_cli.extractors.features.files import load_features
from tal_cli.extractors.files import child

Encode = Callable[..., Path]
REPOSITORY = Path(__file__).resolve().parents[3]
TINY = Setup(extractor="tiny")


def jobs_for(videos: Sequence[Path], folder: Path) -> list[Job]:
    return [Job(os.fspath(video), os.fspath(folder / f"{index}.npy")) for index, video in enumerate(videos)]


def run(jobs: Sequence[Job], *, overwrite: bool = False, videos_each: int = 1, patience: float = 60.0) -> list[Outcome]:
    """The jobs' outcomes, in their order, by one local worker."""
    outcomes = run_corpus(
        jobs,
        TINY.contract(),
        lambda: LocalEngine(TINY, ["cpu"], videos_each=videos_each, patience=patience),
        overwrite=overwrite,
    )
    found = {outcome.job: outcome for outcome in outcomes}
    return [found[job] for job in jobs]


def kinds(outcomes: Sequence[Outcome]) -> list[str]:
    return ["kept" if outcome.kept else "done" if outcome.done else "failed" for outcome in outcomes]


@pytest.mark.slow
def test_one_failure_costs_one_video(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"broken")
    out = tmp_path / "out"
    jobs = jobs_for([plain, tmp_path / "broken.mp4", tmp_path / "absent.mp4", plain], out)
    outcomes = run(jobs, videos_each=2)
    assert kinds(outcomes) == ["done", "failed", "failed", "done"]
    assert isinstance(outcomes[1].error, VideoError)
    assert outcomes[1].error.path == os.fspath(tmp_path / "broken.mp4")
    assert (outcomes[0].frames, outcomes[0].duration, outcomes[0].warnings) == (60, pytest.approx(2.4), ())
    assert sorted(os.listdir(out)) == ["0.json", "0.npy", "3.json", "3.npy"]
    # Another contract is redone, what a killed run left is removed, even where nothing is left to do.
    description = json.loads((out / "3.json").read_text())
    description["contract"]["layer"] = "another"
    (out / "3.json").write_text(json.dumps(description))
    for name in (".0.npy.123.part", ".3.json.77.part", ".3.lock"):
        (out / name).write_bytes(b"half")
    (out / ".other.npy.5.part").write_bytes(b"not of this run")
    assert kinds(run([jobs[0], jobs[3]])) == ["kept", "done"]
    assert sorted(os.listdir(out)) == [".other.npy.5.part", "0.json", "0.npy", "3.json", "3.npy"]
    assert is_done(jobs[3], TINY.contract())
    assert kinds(run([jobs[0]], overwrite=True)) == ["done"]


@pytest.mark.slow
def test_what_is_done_needs_no_worker(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "0.npy").write_bytes(b"x")
    job = Job(os.fspath(plain), os.fspath(tmp_path / "0.npy"))
    assert not is_done(job, TINY.contract())
    (tmp_path / "0.json").write_text("[]")
    assert not is_done(job, TINY.contract())
    run([job])
    monkeypatch.setattr(child, "BOOTSTRAP", "raise SystemExit('never')")
    assert kinds(run([job])) == ["kept"]


@pytest.mark.slow
def test_features_of_another_video_of_that_name_are_not_taken_for_its_own(plain: Path, tmp_path: Path) -> None:
    video = tmp_path / "GOPR0001.mp4"
    job = Job(os.fspath(video), os.fspath(tmp_path / "out" / "GOPR0001.npy"))
    shutil.copy(plain, video)
    assert kinds(run([job])) == ["done"] and kinds(run([job])) == ["kept"]
    content = bytearray(video.read_bytes())
    content[-1] ^= 1
    video.write_bytes(content)  # as long as it was
    (outcome,) = run([job])
    assert isinstance(outcome.error, FeatureError) and "features of an earlier video" in str(outcome.error)
    assert "--overwrite" in outcome.error.remedy
    other = Job(os.fspath(tmp_path / "other.mp4"), job.target)
    Path(other.video).write_bytes(content)
    with pytest.raises(FeatureError, match=re.escape(f"another video, {video}, not those of {other.video}")):
        is_done(other, replace(TINY.contract(), layer="another"))  # nor are they overwritten
    assert kinds(run([job], overwrite=True)) == ["done"] and kinds(run([job])) == ["kept"]


def test_a_target_that_cannot_be_written_costs_one_video(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no folder")
    outcome = run([Job(os.fspath(plain), os.fspath(tmp_path / "file" / "x.npy"))])[0]
    assert str(outcome.error) == f"{tmp_path}/file/x.npy: cannot be written: its folder is a file"


def run_before(monkeypatch: pytest.MonkeyPatch, statements: str) -> None:
    """Let workers run some statements before they begin."""
    path, work = child.BOOTSTRAP.rsplit("; ", 1)
    monkeypatch.setattr(child, "BOOTSTRAP", f"{path}; exec({statements!r}); {work}")


# A worker without torch, whose videos do what their names say.
STUB = """
import ctypes, os, time
from types import SimpleNamespace
from tal_cli.extractors.corpus.run import Outcome
from tal_cli.extractors.corpus import worker
from tal_cli.extractors.corpus.worker_config import Setup
def prepared(first):
    setup = Setup(extractor="tiny")
    return setup, SimpleNamespace(backbone=SimpleNamespace(contract=setup.contract()))
def run_job(job, *arguments, **more):
    name = os.path.basename(job.video)
    if "crash" in name:
        ctypes.string_at(0)
    if "hang" in name:
        time.sleep(1000)
    if "defect" in name:
        raise KeyError("unforeseen")
    return Outcome(job, frames=len(name))
worker.prepared, worker.run_job = prepared, run_job
"""


@pytest.mark.slow
def test_crashes_hangs_and_defects_cost_one_video_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_before(monkeypatch, STUB)
    names = ["a", "crash", "b", "hang", "c", "defect", "d", "crash again"]
    outcomes = run(jobs_for([Path(name) for name in names], tmp_path / "out"), videos_each=3, patience=4.0)
    assert kinds(outcomes) == ["done", "failed", "done", "failed", "done", "failed", "done", "failed"]
    said = [str(outcome.error) for outcome in outcomes]
    for index in (1, 7):
        assert said[index] == f"{names[index]}: its worker process failed twice: it crashed (SIGSEGV)"
    assert said[3] == "hang: it made no progress for 4 s"
    assert said[5] == "KeyError: 'unforeseen'"
    assert isinstance(outcomes[5].error, WorkerError)
    assert "in run_job" in str(outcomes[5].error.__cause__)


def test_every_device_has_a_worker_when_there_is_work_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_before(monkeypatch, STUB.replace("return Outcome", "time.sleep(0.2); return Outcome"))
    engine = LocalEngine(TINY, ["cpu", "cpu", "cpu"], videos_each=2)
    jobs = jobs_for([Path(str(index)) for index in range(6)], tmp_path)
    engine.submit(jobs[0])
    assert len(engine.workers) == 1
    for job in jobs[1:]:
        assert engine.has_room()
        engine.submit(job)
    assert not engine.has_room()
    assert [len(worker.jobs) for worker in engine.workers] == [2, 2, 2]
    pids = [worker.child.pid for worker in engine.workers]
    outcomes: list[Outcome] = []
    while len(outcomes) < 6:
        outcomes += engine.wait(1.0)
    assert {outcome.job for outcome in outcomes} == set(jobs)
    engine.close()
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def test_workers_that_cannot_begin_end_the_run(plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_before(monkeypatch, "raise SystemExit('no room')")
    with pytest.raises(WorkerError, match=r"process on cpu could not start: it ended early with code 1 \(no room"):
        run(jobs_for([plain], tmp_path))
    assert not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_what_no_worker_can_do_is_raised_as_it_is(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").write_bytes(b"none")
    setup = Setup(extractor="r3d_18", weights=(os.fspath(tmp_path / "weights.safetensors"),))
    with pytest.raises(WeightsError, match=r"weights.safetensors"):
        list(run_corpus(jobs_for([plain], tmp_path), setup.contract(), lambda: LocalEngine(setup, ["cpu"])))
    assert os.listdir(tmp_path) == ["weights.safetensors"]
    with pytest.raises(WeightsError, match="/absent: no such weights file"):
        Setup(extractor="r3d_18", weights=("/absent",)).contract()
    with pytest.raises(ValueError, match="unknown extractor"):
        Setup(extractor="absent").contract()
    with pytest.raises(ValueError, match="it takes 0"):
        Setup(extractor="tiny", weights=("x",)).contract()


@pytest.mark.parametrize(
    "error",
    [
        VideoError("a", "b"),
        RemoteError("a", "b"),
        DecoderUnavailable("decord", "absent"),
        PackageMissing("s3fs", "s3"),
        WeightsMissing("i3d", "get them"),
        WeightsError("unfit"),
        ValueError("value"),
        PermissionError(13, "not allowed", "/x"),
    ],
)
def test_errors_travel(error: Exception) -> None:
    found = unpack(json.loads(json.dumps(pack(error))))
    assert (type(found), str(found), vars(found)) == (type(error), str(error), vars(error))


def test_a_summary_counts() -> None:
    total = Summary()
    total.add(Outcome(Job("a", "b"), frames=10, duration=7200.0))
    total.add(Outcome(Job("c", "d"), kept=True))
    total.add(Outcome(Job("e", "f"), error=VideoError("e", "why")))
    total.since -= 3600
    assert (total.done, total.kept, total.failed, total.frames) == (1, 1, [("e", "why")], 10)
    assert total.hours_per_hour == pytest.approx(2.0, rel=0.01)


SCRIPT = """
import sys
from pathlib import Path
from tal_cli.extractors.files import child
from tal_cli.extractors.corpus.run import Job, run_corpus
from tal_cli.extractors.corpus.local import LocalEngine
from tal_cli.extractors.corpus.worker_config import Setup
folder, setup = Path(sys.argv[1]), Setup(extractor="tiny")
if len(sys.argv) > 2:
    path, work = child.BOOTSTRAP.rsplit("; ", 1)
    child.BOOTSTRAP = f"{path}; exec({sys.argv[2]!r}); {work}"
jobs = [Job(str(video), str(folder / "out" / f"{video.stem}.npy")) for video in sorted(folder.glob("*.mp4"))]
for outcome in run_corpus(jobs, setup.contract(), lambda: LocalEngine(setup, ["cpu"])):
    what = "kept" if outcome.kept else "done" if outcome.done else outcome.error
    print(Path(outcome.job.video).stem, what, flush=True)
"""


def start(folder: Path, *statements: str) -> subprocess.Popen[str]:
    """A run over all videos in a folder, as a process of its own that has just begun; it prints what it has done."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    return subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), *statements], env=environment, stdout=subprocess.PIPE, text=True
    )


@pytest.fixture
def many(encode: Encode, tmp_path: Path) -> list[str]:
    """Names of videos in the test's folder."""
    images = np.random.default_rng(0).integers(0, 255, (50, 32, 48, 3), np.uint8)
    first = encode(tmp_path / "00.mp4", images)
    names = [f"{index:02}" for index in range(24)]
    for name in names[1:]:
        (tmp_path / f"{name}.mp4").write_bytes(first.read_bytes())
    return names


@pytest.mark.slow
def test_killed_runs_leave_whole_files_and_are_finished_by_the_next(many: list[str], tmp_path: Path) -> None:
    moments = random.Random(3)
    for _ in range(2):
        process = start(tmp_path)
        assert process.stdout is not None
        process.stdout.readline()  # one more is done
        time.sleep(moments.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=10)
        assert_whole(tmp_path / "out")
    output, _ = start(tmp_path).communicate(timeout=60)
    assert set(output.split()) == {*many, "kept", "done"}
    assert_whole(tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == sorted([f"{name}.{end}" for name in many for end in ("json", "npy")])


WRITE = """
    import numpy as np
    from tal_cli.extractors.corpus.run import save
    from tal_cli.extractors.features.sequence import FeatureSequence
    contract = Setup(extractor="tiny").contract()
    features = np.ones((9, contract.channels), np.float32)
    time.sleep(0.1)
    save(FeatureSequence(features=features, contract=contract, fps=25.0, frames=50, duration=2.0), job)
"""


@pytest.mark.slow
def test_runs_on_one_folder_share_the_work_and_survive_each_other(many: list[str], tmp_path: Path) -> None:
    writing = STUB.replace("    return Outcome", WRITE + "    return Outcome")
    runs = [start(tmp_path, writing) for _ in range(3)]
    assert runs[0].stdout is not None
    seen = [runs[0].stdout.readline()]
    runs[0].send_signal(signal.SIGKILL)
    outputs = [
        "".join([*seen, runs[0].communicate()[0]]),
        *(process.communicate(timeout=60)[0] for process in runs[1:]),
    ]
    lines = [line.split() for output in outputs for line in output.splitlines()]
    done = Counter(name for name, what in lines if what == "done")
    # Only jobs that the killed run finished without reporting are missing.
    assert set(done.values()) == {1}
    assert len(done) >= len(many) - 1
    for output in outputs[1:]:
        assert sorted(line.split()[0] for line in output.splitlines()) == many
    assert_whole(tmp_path / "out")
    assert sorted(os.listdir(tmp_path / "out")) == sorted([f"{name}.{end}" for name in many for end in ("json", "npy")])


def assert_whole(folder: Path) -> None:
    """Everything under a final name can be read."""
    for path in folder.glob("[!.]*.npy"):
        assert load_features(path).features.shape[0] == 9
    for path in folder.glob("[!.]*.json"):
        assert json.loads(path.read_text())["shape"][0] == 9
