"""The annotation file on disk: its lock, journal, backups, and what another program did to it meanwhile."""

from __future__ import annotations

import hashlib
import json
import os
import time
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, BinaryIO

from filelock import FileLock, Timeout

from tal_cli.extractors.errors import UsageError
from tal_cli.extractors.files.atomic import unwritable, write_atomically
from tal_cli.labelling.project.document import Json

KEPT = 10  # backups
BETWEEN_BACKUPS = 3600.0  # seconds


class FileLocked(UsageError):
    """Another `tal label` has the annotation file; the reason names its address."""


class Lock:
    """`FILE.lock`: held as long as this process lives, with its process id and its address.

    Raises:
        FileLocked: another process holds it.
        InputError: nothing can be written there.
    """

    def __init__(self, file: Path) -> None:
        self._path = file.with_name(file.name + ".lock")
        self._lock = FileLock(self._path, thread_local=False)
        try:
            self._lock.acquire(blocking=False)
        except Timeout:
            raise FileLocked(*self._owner(file)) from None
        except OSError as error:
            raise unwritable(file, error) from error

    def _owner(self, file: Path) -> tuple[str, str]:
        try:
            owner = json.loads(self._path.read_text())
            return (
                f"{file} is open in another tal label at {owner['url']}",
                f"use that page, or end process {owner['pid']}",
            )
        except (OSError, ValueError, LookupError, TypeError):
            return f"{file} is open in another tal label", "end that one first"

    def tell(self, url: str) -> None:
        """Write down who holds it, for those who find it held."""
        with suppress(OSError):  # a full disk: the lock holds all the same
            self._path.write_text(json.dumps({"pid": os.getpid(), "url": url}) + "\n")

    def release(self) -> None:
        """Remove and release it."""
        with suppress(OSError):
            self._path.unlink()
        self._lock.release()


class Journal:
    """`FILE.journal`: one line of JSON per change, on disk before the change is acknowledged."""

    def __init__(self, file: Path) -> None:
        self.path = file.with_name(file.name + ".journal")
        self._file: BinaryIO | None = None

    def read(self) -> tuple[list[Json], int]:
        """The changes, in order, and how many lines are none, besides the last, which may be cut."""
        try:
            lines = self.path.read_bytes().split(b"\n")
        except FileNotFoundError:
            return [], 0
        found: list[Json] = []
        lost = 0
        for place, line in enumerate(lines, start=1):
            entry = parsed(line)
            if isinstance(entry, dict):
                found.append(entry)
            elif line and place < len(lines):
                lost += 1
        return found, lost

    def append(self, entry: Json) -> None:
        """Add a change and wait until it is on disk. Raises OSError; nothing is added then."""
        if self._file is None:
            self._file = self.path.open("ab", buffering=0)
            if self._file.tell():
                self._write(b"\n")  # the last line may be cut
        before = self._file.tell()
        try:
            self._write(json.dumps(entry, ensure_ascii=True).encode() + b"\n")
            os.fsync(self._file.fileno())
        except OSError:
            file, self._file = self._file, None
            with suppress(OSError):
                file.truncate(before)
            file.close()
            raise

    def _write(self, data: bytes) -> None:
        assert self._file is not None
        written = self._file.write(data)
        if written != len(data):
            raise OSError(28, os.strerror(28))

    def clear(self) -> None:
        """Empty it: its changes are in the file."""
        if self._file is not None:
            self._file.truncate(0)
            self._file.seek(0)
        elif self.path.exists():
            os.truncate(self.path, 0)

    def remove(self) -> None:
        """Close it, and delete it if it is empty."""
        if self._file is not None:
            self._file.close()
            self._file = None
        with suppress(OSError):
            if self.path.stat().st_size == 0:
                self.path.unlink()


class AnnotationFile:
    """The JSON file, its backups, and whether it is still what this process last read or wrote."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.backups = path.with_name(path.name + ".backups")
        self._mark: tuple[int, int] | None = None
        self._hash = ""

    def read(self) -> bytes | None:
        """Its content, None if there is none; from now on this content counts as known."""
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            self._mark, self._hash = None, ""
            return None
        self._remember(content)
        return content

    def _remember(self, content: bytes) -> None:
        found = self.path.stat()
        self._mark = (found.st_mtime_ns, found.st_size)
        self._hash = hashlib.sha256(content).hexdigest()

    def is_foreign(self) -> bool:
        """Whether another program has changed or removed it since."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return False  # nothing is overwritten
        if (found.st_mtime_ns, found.st_size) == self._mark:
            return False
        content = self.path.read_bytes()
        if hashlib.sha256(content).hexdigest() != self._hash:
            return True
        self._remember(content)
        return False

    def write(self, content: bytes) -> None:
        """Replace it, keeping what it was if the last backup is old. Raises InputError."""
        if hashlib.sha256(content).hexdigest() == self._hash and self.path.exists():
            return
        newest = max((item.stat().st_mtime for item in self._kept()), default=0.0)
        if self.path.exists() and time.time() - newest >= BETWEEN_BACKUPS:
            self.back_up()
        write_atomically(self.path, content)
        self._remember(content)

    def back_up(self, content: bytes | None = None, note: str = "") -> Path:
        """Keep a version, by default the file as it is, and drop the oldest; returns its path. Raises InputError."""
        stamp = datetime.now(timezone.utc).strftime("%Y%m%dT%H%M%S%fZ")
        target = self.backups / f"{self.path.stem}-{stamp}{note}.json"
        write_atomically(target, self.path.read_bytes() if content is None else content)
        for old in self._kept()[:-KEPT]:
            with suppress(OSError):
                old.unlink()
        return target

    def _kept(self) -> list[Path]:
        return sorted(self.backups.glob("*.json")) if self.backups.is_dir() else []


def free_name(path: Path) -> Path:
    """The JSON file into which a file of another form is imported: beside it, with the suffix .json."""
    stem = path.name.removesuffix(".gz")
    return path.with_name(Path(stem).stem + ".json")


def parsed(content: bytes) -> Any:
    """The JSON of a file, or None."""
    try:
        return json.loads(content.decode("utf-8-sig", "surrogatepass"))
    except (ValueError, RecursionError):
        return None
