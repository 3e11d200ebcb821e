"""Runs `tal` many times without importing torch many times: a process that has it imported, and forks for every run.

    with serving(folder) as path: ...      # `path` goes in front of PATH; `tal` in there is the real command line

The command in `folder` hands its arguments, folder, environment, and standard streams to the server over a socket; a
fork of the server becomes that run and answers with its exit code. If the command is killed, so is the run.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CLIENT = """\
#!{python} -ISE
import json, os, signal, socket, sys
connection = socket.socket(socket.AF_UNIX)
connection.connect({socket!r})
request = {{"arguments": sys.argv[1:], "folder": os.getcwd(), "environment": dict(os.environ)}}
socket.send_fds(connection, [json.dumps(request).encode() + b"\\n"], [0, 1, 2])
sys.exit(int(connection.recv(16) or 70))
"""


@contextmanager
def serving(folder: Path) -> Iterator[Path]:
    """A folder with a command `tal` in it, for as long as the context lasts."""
    place, command = folder / "socket", folder / "bin" / "tal"
    command.parent.mkdir(parents=True)
    command.write_text(CLIENT.format(python=sys.executable, socket=str(place)))
    command.chmod(0o755)
    server = subprocess.Popen([sys.executable, __file__, str(place)])
    try:
        while not place.exists():
            if server.poll() is not None:
                raise RuntimeError("the server did not start")
            time.sleep(0.05)
        yield command.parent
    finally:
        server.terminate()
        server.wait()


# What most commands import when they need it; together these import torch, numba and matplotlib.
SLOW = (
    "tal_cli.app",
    "tal_cli.evaluation.diagnosis.page",
    "tal_cli.model_files.export_formats",
    "tal_cli.results.report.builder",
    "tal_cli.api",
    "tal_cli.training.trainer",
    "tal_cli.extractors.backbones.tiny",
    "matplotlib.figure",
    "torch._dynamo",
    "numba",
)


def serve(place: str) -> None:
    """Fork for every connection, for ever."""
    for name in SLOW:
        importlib.import_module(name)
    target = importlib.import_module("numba.core.registry").cpu_target  # what its first compiled function would do
    target.typing_context.refresh()
    target.target_context.refresh()
    gc.freeze()  # forks neither search what is loaded for garbage nor copy it by doing so
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    # Bound under another name first, so that a visible socket accepts connections.
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(place + ".new")
    listener.listen(64)
    os.rename(place + ".new", place)
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            listener.close()
            answer(connection)
        connection.close()


def answer(connection: socket.socket) -> None:
    """Be the run that a connection asks for, and end with it."""
    data, streams, _, _ = socket.recv_fds(connection, 1 << 20, 3)
    while not data.endswith(b"\n"):
        data += connection.recv(1 << 20)
    threading.Thread(target=follow, args=(connection,), daemon=True).start()
    request = json.loads(data)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    # As a fresh process has them: what they are attached to decides how they are buffered and whether they can seek.
    sys.stdin, sys.stdout = os.fdopen(0, closefd=False), os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", buffering=1, closefd=False)
    for number in (signal.SIGCHLD, signal.SIGTERM):
        signal.signal(number, signal.SIG_DFL)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[:0] = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    sys.argv = ["tal", *request["arguments"]]
    code = run()
    sys.stdout.flush()
    sys.stderr.flush()
    connection.send(str(code).encode())
    os._exit(code)


def follow(connection: socket.socket) -> None:
    """End as the client does that is killed."""
    if not connection.recv(1):
        os.kill(os.getpid(), signal.SIGKILL)


def run() -> int:
    """`tal` as its console script runs it; its exit code."""
    from tal_cli import app

    try:
        app.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


if __name__ == "__main__":
    serve(sys.argv[1])
