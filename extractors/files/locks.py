"""Locks that let several runs share a folder of features, on one machine or on many.

A lock is an operating system lock on an empty file `.NAME.lock` beside the target: it is released as soon as the
process that holds it ends, however it ends. The file is removed with the lock; one left by a killed run is locked
again and removed by the next run on this target.

URLs have no locks, nor do some network file systems: there two runs may both process a target, and the later result
replaces the earlier. Results are still written atomically.
"""

from __future__ import annotations

import errno
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from tal_cli.extractors.files.atomic import LONGEST, unwritable
from tal_cli.extractors.files.remote import is_url, local_path

# Error numbers of file systems without locks.
WITHOUT_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
ANYBODY = 0o666  # Other users of a shared folder must be able to open the file to find it locked.


class Locks:
    """The locks held by one run."""

    def __init__(self) -> None:
        self._held: dict[Path, FileLock] = {}

    def take(self, target: str) -> bool:
        """Locks a target (path or URL); False where another run has locked it.

        Raises:
            InputError: nothing can be written beside the target.
        """
        if is_url(target):
            return True
        path = lock_path(target)
        lock = FileLock(path, mode=ANYBODY, thread_local=False, fallback_to_soft=False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            lock.acquire(blocking=False)
        except Timeout:
            return False
        except OSError as error:
            if error.errno not in WITHOUT_LOCKS:
                raise unwritable(target, error) from error
            with suppress(OSError):
                path.unlink()
            return True
        self._held[path] = lock
        return True

    def release(self, target: str) -> None:
        """Releases the lock on a target, if this run holds it."""
        if not is_url(target):
            self._release(lock_path(target))

    def close(self) -> None:
        """Releases all locks."""
        for path in list(self._held):
            self._release(path)

    def _release(self, path: Path) -> None:
        lock = self._held.pop(path, None)
        if lock is not None:
            # Remove before releasing: a run that has opened the file meanwhile locks an unlinked file, which filelock
            # detects and discards.
            with suppress(OSError):
                path.unlink()
            lock.release()


def lock_path(target: str) -> Path:
    """The lock file of a target. All formats share it, as they share the description file."""
    path = local_path(target)
    return path.with_name(f".{path.stem[:LONGEST]}.lock")
