"""`tal extract-features --engine ray` on a real cluster of this machine, some of whose processes are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from small_runs import TAL, Tal, render_clip

from tal_cli.extractors.corpus.ray import Model, layout
from tal_cli.extractors.corpus.worker_config import Setup, unpack
from tal_cli.extractors.errors import WeightsError
from tal_cli.extractors.features.files import load_features


def descendants(pid: int) -> Iterator[int]:
    """Processes that a process has started, and what those have started."""
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = [int(child) for child in path.read_text().split()]
        except OSError:
            continue
        for child in children:
            yield child
            yield from descendants(child)


def titles(pid: int) -> dict[int, str]:
    """Ray's processes under that one, with what they are at."""
    found = {}
    for child in descendants(pid):
        try:
            title = Path(f"/proc/{child}/cmdline").read_text().strip("\0")
        except OSError:
            continue
        if title.startswith("ray::"):
            found[child] = title
    return found


@pytest.mark.slow
def test_killed_processes_cost_nothing(environment: dict[str, str], tmp_path: Path) -> None:
    names = [f"{index}" for index in range(4)]
    for name in names:
        render_clip(tmp_path / "in" / f"{name}.mp4", frames=50, size=(320, 240), repeat=8)
    (tmp_path / "in" / "broken.mp4").write_bytes(b"broken")
    command = ["extract-features", tmp_path / "in", "--out", "out", "--engine", "ray", "--summary", "summary.json"]
    run = subprocess.Popen(
        [*TAL, *map(str, command)], env=environment, cwd=tmp_path, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )
    killed: list[str] = []
    for victim in ("ray::decoded", "ray::Model"):
        while run.poll() is None and len(killed) < 2:
            found = [pid for pid, title in titles(run.pid).items() if title.startswith(victim)]
            # The actor when it has something to lose: its first result is there, others are on their way.
            if found and (victim == "ray::decoded" or list((tmp_path / "out").glob("*.json"))):
                os.kill(found[0], signal.SIGKILL)
                killed.append(victim)
                break
            time.sleep(0.01)
    out, err = run.communicate(timeout=240)
    assert killed == ["ray::decoded", "ray::Model"]
    assert (run.returncode, out) == (3, b""), err.decode()
    errors = [line for line in err.decode().splitlines() if line.startswith("error: ")]
    assert [line.split(": ")[1] for line in errors] == [str(tmp_path / "in" / "broken.mp4")]
    assert sorted(os.listdir(tmp_path / "out")) == sorted(f"{name}.{end}" for name in names for end in ("json", "npy"))
    for name in names:
        assert load_features(tmp_path / "out" / f"{name}.npy").frames == 400
    summary = json.loads((tmp_path / "summary.json").read_text())
    assert (summary["done"], summary["kept"], len(summary["failed"])) == (4, 0, 1)


CLUSTER = """\
import sys

import ray

cluster = ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
print(cluster.address_info["gcs_address"], flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_runs_share_a_cluster_with_no_more_cores_than_runs(environment: dict[str, str], tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        render_clip(tmp_path / "in" / f"{name}.mp4", frames=50, size=(320, 240), repeat=8)
    # A cluster asks for a token, which a run that is given an address sends in this mode only.
    variables = environment | {"RAY_AUTH_MODE": "token"}
    cluster = subprocess.Popen(
        [sys.executable, "-c", CLUSTER], env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert cluster.stdout is not None
    options = ["--engine", "ray", "--address", cluster.stdout.readline().strip()]
    command = [*TAL, "extract-features", str(tmp_path / "in"), *options, "--out"]
    runs = [subprocess.Popen([*command, str(tmp_path / out)], env=variables) for out in ("first", "second")]
    assert [run.wait(240) for run in runs] == [0, 0]
    for out in ("first", "second"):
        assert sorted(path.name for path in (tmp_path / out).glob("*.npy")) == ["a.npy", "b.npy", "c.npy"]
    cluster.communicate()


def test_a_cluster_that_does_not_answer_is_told_at_once(run: Tal, clips: Path, tmp_path: Path) -> None:
    done = run(
        "extract-features", clips / "first.mp4", "--out", tmp_path, "--engine", "ray", "--address", "127.0.0.1:1"
    )
    assert (done.code, done.out) == (2, "")
    assert "no Ray cluster answers at 127.0.0.1:1 (Connection refused)" in done.err
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_an_actor_says_why_it_cannot_work(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"none")
    failure = Model(Setup(extractor="r3d_18", weights=(str(tmp_path / "x.safetensors"),))).ready()
    assert failure is not None
    assert isinstance(unpack(failure), WeightsError)
    assert Model(Setup(extractor="tiny")).ready() is None


@pytest.mark.parametrize(
    ("found", "workers", "expected"),
    [
        ({"CPU": 1.0}, None, (1, 1, {})),
        ({"CPU": 2.0}, None, (1, 1, {})),
        ({"CPU": 64.0}, None, (8, 4, {})),
        ({"CPU": 64.0}, 3, (3, 4, {})),
        ({"CPU": 64.0, "GPU": 4.0}, None, (4, None, {"num_gpus": 1, "num_cpus": 0})),
    ],
)
def test_actors_leave_room_for_decoding(
    found: dict[str, float], workers: int | None, expected: tuple[int, int | None, dict[str, float]]
) -> None:
    assert layout(found, workers) == expected
