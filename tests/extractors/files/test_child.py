"""Child processes: messages, time-outs, crashes, and that nothing is left of one. Real processes throughout."""

from __future__ import annotations

import gc
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from tal_cli.extractors.files.child import Child, ChildFailed, Inbox, end, read_json

Json = dict[str, Any]
Start = Callable[..., "Child[Json]"]
# Says what it is told, until it is told how to end.
MODULE = """
import json, os, signal, sys, time
from tal_cli.extractors.files.child_side import send_json, take_output
def main():
    output = take_output()
    for line in sys.stdin:
        word = json.loads(line)
        if word == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if word == "hang":
            time.sleep(1000)
        if word == "fail":
            print("x" * 1_000_000, "\\nout of luck\\n", file=sys.stderr)
            sys.exit(3)
        if word == "nonsense":
            os.write(output, b"nonsense\\n")
        if word == "flood":
            for index in range(1000):
                send_json(output, {"index": index, "filler": "x" * 10_000})
        send_json(output, {"length": len(word), "path": sys.path, "modules": sorted(sys.modules)})
"""


@pytest.fixture
def start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Start:
    """Starts the child above."""
    (tmp_path / "sayer.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)

    def child(inbox: Inbox[Json] | None = None) -> Child[Json]:
        return Child("sayer", read_json, inbox)

    return child


def tell(child: Child[Json], word: str) -> None:
    child.send(f'"{word}"'.encode())


def test_messages_of_any_length_go_both_ways(start: Start) -> None:
    with start() as child:
        for length in (1, 1_000_000):
            tell(child, "x" * length)
            answer = child.receive(60)
            assert answer["length"] == length
        home = str(Path(__file__).resolve().parents[3])  # first, if it is there at all
        assert answer["path"] == sorted(filter(None, sys.path), key=lambda entry: entry != home)
        assert not {"numpy", "torch", "site"} & set(answer["modules"])


@pytest.mark.parametrize(
    ("word", "how"),
    [("crash", r"crashed \(SIGSEGV\)"), ("fail", r"ended early with code 3 \(out of luck\)")],
)
def test_an_end_is_told(start: Start, word: str, how: str) -> None:
    child = start()
    tell(child, word)
    with pytest.raises(ChildFailed, match=f"^{how}$"):
        child.receive(60)
    tell(child, "anybody there?")
    child.close()


def test_a_hang_is_told_and_ended(start: Start) -> None:
    child = start()
    tell(child, "hello")
    child.receive(60)
    tell(child, "hang")
    with pytest.raises(ChildFailed, match=r"made no progress for 0\.1 s"):
        child.receive(0.1)
    assert not Path(f"/proc/{child.pid}").exists()


def test_what_is_no_message_ends_the_conversation(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tal_cli.extractors.files.child.LAST_WORDS", 0.1)
    with start() as child:
        tell(child, "nonsense")
        with pytest.raises(ChildFailed, match="closed its output"):
            child.receive(60)


def test_a_full_inbox_makes_the_child_wait(start: Start) -> None:
    inbox: Inbox[Json] = queue.Queue(2)
    with start(inbox) as child:
        tell(child, "flood")
        while not inbox.full():
            time.sleep(0.01)
        assert [child.receive(60)["index"] for _ in range(1000)] == list(range(1000))


def test_children_share_an_inbox(start: Start) -> None:
    inbox: Inbox[Json] = queue.Queue()
    children = [start(inbox) for _ in range(3)]
    for index, child in enumerate(children):
        tell(child, "x" * index)
    found = dict(inbox.get(timeout=60) for _ in children)
    assert {number: message["length"] for number, message in found.items() if message} == {
        child.number: index for index, child in enumerate(children)
    }
    for child in children:
        child.close()


def used() -> tuple[int, int]:
    """Open file descriptors and threads of this process."""
    gc.collect()
    return len(os.listdir("/proc/self/fd")), threading.active_count()


@pytest.mark.slow
def test_nothing_is_left_of_a_child(start: Start) -> None:
    start().close()
    before = used()
    pids = []
    for word in ("", "hello", "hang", "flood"):
        with start(queue.Queue(1)) as child:
            pids.append(child.pid)
            if word:
                tell(child, word)
            child.close()
    child = start()  # and of one that is forgotten
    pids.append(child.pid)
    del child
    assert used() == before
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_pipe_stays_open_while_the_listener_reads_from_it(start: Start) -> None:
    reading, closed = threading.Event(), []

    def slowly(pipe: BinaryIO) -> Json | None:
        message = read_json(pipe)
        reading.set()
        time.sleep(0.2)
        closed.append(pipe.closed)
        return message

    child = Child("sayer", slowly)
    tell(child, "hello")
    assert reading.wait(60)
    child.close()
    assert closed and not any(closed)


def test_an_interrupt_before_the_listener_starts_ends_the_child_all_the_same() -> None:
    command = [sys.executable, "-c", "import time; time.sleep(60)"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    end(process, threading.Event(), threading.Thread())
    assert process.returncode == -signal.SIGKILL
    assert process.stdout is not None and process.stdout.closed


def test_modules_in_the_working_folder_do_no_harm(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("json", "tal_cli", "sayer", "sitecustomize"):
        (tmp_path / "here" / name).mkdir(parents=True)
        (tmp_path / "here" / name / "__init__.py").write_text("raise SystemExit('wrong module')")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.syspath_prepend("")
    with start() as child:
        tell(child, "hello")
        assert child.receive(60)["length"] == 5
