"""Reports errors: exit code, message in one line, and the log file of internal errors."""

from __future__ import annotations

import errno
import os
import traceback
from datetime import datetime
from pathlib import Path

from tal_cli.extractors.errors import EXIT_INPUT, EXIT_INTERNAL, TalError
from tal_cli.safe_text import one_line, printable

# Disk errors that name no file.
FAILING_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO)
# What a machine runs out of, as Python, the system and torch word it, and what helps.
OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "not enough memory")
LESS_AT_ONCE = "use fewer --workers or a smaller --batch-size, or free some memory"
EXHAUSTED = {
    errno.ENOMEM: ("out of memory", LESS_AT_ONCE),
    errno.EMFILE: ("too many open files", "use fewer --workers, or raise the limit: ulimit -n 4096"),
    errno.ENFILE: ("too many open files on this machine", "use fewer --workers, or close other programs"),
    errno.EAGAIN: ("no more threads or processes can be started", "use fewer --workers, or raise the limit: ulimit -u"),
}


def exhausted(error: BaseException) -> tuple[str, str] | None:
    """The exhausted resource and a remedy, if an error is about one."""
    said = str(error).lower()
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and any(it in said for it in OUT_OF_MEMORY)):
        return EXHAUSTED[errno.ENOMEM]
    if isinstance(error, RuntimeError) and "can't start new thread" in said:
        return EXHAUSTED[errno.EAGAIN]
    return EXHAUSTED.get(error.errno or 0) if isinstance(error, OSError) else None


def exit_code_of(error: BaseException) -> int:
    """The exit code of an error; 1 for unexpected exceptions."""
    if isinstance(error, TalError):
        return error.exit_code
    if isinstance(error, OSError) and (error.filename is not None or error.errno in FAILING_DISK):
        return EXIT_INPUT
    return EXIT_INTERNAL if exhausted(error) is None else EXIT_INPUT


def reason_of(error: BaseException) -> str:
    """The reason of an error in one line, without its path."""
    out_of = exhausted(error)
    if out_of is not None:
        return out_of[0]
    reason = error.strerror if isinstance(error, OSError) else getattr(error, "reason", None)
    return one_line(reason or error) or type(error).__name__


def remedy_of(error: BaseException) -> str:
    """The remedy of an error; may be empty."""
    out_of = exhausted(error)
    return getattr(error, "remedy", "") if out_of is None else out_of[1]


def message_of(error: BaseException) -> str:
    """The whole error message in one line, path first."""
    path = error.filename if isinstance(error, OSError) else getattr(error, "path", None)
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
