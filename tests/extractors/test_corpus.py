"""Many videos: failures, and runs that are killed."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from extractors.backbones import create_backbone
from extractors.corpus import Job, run_job
from extractors.store import is_finished, load_features
from extractors.video import VideoError

Encode = Callable[..., Path]
REPOSITORY = Path(__file__).resolve().parents[2]


def test_one_failure_costs_one_video(plain: Path, tmp_path: Path) -> None:
    (tmp_path / "broken.mp4").write_bytes(b"broken")
    videos = [plain, tmp_path / "broken.mp4", tmp_path / "absent.mp4", plain]
    jobs = [Job(video, tmp_path / "out" / f"{index}.npy") for index, video in enumerate(videos)]
    backbone = create_backbone("tiny")
    outcomes = {job: run_job(job, backbone) for job in jobs}
    assert [isinstance(outcomes[job].error, VideoError) for job in jobs] == [False, True, True, False]
    assert [is_finished(job.target) for job in jobs] == [True, False, False, True]
    again = [run_job(job, backbone).sequence for job in jobs]
    assert again == [None] * 4
    redone = [run_job(job, backbone, overwrite=True).sequence is not None for job in jobs]
    assert redone == [True, False, False, True]


def test_files_of_another_contract_are_redone(plain: Path, tmp_path: Path) -> None:
    job = Job(plain, tmp_path / "x.npy")
    backbone = create_backbone("tiny")
    run_job(job, backbone)
    description = json.loads((tmp_path / "x.json").read_text())
    description["contract"]["layer"] = "another"
    (tmp_path / "x.json").write_text(json.dumps(description))
    assert run_job(job, backbone).sequence is not None


SCRIPT = """
import sys
from pathlib import Path
from extractors.backbones import create_backbone
from extractors.corpus import Job, run_job
folder = Path(sys.argv[1])
print("ready", flush=True)
jobs = [Job(video, folder / "out" / f"{video.stem}.npy") for video in sorted(folder.glob("*.mp4"))]
backbone = create_backbone("tiny")
print([run_job(job, backbone).error for job in jobs])
"""


def start(folder: Path) -> subprocess.Popen[str]:
    """An extraction of all videos in a folder, as a process of its own that has just begun."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_killed_runs_leave_whole_files_and_are_finished_by_the_next(encode: Encode, tmp_path: Path) -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (50, 32, 48, 3), np.uint8)
    names = [f"{index:02}" for index in range(12)]
    for name in names:
        encode(tmp_path / f"{name}.mp4", pictures)
    moments = random.Random(3)
    for _ in range(3):
        process = start(tmp_path)
        time.sleep(moments.uniform(0.1, 1.2))
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert_whole(tmp_path / "out")
    process = start(tmp_path)
    output, _ = process.communicate(timeout=60)
    assert output.strip() == str([None] * len(names))
    assert_whole(tmp_path / "out")
    assert all(is_finished(tmp_path / "out" / f"{name}.npy") for name in names)


def assert_whole(folder: Path) -> None:
    """Everything under a final name can be read."""
    for path in folder.glob("[!.]*.npy"):
        assert load_features(path).features.shape[0] == 9
    for path in folder.glob("[!.]*.json"):
        assert json.loads(path.read_text())["shape"][0] == 9
