"""Parent side of media tasks: runs them in a child process and reports progress."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, is_dataclass
from typing import Any

from tal_cli.extractors.errors import InputError
from tal_cli.extractors.files.child import Child, ChildFailed, read_json
from tal_cli.extractors.video.info import regular_file

# Seconds without progress after which the child counts as hung.
TIMEOUT = 60.0

Progress = Callable[[float, "float | None"], None]


def run_task(task: str, path: str, request: Any, progress: Progress | None = None) -> Any:
    """Run a task of `tal_cli.media.tasks.TASKS` on a video in a child process.

    Args:
        task: name of the task.
        path: the video.
        request: JSON-serialisable dataclass with the arguments of the task.
        progress: called with (done, total).

    Returns: the task's result, as decoded from JSON.

    Raises:
        InputError: the video cannot be read, or the child failed, crashed or hung.
        VideoError: the path is no regular file that may be read.
    """
    assert is_dataclass(request) and not isinstance(request, type)
    message = {"task": task, "path": regular_file(path), "request": asdict(request)}
    child: Child[dict[str, Any]]
    with Child("tal_cli.media.tasks", read_json) as child:
        child.send(json.dumps(message).encode("ascii"))
        while True:
            try:
                answer = child.receive(TIMEOUT)
            except ChildFailed as error:
                raise InputError(path, f"the process reading it {error}") from None
            if "failed" in answer:
                raise InputError(path, answer["failed"])
            if "result" in answer:
                return answer["result"]
            if progress is not None:
                progress(answer["done"], answer["total"])
