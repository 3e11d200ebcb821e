"""The parent's side of decoding: starts the child, hears it, and ends it.

The child is started with `subprocess`, not `multiprocessing`: a user's script needs no `if __name__ == "__main__"`,
and the child does not import the parent's main module. It runs without site-packages' start-up code and with the
parent's module path, this package's home first, so that the working folder changes nothing.
"""

from __future__ import annotations

import json
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from tal_cli.extractors.video import messages
from tal_cli.extractors.video.messages import DecodeError, DecoderMissing, Opened, Request, VideoSummary

BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from tal_cli.extractors.video.worker import main; main()"
)
# Chunks (of at most 2 MB) that wait in the parent while the child decodes on.
CHUNKS_AHEAD = 4
# Seconds after which a listener whose messages nobody takes looks whether it shall end.
GIVE_WAY = 0.02


@dataclass(frozen=True)
class RawChunk:
    """times float64 [N] in seconds, pixels uint8 [N * height * row] with `row` bytes per picture row."""

    times: NDArray[np.float64]
    pixels: NDArray[np.uint8]
    row: int


Message = Opened | RawChunk | VideoSummary | DecodeError


class DecoderProcess:
    """One child that decodes one video.

    timeout: seconds in which the child must say something while it is waited for.
    Raises DecodeError from `receive` when the child fails, crashes or hangs; it is then gone.
    """

    def __init__(self, request: Request, timeout: float) -> None:
        self._timeout = timeout
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the child)
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", BOOTSTRAP, json.dumps(module_path())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            bufsize=0,
            start_new_session=True,  # Ctrl-C reaches the parent alone, which then ends the child
        )
        assert self._child.stdin is not None and self._child.stdout is not None
        self._inbox: queue.Queue[Message | None] = queue.Queue(CHUNKS_AHEAD)
        ended = threading.Event()
        listener = threading.Thread(target=listen, args=(self._child.stdout, self._inbox, ended), daemon=True)
        self._finalizer = weakref.finalize(self, end_child, self._child, ended, listener)
        listener.start()
        self.say(messages.dump(request))

    @property
    def pid(self) -> int:
        """The child's process id."""
        return self._child.pid

    def say(self, line: bytes) -> None:
        """Send one line to the child."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(line + b"\n")
        except (BrokenPipeError, ValueError):
            return  # the child is gone; receive() says why

    def receive(self) -> Opened | RawChunk | VideoSummary:
        """The next message of the child, sooner or later."""
        try:
            message = self._inbox.get(timeout=self._timeout)
        except queue.Empty:
            self.close()
            raise DecodeError(f"the decoder made no progress for {self._timeout:g} s") from None
        if message is None:
            message = self._post_mortem()
        if isinstance(message, DecodeError):
            self.close()
            raise message
        return message

    def close(self) -> None:
        """End the child, whatever it does."""
        self._finalizer()
        self._complaints.close()

    def _post_mortem(self) -> DecodeError:
        """Why the child went without a word."""
        code = self._child.wait()
        if code < 0:
            return DecodeError(f"the decoder crashed ({signal.Signals(-code).name})")
        self._complaints.seek(0)
        lines = self._complaints.read().decode(errors="replace").split("\n")
        said = [line.strip() for line in lines if line.strip()] or ["no message"]
        return DecodeError(f"the decoder ended early with code {code} ({said[-1]})")


def module_path() -> list[str]:
    """Where the child looks for modules: beside this package, then wherever this process does."""
    home = str(Path(__file__).absolute().parents[3])  # through the link, where there is one
    return [home, *(entry for entry in sys.path if entry and entry != home)]


def end_child(child: subprocess.Popen[bytes], ended: threading.Event, listener: threading.Thread) -> None:
    """Kill the child and give its pipes back; its listener leaves when it is told to, or hears no more."""
    ended.set()
    child.kill()
    child.wait()
    # Before its pipe is closed: the number may soon be another pipe's, of which it would read. A forgotten child can be
    # ended in any thread, that one too, and an interrupt can come before it begins.
    with suppress(RuntimeError):
        listener.join()
    for pipe in (child.stdin, child.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):  # what was said to a child that had gone by then
                pipe.close()


def listen(pipe: IO[bytes], inbox: queue.Queue[Message | None], ended: threading.Event) -> None:
    """Put the child's messages into the inbox, None at their end. A full inbox makes the child wait."""
    message: Message | None
    while not ended.is_set():
        try:
            message = read_message(pipe)
        except (OSError, ValueError):
            message = None
        while not ended.is_set():
            try:
                inbox.put(message, timeout=GIVE_WAY)
                break
            except queue.Full:
                continue
        if message is None or isinstance(message, (VideoSummary, DecodeError)):
            return


def read_message(pipe: IO[bytes]) -> Message | None:
    """One message, or None where the pipe ends before or within one."""
    header = read_exactly(pipe, messages.HEADER.size)
    if header is None:
        return None
    kind, frames, row, size = messages.HEADER.unpack(header.tobytes())
    body = read_exactly(pipe, size)
    if body is None:
        return None
    if kind == messages.FRAMES:
        return RawChunk(body[: 8 * frames].view(np.float64), body[8 * frames :], row)
    content = messages.load(body.tobytes())
    if kind == messages.OPENED:
        return Opened(**content)
    if kind == messages.SUMMARY:
        return VideoSummary(**content)
    return (DecoderMissing if content["missing_decoder"] else DecodeError)(content["reason"])


def read_exactly(pipe: IO[bytes], size: int) -> NDArray[np.uint8] | None:
    """uint8 [size] from an unbuffered pipe, or None where it ends before that."""
    buffer = np.empty(size, np.uint8)
    view, filled = buffer.data, 0
    while filled < size:
        count = pipe.readinto(view[filled:])  # type: ignore[attr-defined]
        if not count:
            return None
        filled += count
    return buffer
