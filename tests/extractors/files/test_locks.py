"""Locks: one holder at a time, free as soon as the holder is gone, and no file left. Real processes throughout."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tal_cli.extractors.errors import InputError
from tal_cli.extractors.files.locks import Locks, lock_path

REPOSITORY = Path(__file__).resolve().parents[3]


def test_one_run_holds_a_lock(tmp_path: Path) -> None:
    ours, theirs = Locks(), Locks()
    target = f"{tmp_path}/deep/a.npy"
    assert ours.take(target)
    assert not theirs.take(target)
    assert not theirs.take(f"{tmp_path}/deep/a.npz")  # the description beside both is one file
    assert theirs.take(f"file://{tmp_path}/deep/b.npy")
    theirs.release(target)  # not theirs to give
    assert not theirs.take(target)
    ours.release(target)
    assert theirs.take(target)
    theirs.close()
    assert ours.take(target)
    ours.close()
    assert os.listdir(tmp_path / "deep") == []


def test_names_may_be_long_and_without_suffix(tmp_path: Path) -> None:
    ours = Locks()
    for name in ("x" * 250 + ".npy", "noend", ".npy"):
        assert ours.take(os.fspath(tmp_path / name))
    ours.close()
    assert os.listdir(tmp_path) == []


def test_a_lock_whose_file_was_removed_meanwhile_does_not_count(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import fcntl

    target = os.fspath(tmp_path / "a.npy")
    really, ours, theirs = fcntl.flock, Locks(), Locks()
    assert ours.take(target)

    def late(file: int, how: int) -> None:
        monkeypatch.setattr(fcntl, "flock", really)
        ours.release(target)  # after theirs has opened the file, before it locks it
        really(file, how)

    monkeypatch.setattr(fcntl, "flock", late)
    assert not theirs.take(target)
    assert theirs.take(target) and not ours.take(target)


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    def none(file: int, how: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", none)
    ours = Locks()
    assert ours.take(os.fspath(tmp_path / "a.npy"))
    ours.close()
    assert os.listdir(tmp_path) == []


def test_urls_have_no_locks() -> None:
    ours, theirs = Locks(), Locks()
    assert ours.take("memory://folder/a.npy") and theirs.take("memory://folder/a.npy")
    ours.release("memory://folder/a.npy")


def test_a_folder_that_cannot_be_written_to_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"no folder")
    with pytest.raises(InputError, match=r"file/a\.npy: cannot be written: its folder is a file"):
        Locks().take(os.fspath(tmp_path / "file" / "a.npy"))


SCRIPT = """
import sys, time
from tal_cli.extractors.files.locks import Locks
locks = Locks()
print("ready", flush=True)
sys.stdin.readline()
print(*[index for index in range(int(sys.argv[2])) if locks.take(f"{sys.argv[1]}/{index}.npy")], flush=True)
sys.stdin.readline()
locks.close()
"""


def start(folder: Path, count: int) -> subprocess.Popen[str]:
    """A process that takes and releases a lock when told to."""
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


@pytest.mark.slow
def test_racing_processes_share_out_the_locks_of_a_killed_one(tmp_path: Path) -> None:
    count = 150
    killed = start(tmp_path, count)
    assert taken_by(killed) == [list(range(count))]
    assert not Locks().take(os.fspath(tmp_path / "0.npy"))
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    assert lock_path(os.fspath(tmp_path / "0.npy")).exists()
    racers = [start(tmp_path, count) for _ in range(3)]
    shares = taken_by(*racers)
    for racer in racers:
        racer.communicate("done\n", timeout=60)
    assert sorted(index for taken in shares for index in taken) == list(range(count))
    assert os.listdir(tmp_path) == []
