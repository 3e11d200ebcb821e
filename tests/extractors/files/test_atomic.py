"""Atomic writes, and partial files of processes that were killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO

import pytest

from tal_cli.extractors.files.atomic import (
    folder_written_atomically,
    leftovers,
    scratch_folder,
    sweep,
    write_atomically,
)

REPOSITORY = Path(__file__).resolve().parents[3]
KILLED = """
import os, signal, sys
from pathlib import Path
from tal_cli.extractors.files.atomic import write_atomically
def write(file):
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
write_atomically(Path(sys.argv[1]), write)
"""


def killed_while_writing(path: Path) -> Path:
    """What a process that is killed leaves beside a file."""
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(path)], env=environment)
    assert process.wait() == -signal.SIGKILL
    return path.with_name(f".{path.name}.{process.pid}.part")


@pytest.mark.parametrize("name", ["found.json", "x" * 240 + ".json"])
def test_the_next_run_removes_what_a_killed_one_left(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    killed_while_writing(path)
    ((half,),) = leftovers(tmp_path).values()
    assert half.read_bytes() == b"half" and not path.exists()
    write_atomically(path, b"whole")
    assert path.read_bytes() == b"whole" and os.listdir(tmp_path) == [name]


def test_what_others_write_is_left_alone(tmp_path: Path) -> None:
    living = tmp_path / f".found.json.{os.getppid()}.part"
    lock = tmp_path / ".found.lock"
    for file in (living, lock):
        file.write_bytes(b"")
    other = killed_while_writing(tmp_path / "other.json")
    write_atomically(tmp_path / "found.json", b"whole")
    assert sorted(tmp_path.iterdir()) == sorted([living, lock, other, tmp_path / "found.json"])
    assert leftovers(tmp_path) == {"found.json": [living], "found": [lock], "other.json": [other]}
    sweep([living, lock, other])
    assert living.exists() and lock.exists() and not other.exists()
    assert leftovers(tmp_path / "absent") == {}


def test_a_failure_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "found.json"
    path.write_bytes(b"old")

    def fail(file: IO[bytes]) -> None:
        file.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, fail)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["found.json"]


def test_a_folder_appears_with_all_its_files(tmp_path: Path) -> None:
    path = tmp_path / "model"
    for content in ("old", "new"):
        with folder_written_atomically(path) as partial:
            (partial / "a").write_text(content)
            assert not path.exists() or (path / "a").read_text() == "old"
            (partial / "b").write_text(content)
    assert {file.name: file.read_text() for file in path.iterdir()} == {"a": "new", "b": "new"}
    with pytest.raises(KeyboardInterrupt), folder_written_atomically(path) as partial:
        (partial / "a").write_text("broken")
        raise KeyboardInterrupt
    assert (path / "a").read_text() == "new" and os.listdir(tmp_path) == ["model"]


FOLDER_KILLED = """
import os, signal, sys
from pathlib import Path
from tal_cli.extractors.files.atomic import folder_written_atomically
with folder_written_atomically(Path(sys.argv[1])) as partial:
    (partial / "a").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_killed_run_leaves_no_folder_and_the_next_one_removes_its_traces(tmp_path: Path) -> None:
    path = tmp_path / "model"
    assert subprocess.run([sys.executable, "-c", FOLDER_KILLED, str(path)]).returncode == -signal.SIGKILL
    assert not path.exists() and len(os.listdir(tmp_path)) == 1
    with folder_written_atomically(path) as partial:
        (partial / "a").write_text("whole")
    assert os.listdir(tmp_path) == ["model"] and (path / "a").read_text() == "whole"


SCRATCH_KILLED = """
import os, signal
from tal_cli.extractors.files.atomic import scratch_folder
with scratch_folder() as folder:
    (folder / "video.mp4").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_scratch_folders_of_killed_runs_are_removed_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    others = tmp_path / ".other.1.part"
    others.mkdir()
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONPATH": str(REPOSITORY)}
    killed = subprocess.run([sys.executable, "-c", SCRATCH_KILLED], env=environment)
    assert killed.returncode == -signal.SIGKILL and len(os.listdir(tmp_path)) == 2
    with scratch_folder() as first, scratch_folder() as second:
        assert sorted(tmp_path.iterdir()) == sorted([others, first, second])
        assert first.stat().st_mode & 0o77 == 0  # for its owner alone to read
    assert os.listdir(tmp_path) == [others.name]
