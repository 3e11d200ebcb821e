"""Published files onto this machine: resumed where a download broke off, checked, and there complete or not at all.

A file's SHA-256 is the published one where that is known, else that of the first download, which is pinned under
TAL_HOME.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from tal_cli import console
from tal_cli.extractors.errors import DownloadError, WeightsError
from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.extractors.files.remote import sibling
from tal_cli.extractors.files.weights import (
    DIGITS,
    INDEX,
    WeightsSource,
    file_sha256,
    parts_of,
    pin_path,
    pinned,
)
from tal_cli.model_files.http import Download, forget, receive
from tal_cli.safe_text import one_line


def fetch(source: WeightsSource, target: Path) -> Path:
    """A published file at `target`, downloaded unless it is there. An index of parts brings its parts along.

    Raises:
        DownloadError: offline, no public link, no connection, or not the file it should be. What arrived stays beside
            the target, and the next call resumes there, unless it is wrong.
    """
    if not target.is_file():
        with locked(target):
            if not target.is_file():  # another process may have been first
                download(source, target)
    elif source.sha256 or pinned(target):
        digest = file_sha256(target)
        if wrong := mismatch(source, target, digest):
            remedy = f"remove {target} and pull again"
            raise DownloadError(f"{source.file}: {target} has SHA-256 {digest}, {wrong}", remedy)
    if target.name.endswith(INDEX):
        fetch_parts(source, target)
    return target


def download(source: WeightsSource, target: Path) -> None:
    """Downloads a file, checks it, and pins it where its whole hash is not published. Raises DownloadError."""
    if source.url is None:
        raise DownloadError(f"{source.file}: there is no public download", f"ask for it at {source.page}")
    part = target.with_name(f".{target.name}.part")
    try:
        if is_offline():
            raise DownloadError(f"{source.file}: offline (TAL_OFFLINE or HF_HUB_OFFLINE is set)")
        found = receive_from(source, source.url, part)
        digest = file_sha256(part)
        if wrong := mismatch(found, target, digest):
            forget(part)
            raise DownloadError(
                f"{source.file}: SHA-256 {digest} arrived, {wrong}; not kept",
                "the server's file was replaced, or damaged on the way; if it was rightly replaced, remove"
                f" {pin_path(target)}",
            )
    except DownloadError as error:
        error.remedy = error.remedy or f"get it from {source.page} by hand and put it at {target}"
        raise
    os.replace(part, target)
    forget(part)
    if len(source.sha256 or "") < DIGITS:
        write_atomically(pin_path(target), f"{digest}  {target.name}\n".encode())  # as `sha256sum --check` reads it
        console.note(f"{source.file}: SHA-256 {digest}, pinned: from now on this file is the only one taken for it")


def receive_from(source: WeightsSource, url: str, part: Path) -> WeightsSource:
    """Fills `part` from a URL of any scheme; gives the source with what its host states of it. Raises DownloadError."""
    token = None
    if url.startswith("gdrive://"):
        receive_from_google_drive(source, url, part)
        return source
    if url.startswith("hf://"):
        source, url, token = find_on_hugging_face(source, url)
    receive(
        Download(
            url=url, name=source.file, part=part, size=source.size, has_hash=source.sha256 is not None, token=token
        )
    )
    return source


def find_on_hugging_face(source: WeightsSource, url: str) -> tuple[WeightsSource, str, str | None]:
    """hf://OWNER/REPOSITORY/PATH -> the source with the size and SHA-256 that the hub states, the address, the token.

    Endpoint, token and proxies are those that huggingface_hub is set up with (HF_ENDPOINT, HF_TOKEN, `hf auth login`).

    Raises:
        DownloadError: no such file, no connection, or a repository whose terms must be accepted first.
    """
    from huggingface_hub import get_hf_file_metadata, get_token, hf_hub_url
    from huggingface_hub.errors import GatedRepoError

    owner, repository, path = url.removeprefix("hf://").split("/", 2)
    repo = f"{owner}/{repository}"
    address = hf_hub_url(repo, path, endpoint=os.environ.get("HF_ENDPOINT") or None)
    try:
        found = get_hf_file_metadata(address)
    except GatedRepoError:
        raise DownloadError(
            f"{source.file}: {repo} on Hugging Face asks to accept its terms first",
            f"accept them at https://huggingface.co/{repo}, then `hf auth login` (or set HF_TOKEN), and pull again",
        ) from None
    except Exception as error:  # its own kinds and its HTTP library's, which differ between releases
        raise DownloadError(f"{source.file}: Hugging Face: {one_line(error)[:200]}") from None
    stated = found.etag if re.fullmatch(f"[0-9a-f]{{{DIGITS}}}", found.etag or "") else None
    if stated and source.sha256 and not stated.startswith(source.sha256.lower()):
        raise DownloadError(
            f"{source.file}: Hugging Face now has a file of SHA-256 {stated}, the published one's is {source.sha256}"
        )
    by_the_hub = urlsplit(found.location).netloc == urlsplit(address).netloc  # other hosts need no login
    stated_source = replace(source, sha256=stated or source.sha256, size=source.size or found.size)
    return stated_source, found.location, get_token() if by_the_hub else None


def receive_from_google_drive(source: WeightsSource, url: str, part: Path) -> None:
    """gdrive://ID by gdown, which knows the pages that Google puts before large files.

    Raises:
        DownloadError: no such file, no connection, or one that too many people have asked for today.
    """
    import gdown

    identifier = url.removeprefix("gdrive://")
    try:
        gdown.download(id=identifier, output=str(part), quiet=not console.is_lively(), resume=True)
    except Exception as error:  # gdown's, requests' and urllib3's own kinds
        raise DownloadError(
            f"{source.file}: Google Drive: {one_line(error)[:200]}",
            f"open https://drive.google.com/uc?id={identifier} in a browser; when it says that too many have asked for"
            " it, try again tomorrow",
        ) from None


def fetch_parts(source: WeightsSource, index: Path) -> None:
    """The files that an index names, from beside it. Raises DownloadError, also for an index that is none."""
    try:
        parts = parts_of(index)
    except WeightsError as error:
        raise DownloadError(error.reason, f"remove {index} and pull again") from None
    for part in parts:
        url = source.url and sibling(source.url, part.name)
        fetch(replace(source, file=part.name, url=url, sha256=None, size=None), part)


def mismatch(source: WeightsSource, target: Path, digest: str) -> str:
    """Which hash that is known of a file a SHA-256 contradicts; empty where it agrees with all."""
    for known, whose in ((source.sha256, "the published file's"), (pinned(target), "the first download's")):
        if known and not digest.startswith(known.lower()):
            return f"{whose} is {known}"
    return ""


def is_offline() -> bool:
    """Whether nothing may be downloaded: TAL_OFFLINE or HF_HUB_OFFLINE is set."""
    off = ("", "0", "false", "no")
    return any(os.environ.get(name, "").lower() not in off for name in ("TAL_OFFLINE", "HF_HUB_OFFLINE"))


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Lets one process at a time download a file. Raises DownloadError where nothing can be written there."""
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(blocking=False)
        except Timeout:
            console.note(f"{target.name}: another process is downloading it; waiting")
            lock.acquire()
    except OSError as error:
        raise DownloadError(f"{target.parent}: cannot be written to ({error.strerror or error})") from error
    try:
        yield
    finally:
        if os.name == "posix":  # removed while it is held: filelock counts no lock on a file that has lost its name
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
