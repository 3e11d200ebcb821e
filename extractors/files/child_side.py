"""Child processes, seen by themselves: what the programs that `child.py` starts have in common."""

from __future__ import annotations

import json
import os
from typing import Any

# What work on one video may take before the video counts as a decompression bomb.
MEMORY_LIMIT = 4 << 30


def take_output() -> int:
    """A file descriptor of the standard output for messages; what libraries print goes to standard error from then."""
    output = os.dup(1)
    os.dup2(2, 1)
    return output


def write_all(output: int, data: bytes | bytearray) -> None:
    """os.write until everything is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(output, view) :]


def send_json(output: int, message: dict[str, Any]) -> None:
    """Sends one line of JSON."""
    write_all(output, json.dumps(message).encode("ascii") + b"\n")


def limit_memory() -> None:
    """Lets a decompression bomb fail in this process instead of on the whole machine."""
    try:
        import resource
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = MEMORY_LIMIT if hard == resource.RLIM_INFINITY else min(MEMORY_LIMIT, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def over_limit() -> str:
    """What a MemoryError means then."""
    return f"it takes more than {MEMORY_LIMIT / (1 << 30):g} GiB of memory"
