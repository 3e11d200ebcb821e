"""Hashes: the published one where it is known, else that of the first download, kept under TAL_HOME and held to."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tal_cli import console
from tal_cli.extractors.errors import DownloadError
from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.extractors.files.weights import DIGITS, file_sha256, pin_path, pinned
from tal_cli.model_files.download.http import forget
from tal_cli.model_files.download.request import FileRequest

__all__ = ["DIGITS", "check", "only_one", "pin", "pinned", "verify"]


def pin(target: Path, digest: str) -> None:
    """Keep a file's SHA-256, in the form that `sha256sum --check` reads."""
    path = pin_path(target)
    write_atomically(path, f"{digest}  {target.name}\n".encode())


def verify(request: FileRequest, known: str | None) -> str:
    """The SHA-256 of what arrived.

    Raises:
        DownloadError: it is not the one that is known; the message names both, and what arrived is gone.
    """
    digest = file_sha256(request.part)
    size = request.part.stat().st_size
    if request.size is not None and size != request.size:
        forget(request.part)
        raise DownloadError(f"{request.file}: {size} bytes arrived, the published file has {request.size}; not kept")
    for sha256, whose in ((request.sha256, "the published file's"), (known, "the first download's")):
        if sha256 is not None and not digest.startswith(sha256.lower()):
            forget(request.part)
            raise DownloadError(
                f"{request.file}: SHA-256 {digest} arrived, {whose} is {sha256}; not kept",
                "the server's file was replaced or damaged on the way"
                + ("" if known is None else "; if it was rightly replaced, remove the old hash from TAL_HOME/pins"),
            )
    request.part.with_name(request.part.name + ".json").unlink(missing_ok=True)
    return digest


def check(file: str, sha256: str | None, target: Path) -> None:
    """Hold a file that is there already to what is known of it.

    Raises:
        DownloadError: it is another one; it is left alone.
    """
    known = [(sha256, "the published file's"), (pinned(target), "the first download's")]
    wanted = [(digits.lower(), whose) for digits, whose in known if digits]
    digest = file_sha256(target) if wanted else ""
    for digits, whose in wanted:
        if not digest.startswith(digits):
            raise DownloadError(
                f"{file}: {target} has SHA-256 {digest}, {whose} is {digits}", f"remove {target} to download it again"
            )


@contextmanager
def only_one(target: Path) -> Iterator[None]:
    """Let one process at a time download a file; the others wait and find it there.

    Raises:
        DownloadError: nothing can be written there.
    """
    from filelock import FileLock, Timeout

    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            console.note(f"{target.name}: another process is downloading it; waiting")
            lock.acquire()
    except OSError as error:
        if target.is_file():  # a folder that others have filled and nobody may write to
            yield
            return
        raise DownloadError(f"{target.parent}: cannot be written to ({error.strerror or error})") from error
    try:
        yield
    finally:
        # Removed while it is held, so that whoever waits for it makes a new one.
        if os.name == "posix":
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
