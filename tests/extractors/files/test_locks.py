"""Claims: one holder at a time, the dead ones' claims taken over, by real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from tal_cli.extractors.files import locks
from tal_cli.extractors.files.locks import Claims, Holder, claim_of, create, machine, take_over
from tal_cli.extractors.files.remote import read

REPOSITORY = Path(__file__).resolve().parents[3]
ELSEWHERE = Holder("1" * 32, "another machine", 7, "then")


@pytest.fixture(params=["path", "url"])
def folder(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where claims may stand: a folder of this machine, or of an fsspec store."""
    return os.fspath(tmp_path) if request.param == "path" else f"memory://{tmp_path.name}"


def test_one_run_holds_a_claim(folder: str) -> None:
    ours, theirs = Claims(), Claims()
    target = f"{folder}/deep/a.npy"
    assert ours.take(target)
    assert not theirs.take(target)
    assert not theirs.take(f"{folder}/deep/a.npz")  # the description beside both is one file
    assert theirs.take(f"{folder}/deep/b.npy")
    theirs.release(target)  # not theirs to give
    assert not theirs.take(target)
    ours.release(target)
    assert theirs.take(target)
    theirs.close()
    assert ours.take(target)
    ours.close()
    if "://" not in folder:
        assert list(Path(folder).rglob("*.*")) == []


def test_names_may_be_long_and_without_suffix(tmp_path: Path) -> None:
    ours = Claims()
    for name in ("x" * 250 + ".npy", "noend", ".npy"):
        assert ours.take(os.fspath(tmp_path / name))
    ours.close()


def test_claims_of_other_machines_are_watched(folder: str) -> None:
    target = f"{folder}/a.npy"
    assert create(claim_of(target), ELSEWHERE)
    patient, quick = Claims(), Claims(patience=-1.0)
    assert not patient.take(target)
    assert not patient.take(target)
    assert not quick.take(target)  # the first look only begins the watch
    locks.touch(claim_of(target), ELSEWHERE)
    assert not quick.take(target)  # it has been touched since
    assert quick.take(target)
    assert not patient.take(target)


def test_claims_are_touched_while_they_are_held(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(locks, "time", SimpleNamespace(monotonic=lambda: now))
    ours, watcher = Claims(beat=0.02), Claims(patience=100.0)
    target = f"{folder}/a.npy"
    assert ours.take(target)
    # As if it came from another machine, which leaves nothing but watching.
    mine = replace(next(iter(ours._held.values())), machine="another machine")
    ours._held[claim_of(target)] = mine
    locks.remove(claim_of(target))
    assert create(claim_of(target), mine)
    for _ in range(3):
        assert not watcher.take(target)
        found, now = locks.mark(claim_of(target)), now + 200.0
        while locks.mark(claim_of(target)) == found:
            time.sleep(0.01)
    ours._ended.set()
    ours._held.clear()
    time.sleep(0.1)  # a touch that had begun
    assert not watcher.take(target)
    now += 200.0
    assert watcher.take(target)


def test_a_process_id_used_again_is_another_process(folder: str) -> None:
    target = f"{folder}/a.npy"
    assert create(claim_of(target), Holder("2" * 32, machine(), os.getpid(), "long ago"))
    ours = Claims()
    assert ours.take(target)
    ours.close()


def test_a_stale_claim_is_taken_over_once(folder: str) -> None:
    target = claim_of(f"{folder}/a.npy")
    assert create(target, ELSEWHERE)
    found = locks.mark(target)
    assert found is not None
    first, second = (replace(ELSEWHERE, token=digit * 32) for digit in "34")
    assert take_over(target, found, first)
    assert not take_over(target, found, second)
    assert json.loads(read(target))["token"] == "3" * 32


@pytest.mark.parametrize("process", [b"", b'"../../etc"', b"-1", b"null"])
def test_damaged_claims_are_taken_over_in_the_end(tmp_path: Path, process: bytes) -> None:
    content = b'{"token": "1", "machine": "%s", "process": %s, "started": "1"}' % (machine().encode(), process)
    (tmp_path / ".a.claim").write_bytes(content if process else b"\xff{")
    ours = Claims(patience=-1.0)
    assert not ours.take(os.fspath(tmp_path / "a.npy"))
    assert ours.take(os.fspath(tmp_path / "a.npy"))


SCRIPT = """
import sys, time
from tal_cli.extractors.files.locks import Claims
claims = Claims()
print("ready", flush=True)
sys.stdin.readline()
print(*[index for index in range(int(sys.argv[2])) if claims.take(f"{sys.argv[1]}/{index}.npy")], flush=True)
time.sleep(60)
"""


def start(folder: Path, count: int) -> subprocess.Popen[str]:
    """A process that takes what it can when it is told to, and then lives on."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), str(count)],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def taken_by(*processes: subprocess.Popen[str]) -> list[list[int]]:
    """What each takes when all begin at once."""
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    return [[int(word) for word in process.stdout.readline().split()] for process in processes if process.stdout]


def test_racing_processes_share_out_dead_claims(tmp_path: Path) -> None:
    count = 150
    dead = start(tmp_path, count)
    assert taken_by(dead) == [list(range(count))]
    assert not Claims().take(os.fspath(tmp_path / "0.npy"))
    dead.send_signal(signal.SIGKILL)
    dead.wait()
    racers = [start(tmp_path, count) for _ in range(2)]
    shares = taken_by(*racers)
    for racer in racers:
        racer.kill()
        racer.wait()
    assert sorted(shares[0] + shares[1]) == list(range(count))
