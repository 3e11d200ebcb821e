"""Child processes, seen from inside: functions shared by the programs that `child.py` starts."""

from __future__ import annotations

import json
import os
from typing import Any

# Memory that one video may take before it counts as a decompression bomb.
MEMORY_LIMIT = 4 << 30


def take_output() -> int:
    """A file descriptor of standard output for messages; from then on libraries print to standard error."""
    output = os.dup(1)
    os.dup2(2, 1)
    return output


def write_all(output: int, data: bytes | bytearray) -> None:
    """Calls os.write until everything is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(output, view) :]


def send_json(output: int, message: dict[str, Any]) -> None:
    """Sends one line of JSON."""
    write_all(output, json.dumps(message).encode("ascii") + b"\n")


def limit_memory() -> None:
    """Limits memory so that a decompression bomb fails in this process and does not exhaust the machine."""
    try:
        import resource
    except ImportError:
        return
    hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
    limit = MEMORY_LIMIT if hard == resource.RLIM_INFINITY else min(MEMORY_LIMIT, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))


def over_limit() -> str:
    """The error message for a MemoryError under this limit."""
    return f"it takes more than {MEMORY_LIMIT / (1 << 30):g} GiB of memory"
