"""Child processes, seen by their parent: start, messages, time-out, kill, and how one ended.

A child is started with `subprocess`, not `multiprocessing`: a user's script needs no `if __name__ == "__main__"`, and
the child does not import the parent's main module. It runs with the parent's module path, this package's home first,
so that the working folder has no effect, and most run without site-packages' start-up code. Standard output carries
its messages, standard error is kept for error reports, and the end of standard input tells it to exit; the child's
side of the protocol is in `child_side.py`.
"""

from __future__ import annotations

import itertools
import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Generic, TypeVar

Message = TypeVar("Message")
Read = Callable[[BinaryIO], Message | None]
Inbox = queue.Queue[tuple[int, Message | None]]  # the child's number, and its message; None at its end

# The package is found at its home, its modules through the package: an editable install leaves the checkout off the
# path, where its folders `models` and `extractors` would shadow other packages of these names.
BOOTSTRAP = (
    "import importlib, json, sys; home, *path = json.loads(sys.argv[1]); sys.path[:] = [home, *path]; import tal_cli; "
    "sys.path[:] = path; importlib.import_module(sys.argv[2]).main()"
)
# Seconds between a listener's checks for a stop request while the inbox is full.
GIVE_WAY = 0.02
# Seconds that a child has to exit after closing its output.
LAST_WORDS = 10.0
STDERR_TAIL = 1 << 16  # bytes

_numbers = itertools.count()


class ChildFailed(Exception):
    """How a child failed, as the end of a sentence: "crashed (SIGSEGV)"."""


class Child(Generic[Message]):
    """A process that runs the function `main` of a module.

    `number` identifies children that share an inbox.
    """

    def __init__(
        self, module: str, read: Read[Message], inbox: Inbox[Message] | None = None, *, plugins: bool = False
    ) -> None:
        """Starts it.

        Args:
            module: the module's import name.
            read: takes one message from the child's output; None at its end. May raise OSError and ValueError.
            inbox: the queue for messages, read by `receive` or by others; None: an unbounded one. A full inbox
                blocks the child.
            plugins: whether it imports plugins, whose editable installs may need site-packages' start-up code.
        """
        self.number = next(_numbers)
        self._inbox: Inbox[Message] = queue.Queue() if inbox is None else inbox
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the child)
        self._process = subprocess.Popen(
            [sys.executable, "-I", *([] if plugins else ["-S"]), "-c", BOOTSTRAP, json.dumps(module_path()), module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            start_new_session=True,  # Ctrl-C reaches only the parent, which then ends the child
        )
        assert self._process.stdout is not None
        ended = threading.Event()
        listener = threading.Thread(
            target=listen, args=(self._process.stdout, read, self.number, self._inbox, ended), daemon=True
        )
        self._finalizer = weakref.finalize(self, end, self._process, ended, listener)
        listener.start()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def send(self, line: bytes) -> None:
        """Sends one line. If the child is gone, does nothing: the next `receive` reports it."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError, ValueError):
            self._process.stdin.write(line + b"\n")
            self._process.stdin.flush()

    def receive(self, timeout: float) -> Message:
        """The child's next message.

        Raises:
            ChildFailed: none came within `timeout` seconds, or the child ended; it is gone then.
        """
        try:
            _, message = self._inbox.get(timeout=timeout)
        except queue.Empty:
            self.close()
            raise ChildFailed(f"made no progress for {timeout:g} s") from None
        if message is None:
            how = self.post_mortem()
            self.close()
            raise ChildFailed(how)
        return message

    def post_mortem(self) -> str:
        """How a child whose output has ended failed, as the end of a sentence."""
        try:
            code = self._process.wait(LAST_WORDS)
        except subprocess.TimeoutExpired:
            return "closed its output"
        if code < 0:
            return f"crashed ({signal.Signals(-code).name})"
        self._stderr.seek(max(0, self._stderr.seek(0, 2) - STDERR_TAIL))
        lines = self._stderr.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()] or ["no message"]
        return f"ended early with code {code} ({said[-1]})"

    def close(self) -> None:
        """Ends the child, whatever its state."""
        self._finalizer()
        self._stderr.close()

    def __enter__(self) -> Child[Message]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def module_path() -> list[str]:
    """The package's home, then the child's module path: that of this process, the home first if it is among it."""
    home = str(Path(__file__).absolute().parents[3])  # through the link, if there is one
    path = [entry for entry in sys.path if entry]
    return [home, *([home] if home in path else []), *(entry for entry in path if entry != home)]


def end(process: subprocess.Popen[bytes], ended: threading.Event, listener: threading.Thread) -> None:
    """Kills a child and closes its pipes; its listener ends on request or at the end of the output."""
    ended.set()
    process.kill()
    process.wait()
    # Join before closing the pipe: its file descriptor may be reused, and the listener would read from another pipe. A
    # garbage-collected child can be ended in any thread, even the listener, or be interrupted before that starts.
    with suppress(RuntimeError):
        listener.join()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):  # unsent data for a child that was already gone
                pipe.close()


def listen(pipe: BinaryIO, read: Read[Message], number: int, inbox: Inbox[Message], ended: threading.Event) -> None:
    """Puts a child's messages into the inbox, None at their end."""
    message: Message | None
    while not ended.is_set():
        try:
            message = read(pipe)
        except (OSError, ValueError, MemoryError):
            message = None
        while not ended.is_set():
            try:
                inbox.put((number, message), timeout=GIVE_WAY)
                break
            except queue.Full:
                continue
        if message is None:
            return


def read_json(pipe: BinaryIO) -> dict[str, Any] | None:
    """One line of JSON, None at the end of the pipe. Raises ValueError for anything else."""
    line = pipe.readline()
    message: dict[str, Any] | None = json.loads(line) if line else None
    return message
