"""Where output goes: standard output, one file, or a folder of one per video. A file appears whole or not at all."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import IO, Protocol

from tal_cli import console
from tal_cli.extractors.errors import InputError, UsageError
from tal_cli.extractors.files.atomic import write_whole
from tal_cli.results.segments import Detections
from tal_cli.results.writers import Format, RunInfo


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file beside its target and rename it, so that no reader and no crash ever meets half of it.

    Raises:
        InputError: the disk is full, or the place cannot be written to.
    """
    write_streaming(path, lambda file: file.write(data))


def write_streaming(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """`write_atomically` for what is too large to be held at once: `write` gets the open file.

    Raises:
        InputError: the disk is full, or the place cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if is_device(path):
            with path.open("wb") as device:
                write(device)
        else:
            # Where a link leads is replaced, never the link.
            write_whole(Path(os.path.realpath(path)), write)
    except OSError as error:
        raise InputError(path, f"cannot be written: {error.strerror or error}") from error


def is_device(path: Path) -> bool:
    """Whether a path is written to and must not be replaced: a device, a named pipe, or a name like /dev/stdout, which
    may lead to a regular file and is still the system's."""
    system = Path(os.path.abspath(path)).parts[1:3]
    return (path.exists() and not path.is_file()) or (system[:1] in (("dev",), ("proc",)) and system != ("dev", "shm"))


class Sink(Protocol):
    """Takes the detections of one run as they come."""

    def add(self, detections: Detections) -> None: ...

    def finish(self) -> None: ...


class StandardOutput:
    """Streams to standard output; each video's part is flushed at once."""

    def __init__(self, format: Format, run: RunInfo) -> None:
        self._writer = format.create(run)
        self._write(self._writer.start())

    def add(self, detections: Detections) -> None:
        self._write(self._writer.add(detections))

    def finish(self) -> None:
        self._write(self._writer.finish())

    @staticmethod
    def _write(data: bytes) -> None:
        try:
            with console.paused():
                sys.stdout.buffer.write(data)
                sys.stdout.buffer.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise InputError("standard output", f"cannot be written: {error.strerror or error}") from error


class OneFile:
    """Collects everything and writes the file at the end; the parts wait in a file without a name, not in memory."""

    def __init__(self, path: Path, format: Format, run: RunInfo) -> None:
        self._path = path
        self._writer = format.create(replace(run, file=path))
        self._parts = tempfile.SpooledTemporaryFile(max_size=1 << 24)  # noqa: SIM115 - it lives as long as the sink
        self._parts.write(self._writer.start())

    def add(self, detections: Detections) -> None:
        self._parts.write(self._writer.add(detections))

    def finish(self) -> None:
        self._parts.write(self._writer.finish())
        self._parts.seek(0)
        write_atomically(self._path, self._parts.read())
        self._parts.close()


class Folder:
    """One file per video, written when that video is done."""

    def __init__(self, path: Path, format: Format, run: RunInfo) -> None:
        self._folder = path
        self._format = format
        self._run = run
        path.mkdir(parents=True, exist_ok=True)

    def add(self, detections: Detections) -> None:
        path = file_for(self._folder, detections.video, self._format.suffix)
        writer = self._format.create(replace(self._run, file=path))
        write_atomically(path, writer.start() + writer.add(detections) + writer.finish())

    def finish(self) -> None:
        pass


def file_for(folder: Path, video: str, suffix: str) -> Path:
    """The file of a video's results inside a folder; no name leads out of it."""
    parts = [part for part in video.split("/") if part not in ("", "..", ".")]
    return folder.joinpath(*parts[:-1], f"{parts[-1] if parts else 'video'}{suffix}")


def is_folder(path: str) -> bool:
    """Whether an output path means a folder: it is one, ends in a slash, or is new and has no suffix."""
    return os.path.isdir(path) or path.endswith(("/", os.sep)) or (not os.path.lexists(path) and not Path(path).suffix)


def check_writable(path: Path) -> None:
    """Find out before hours of work that the result could not be written.

    Raises:
        UsageError: the place cannot be written to.
    """
    check_folder(path if path.is_dir() else path.parent)


def check_folder(folder: Path) -> None:
    """The same for a folder that is to be filled, and made where it is not there yet.

    Raises:
        UsageError: it cannot be written to, or is a file.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    if not there.is_dir():
        raise UsageError(f"{there}: this is a file, not a folder", "name a folder to write into")
    if not os.access(there, os.W_OK):
        raise UsageError(f"{there}: you may not write there", "choose another folder")
