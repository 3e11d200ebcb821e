"""Reports errors: exit code, message in one line, and the log file of internal errors."""

from __future__ import annotations

import errno
import os
import re
import traceback
from datetime import datetime
from pathlib import Path

from tal_cli.extractors.errors import EXIT_INPUT, EXIT_INTERNAL, TalError
from tal_cli.safe_text import one_line, printable

# Disk errors that name no file.
FAILING_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO)
# What a machine runs out of, as Python, the system and libraries word it; its name, and what helps.
EXHAUSTED = (
    (
        *("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory"),
        *("failed to map segment from shared object", "unable to mmap"),
    ),
    ("too many open files in system",),
    ("too many open files",),
    ("can't start new thread", "thread creation failed", "resource temporarily unavailable"),
)
OUT_OF = (
    ("out of memory", "use fewer --workers or a smaller --batch-size, free some memory, or raise its limit: ulimit -v"),
    ("too many open files on this machine", "use fewer --workers, or close other programs"),
    ("too many open files", "use fewer --workers, or raise the limit: ulimit -n 4096"),
    ("no more threads or processes can be started", "use fewer --workers, or raise the limits: ulimit -u, ulimit -v"),
)
USED_UP = 0.8  # of the address space: thread stacks and libraries take it in large pieces


def exhausted(error: BaseException) -> tuple[str, str] | None:
    """The exhausted resource and a remedy, if an error is about one."""
    if isinstance(error, MemoryError):
        return OUT_OF[0]
    if not isinstance(error, TalError) and not getattr(error, "errno", None) and without_address_space():
        return OUT_OF[0]
    said = str(getattr(error, "strerror", None) or error).lower()
    return next((out_of for words, out_of in zip(EXHAUSTED, OUT_OF, strict=True) if any(map(said.count, words))), None)


def without_address_space() -> bool:
    """Whether the process has used up the address space that `ulimit -v` leaves it: what libraries say then, if they
    fail, is of anything but memory."""
    try:
        import resource

        limit, _ = resource.getrlimit(resource.RLIMIT_AS)
        status = Path("/proc/self/status").read_text()
    except (ImportError, OSError):
        return False
    peak = re.search(r"VmPeak:\s+(\d+) kB", status)
    return limit != resource.RLIM_INFINITY and peak is not None and int(peak[1]) * 1024 > USED_UP * limit


def exit_code_of(error: BaseException) -> int:
    """The exit code of an error; 1 for unexpected exceptions."""
    if isinstance(error, TalError):
        return error.exit_code
    if isinstance(error, OSError) and (error.filename is not None or error.errno in FAILING_DISK):
        return EXIT_INPUT
    return EXIT_INTERNAL if exhausted(error) is None else EXIT_INPUT


def reason_of(error: BaseException) -> str:
    """The reason of an error in one line, without its path."""
    out_of = None if isinstance(error, TalError) else exhausted(error)
    if out_of is not None:
        return out_of[0]
    reason = error.strerror if isinstance(error, OSError) else getattr(error, "reason", None)
    return one_line(reason or error) or type(error).__name__


def remedy_of(error: BaseException) -> str:
    """The remedy of an error; may be empty."""
    out_of = exhausted(error)
    return getattr(error, "remedy", "") or (out_of[1] if out_of else "")


def message_of(error: BaseException) -> str:
    """The whole error message in one line, path first."""
    path = error.filename if isinstance(error, OSError) else error.path if isinstance(error, TalError) else None
    if path is None:
        return reason_of(error)
    return f"{printable(os.fsdecode(path) if isinstance(path, bytes) else str(path))}: {reason_of(error)}"


def write_log(error: BaseException, arguments: list[str]) -> Path:
    """Write the traceback of an unexpected exception to the user's log folder and return the file's path."""
    import platformdirs

    from tal_cli import __version__

    folder = Path(platformdirs.user_log_dir("tal", appauthor=False))
    now = datetime.now()
    text = f"tal {__version__} {now.isoformat(timespec='seconds')}\narguments: {arguments!r}\n\n"
    text += "".join(traceback.format_exception(error))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"tal-{now:%Y%m%d-%H%M%S-%f}.log"
        path.write_text(text, encoding="utf-8")
    except OSError:
        # A home folder that cannot be written to must not hide the error itself.
        import tempfile

        with tempfile.NamedTemporaryFile("w", prefix="tal-", suffix=".log", delete=False, encoding="utf-8") as file:
            file.write(text)
        path = Path(file.name)
    return path
