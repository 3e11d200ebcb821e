"""Child process: runs one task on one video and exits. Started by `host`, never imported by it."""

from __future__ import annotations

import errno
import importlib
import json
import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Protocol

from tal_cli.extractors.files.child_side import limit_memory, over_limit, send_json, take_output
from tal_cli.extractors.video.messages import DecodeError

# Name -> module and the function there, which takes (path, the request's fields as a dict, progress).
TASKS = {
    "look": ("tal_cli.media.thumbnails", "look"),
    "pictures": ("tal_cli.media.thumbnails", "pictures"),
    "cut": ("tal_cli.media.clips", "cut"),
    "draw": ("tal_cli.media.overlay", "draw"),
    "frame_times": ("tal_cli.media.frame_times", "frame_times"),
    "proxy": ("tal_cli.media.proxy", "proxy"),
    "waveform": ("tal_cli.media.waveform", "waveform"),
}
REPORT_EVERY = 0.1
FULL_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Progress(Protocol):
    """Progress callback; reports to the parent a few times per second."""

    def __call__(self, done: float, total: float | None) -> None: ...


def _leave_with_parent(scratch: str | None) -> None:
    """Exit when the parent ends, which closes standard input, and remove unfinished files if it was killed."""
    while os.read(0, 1 << 16):  # not by sys.stdin, whose lock would end a failing process before it tells why
        pass
    if scratch is not None:
        shutil.rmtree(scratch, ignore_errors=True)
    os._exit(1)


def main() -> None:
    """Entry point of the child process."""
    output = take_output()
    limit_memory()
    message = json.loads(sys.stdin.buffer.readline())
    threading.Thread(target=_leave_with_parent, args=(message["request"].get("scratch"),), daemon=True).start()
    last = time.monotonic()

    def progress(done: float, total: float | None) -> None:
        nonlocal last
        if time.monotonic() - last > REPORT_EVERY:
            last = time.monotonic()
            send_json(output, {"done": done, "total": total})

    send_json(output, _answer(message, progress))


def _answer(message: dict[str, Any], progress: Progress) -> dict[str, Any]:
    from av.error import FFmpegError

    module, name = TASKS[message["task"]]
    task: Callable[[str, dict[str, Any], Progress], Any] = getattr(importlib.import_module(module), name)
    try:
        return {"result": task(message["path"], message["request"], progress)}
    except DecodeError as error:
        return {"failed": str(error)}
    except MemoryError:
        return {"failed": over_limit()}
    except (FFmpegError, OSError) as error:
        said = getattr(error, "strerror", None) or str(error)
        scratch = message["request"].get("scratch")
        is_full = scratch is not None and error.errno in FULL_DISK
        return {"failed": f"{os.path.dirname(scratch)} cannot be written to: {said}" if is_full else said}
