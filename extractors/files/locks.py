"""Who works on which file: claims that let several runs share one folder, on one machine or many.

A claim is a small file `.NAME.claim` beside the target, made in one step that succeeds for one run only (a hard link,
which is what NFS promises to be atomic; a conditional write on object stores). Its holder touches it every BEAT
seconds. A claim is stale when its holder is a process of this machine that is gone, which is found out at once, or
when this run has watched it for PATIENCE seconds without a touch: no two machines' clocks are ever compared. Whoever
finds a stale claim takes it over, one at a time under a lock on the stale file.

Where a file system knows neither hard links nor locks, or a store no conditional writes, two runs that come within the
same moment may both do a file; results are still written whole. Nothing else depends on claims.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from tal_cli.extractors.errors import RemoteError
from tal_cli.extractors.files.remote import exists, is_url, local_path, name_of, read, remote, remove, sibling

BEAT = 15.0
PATIENCE = 90.0


@dataclass(frozen=True)
class Holder:
    """A process that holds a claim: token names this hold; started tells a process from a later one of the same id."""

    token: str
    machine: str
    process: int
    started: str


class Claims:
    """The claims of one run. `take` and `release` are for one thread; holds are kept alive in the background."""

    def __init__(self, *, beat: float = BEAT, patience: float = PATIENCE) -> None:
        self._patience = patience
        self._held: dict[str, Holder] = {}
        self._watched: dict[str, tuple[str, float]] = {}
        self._ended = threading.Event()
        threading.Thread(target=self._keep_alive, args=(beat,), daemon=True).start()

    def take(self, target: str) -> bool:
        """Claim a target for this run, also from a run that has died. False: another run is at it.

        Raises OSError, RemoteError where nothing can be written beside the target.
        """
        claim = claim_of(target)
        mine = Holder(uuid.uuid4().hex, machine(), os.getpid(), started(os.getpid()))
        if not create(claim, mine):
            found = mark(claim)
            if found is None:  # released in between
                return self.take(target)
            if not self._is_stale(claim, found) or not take_over(claim, found, mine):
                return False
        self._watched.pop(claim, None)
        self._held[claim] = mine
        return True

    def release(self, target: str) -> None:
        """Give a claim back, unless another run has taken it over."""
        claim = claim_of(target)
        mine = self._held.pop(claim, None)
        with suppress(OSError, RemoteError):
            if mine is not None and holder(claim) == mine:
                remove(claim)

    def close(self) -> None:
        """Give all claims back."""
        self._ended.set()
        for claim, mine in list(self._held.items()):
            with suppress(OSError, RemoteError):
                if holder(claim) == mine:
                    remove(claim)
        self._held.clear()

    def _is_stale(self, claim: str, found: str) -> bool:
        known = holder(claim)
        if known is not None and known.machine == machine():
            return started(known.process) != known.started
        since = self._watched.get(claim)
        if since is None or since[0] != found:
            self._watched[claim] = (found, time.monotonic())
            return False
        return time.monotonic() - since[1] > self._patience

    def _keep_alive(self, beat: float) -> None:
        while not self._ended.wait(beat):
            for claim, mine in list(self._held.items()):
                with suppress(OSError, RemoteError):
                    touch(claim, mine)


def claim_of(target: str) -> str:
    """The claim of a target. Formats share it, as they share the description beside them."""
    name = name_of(target)
    return sibling(target, f".{name.rpartition('.')[0] or name}"[:200] + ".claim")


def machine() -> str:
    """Within what process ids mean something: this boot of this machine, this namespace of process ids."""
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {os.readlink('/proc/self/ns/pid')}"
    return platform.node()


def started(process: int) -> str:
    """When a process began, in the system's own words; "" for one that is gone."""
    with suppress(OSError, IndexError):
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] == "Z" else fields[19]
    if Path("/proc/self/stat").exists():
        return ""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    except OSError:
        pass
    return "running"


def create(claim: str, mine: Holder) -> bool:
    """Make a claim unless it is there. Raises OSError, RemoteError."""
    data = json.dumps(asdict(mine)).encode()
    if is_url(claim):
        return create_remote(claim, data)
    path = local_path(claim)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{mine.token}")
    try:
        draft.write_bytes(data)
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError:  # no hard links here
        try:
            with open(path, "xb") as file:
                file.write(data)
        except FileExistsError:
            return False
    finally:
        draft.unlink(missing_ok=True)
    return True


def create_remote(claim: str, data: bytes) -> bool:
    try:
        with remote(claim) as (system, path):
            system.pipe_file(path, data, mode="create")
    except FileExistsError:
        return False
    except RemoteError:
        if not exists(claim):
            raise
        return False
    return True


def holder(claim: str) -> Holder | None:
    """Who holds a claim; None where nobody does, or nobody can tell."""
    try:
        found = Holder(**json.loads(read(claim)))
    except (RemoteError, ValueError, TypeError):
        return None
    # It is anybody's file: what is in it becomes a path below /proc.
    return found if isinstance(found.process, int) and found.process > 0 else None


def mark(claim: str) -> str | None:
    """What changes when a claim is touched or changes hands; None where there is none."""
    try:
        if is_url(claim):
            with remote(claim) as (system, path):
                return read(claim).decode(errors="replace") + str(system.modified(path))
        with open(local_path(claim), "rb") as file:  # opening asks the server, where a look at the name may not
            return mark_of(file)
    except (RemoteError, OSError):
        return None


def mark_of(file: IO[bytes]) -> str:
    return file.read().decode(errors="replace") + str(os.fstat(file.fileno()).st_mtime_ns)


def take_over(claim: str, found: str, mine: Holder) -> bool:
    """Replace a stale claim that is still as it was found. False: another run was faster."""
    data = json.dumps(asdict(mine)).encode()
    if is_url(claim):
        if mark(claim) != found:
            return False
        remove(claim)
        return create_remote(claim, data)
    path = local_path(claim)
    draft = path.with_name(f"{path.name}.{mine.token}")
    try:
        with open(path, "r+b") as stale:
            lock(stale.fileno())
            # The name may lead to another run's new claim by now. (Opening it again here would end the lock.)
            if mark_of(stale) != found or os.fstat(stale.fileno()).st_ino != path.stat().st_ino:
                return False
            draft.write_bytes(data)
            os.replace(draft, path)
    except FileNotFoundError:
        return False
    finally:
        draft.unlink(missing_ok=True)
    return True


def lock(file: int) -> None:
    """Wait for the lock on an open file, where there are locks; it goes when the file is closed."""
    try:
        import fcntl

        fcntl.lockf(file, fcntl.LOCK_EX)
    except (ImportError, OSError):
        return


def touch(claim: str, mine: Holder) -> None:
    """Show that the holder lives."""
    if not is_url(claim):
        os.utime(local_path(claim))
    elif holder(claim) == mine:
        with remote(claim) as (system, path):
            system.pipe_file(path, json.dumps(asdict(mine)).encode())
