"""The parent's side of work on a video: starts the child, hears how far it is, and ends it."""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, is_dataclass
from typing import IO, Any

from tal_cli.extractors.errors import InputError
from tal_cli.extractors.files.child import module_path
from tal_cli.extractors.video.stream import regular_file

BOOTSTRAP = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from tal_cli.media.tasks import main; main()"
# Seconds without any progress that count as a hang.
TIMEOUT = 60.0

Progress = Callable[[float, "float | None"], None]


def work_apart(task: str, path: str, request: Any, progress: Progress | None = None) -> Any:
    """Let a child do a task of `tal_cli.media.tasks.TASKS` on a video.

    Args:
        task: its name.
        path: the video.
        request: a dataclass that JSON can hold; what the task's function takes.
        progress: called with (done, in all).

    Returns: the task's result, as JSON holds it.

    Raises:
        InputError: the video cannot be read, or the child failed, crashed or hung.
        VideoError: the path is no regular file that may be read.
    """
    assert is_dataclass(request) and not isinstance(request, type)
    message = {"task": task, "path": regular_file(path), "request": asdict(request)}
    with tempfile.TemporaryFile() as complaints, _child(complaints) as (child, lines):
        assert child.stdin is not None
        with suppress(BrokenPipeError):  # the child is gone; its silence says so below
            child.stdin.write(json.dumps(message).encode("ascii") + b"\n")
            child.stdin.flush()
        while True:
            try:
                line = lines.get(timeout=TIMEOUT)
            except queue.Empty:
                raise InputError(path, f"no progress for {TIMEOUT:g} s") from None
            if not line:
                raise InputError(path, _post_mortem(child, complaints))
            answer = json.loads(line)
            if "failed" in answer:
                raise InputError(path, answer["failed"])
            if "result" in answer:
                return answer["result"]
            if progress is not None:
                progress(answer["done"], answer["total"])


@contextmanager
def _child(complaints: IO[bytes]) -> Iterator[tuple[subprocess.Popen[bytes], queue.Queue[bytes]]]:
    """The child and what it says, line by line; an empty line is its end."""
    child = subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", BOOTSTRAP, json.dumps(module_path())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=complaints,
        start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends the child
    )
    assert child.stdin is not None and child.stdout is not None
    lines: queue.Queue[bytes] = queue.Queue()
    listener = threading.Thread(target=_listen, args=(child.stdout, lines), daemon=True)
    listener.start()
    try:
        yield child, lines
    finally:
        child.kill()
        child.wait()
        listener.join()  # before its pipe is closed: the number may soon be another pipe's, of which it would read
        child.stdout.close()
        with suppress(OSError):
            child.stdin.close()


def _listen(pipe: IO[bytes], lines: queue.Queue[bytes]) -> None:
    for line in pipe:
        lines.put(line)
    lines.put(b"")


def _post_mortem(child: subprocess.Popen[bytes], complaints: IO[bytes]) -> str:
    code = child.wait()
    if code < 0:
        return f"FFmpeg crashed on it ({signal.Signals(-code).name})"
    complaints.seek(0)
    said = [line.strip() for line in complaints.read().decode(errors="replace").splitlines() if line.strip()]
    return f"the process at it ended early with code {code} ({said[-1] if said else 'no message'})"
