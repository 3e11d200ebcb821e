"""Atomic writes, so that a file is complete or absent, and cleanup after killed runs.

A file is written as `.NAME.PROCESS.part` beside its target, which it replaces once it is complete and on disk.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO

from tal_cli.extractors.errors import InputError

SCRATCH = "tal-"  # scratch folders among the system's temporary files begin so
LONGEST = 200  # characters of a name, which leaves room for prefix and suffix
# Leftovers of killed runs: partial files, and locks (`locks.py`).
LEFTOVER = re.compile(r"^\.(?P<name>.+?)\.(?:(?P<process>\d+)\.part|lock)$")


def write_atomically(path: Path, content: bytes | Callable[[BinaryIO], object]) -> None:
    """Writes a file beside its target and renames it once it is complete; partial files of killed runs are removed.

    Folders are created. If `path` is a link, its target is replaced; a device or a named pipe is
    written to directly.

    Args:
        path: the target.
        content: the text or bytes, or a function that writes them to the open file.

    Raises:
        InputError: the disk is full, or the path cannot be written to.
    """
    write = (lambda file: file.write(content)) if isinstance(content, bytes) else content
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_device(path):
            with path.open("wb") as device:
                write(device)
        else:
            _replace(Path(os.path.realpath(path)), write)


@contextmanager
def folder_written_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside the target for several files; it replaces the target once all are written.

    An existing folder is replaced, as are the leftovers of a killed run.

    Raises:
        InputError: the disk is full, or the path cannot be written to.
    """
    with scratch_beside(path) as partial, naming(path):
        yield partial
        if path.is_symlink():
            path.unlink()
        elif path.exists():
            shutil.rmtree(path)
        partial.rename(path)


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Yields a folder in the system's folder of temporary files; it is removed at the end, as are those of killed runs.

    Raises:
        InputError: the disk is full, or the folder of temporary files cannot be written to.
    """
    place = Path(tempfile.gettempdir())
    for name, files in leftovers(place).items():
        if name.startswith(SCRATCH):
            sweep(files)
    with scratch_beside(place / f"{SCRATCH}{os.urandom(4).hex()}") as scratch:
        scratch.chmod(0o700)
        yield scratch


@contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Names a path in errors of the system on writing there: those of a full disk name none.

    Raises:
        InputError: in place of OSError.
    """
    try:
        yield
    except OSError as error:
        raise unwritable(path, error) from error


@contextmanager
def scratch_beside(path: Path) -> Iterator[Path]:
    """Yields a temporary folder beside a target, for files that are moved there once they are complete; it is removed
    at the end, as are those that killed runs left for this target.

    Raises:
        InputError: the disk is full, or the path cannot be written to.
    """
    scratch = path.with_name(f".{path.name[:LONGEST]}.{os.getpid()}.part")
    with naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep(leftovers(path.parent).get(path.name[:LONGEST], ()))
        scratch.mkdir()
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def unwritable(path: str | Path, error: OSError) -> InputError:
    """The error for a path, from the system's error on writing there or creating its folder."""
    reason = "its folder is a file" if isinstance(error, FileExistsError) else error.strerror or error
    return InputError(path, f"cannot be written: {reason}")


def _replace(path: Path, write: Callable[[BinaryIO], object]) -> None:
    sweep(_leftovers_at_first(path.parent).get(path.name[:LONGEST], ()))
    partial = path.with_name(f".{path.name[:LONGEST]}.{os.getpid()}.part")
    try:
        with partial.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def is_device(path: Path) -> bool:
    """Whether a path must be written to directly and not replaced: a device, a named pipe, or a name like /dev/stdout,
    which belongs to the system even if it leads to a regular file."""
    system = Path(os.path.abspath(path)).parts[1:3]
    return (path.exists() and not path.is_file()) or (system[:1] in (("dev",), ("proc",)) and system != ("dev", "shm"))


def leftovers(folder: Path) -> dict[str, list[Path]]:
    """Partial files and locks in a folder, of killed or running runs, by the name of their target."""
    found: dict[str, list[Path]] = {}
    with suppress(OSError):
        for entry in os.scandir(folder):
            match = LEFTOVER.match(entry.name)
            if match is not None:
                found.setdefault(match["name"], []).append(Path(entry.path))
    return found


def sweep(files: Iterable[Path]) -> None:
    """Removes the partial files and folders among `leftovers` whose process is gone."""
    for file in files:
        match = LEFTOVER.match(file.name)
        if match is not None and match["process"] and not is_running(int(match["process"])):
            if file.is_dir() and not file.is_symlink():
                shutil.rmtree(file, ignore_errors=True)
            else:
                with suppress(OSError):  # another user's
                    file.unlink(missing_ok=True)


@lru_cache(maxsize=64)
def _leftovers_at_first(folder: Path) -> dict[str, list[Path]]:
    """`leftovers`, cached: a folder with one file per video must not be read again for each of them."""
    return leftovers(folder)


def is_running(process: int) -> bool:
    """Whether a local process is running; a zombie is not."""
    if Path("/proc/self/stat").exists():
        try:
            return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
        except (OSError, IndexError):
            return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's process
        pass
    return True
