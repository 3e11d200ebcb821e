"""Downloads one file over HTTP(S), resuming after connection failures. Proxies are taken from the environment.

The hub libraries cannot resume in general: huggingface_hub drops partial files, and gdown only supports Google Drive.
Hashes are verified by the caller (`download.py`).
"""

from __future__ import annotations

import http.client
import shutil
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import BaseHandler, HTTPRedirectHandler, Request, build_opener

from tal_cli import __version__, console
from tal_cli.extractors.errors import DownloadError
from tal_cli.safe_text import one_line

TIMEOUT = 30.0  # seconds without a byte
PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds between consecutive attempts without progress
TEMPORARY = frozenset({408, 425, 429, 500, 502, 503, 504})
RESUMED = "run the command again to resume"


@dataclass(frozen=True, kw_only=True)
class Download:
    """One file to receive.

    Attributes:
        name: name of the file, for messages.
        part: the partial file; bytes of an earlier attempt are kept.
        size: size in bytes, None if unknown.
        has_hash: whether the caller verifies a known hash; any partial file may then be resumed.
        authorization: header for the host of the URL only.
        handlers: of urllib, for other certificates or proxies.
    """

    url: str
    name: str
    part: Path
    size: int | None
    has_hash: bool
    authorization: str | None = None
    handlers: tuple[BaseHandler, ...] = ()


class Interrupted(Exception):
    """A failure after which another attempt may succeed."""


def receive(download: Download) -> None:
    """Download the rest of `download.part`.

    Raises:
        DownloadError: the server has no such file, it is not the published one, or attempts make no progress.
    """
    failures, furthest = 0, length_of(download.part)
    while True:
        try:
            attempt(download)
            return
        except Interrupted as error:
            have = length_of(download.part)
            failures = 0 if have > furthest else failures + 1
            furthest = max(furthest, have)
            if failures > len(PAUSES):
                raise DownloadError(f"{download.name}: {error}", RESUMED if have else "") from None
            if failures:
                time.sleep(PAUSES[failures - 1])


def attempt(download: Download) -> None:
    """Download the missing bytes once. Raises Interrupted, DownloadError."""
    have = length_of(download.part)
    try:
        opener = build_opener(*(download.handlers or (SafeRedirects(),)))
        with opener.open(request_for(download, have), timeout=TIMEOUT) as response:
            start, total = check(response, download, have)
            note_etag(download.part, response.headers.get("ETag"))
            write(response, download, start, total)
    except HTTPError as error:
        if error.code == 416 and error.headers.get("Content-Range") == f"bytes */{have}":
            return  # the file is already complete
        if error.code == 416:
            forget(download.part)
        if error.code == 416 or error.code in TEMPORARY:
            raise Interrupted(f"the server answered {error.code}") from None
        host = urlsplit(download.url).netloc
        raise DownloadError(f"{download.name}: {host} answered {error.code} {one_line(error.reason)}") from None
    except (URLError, http.client.HTTPException, TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise Interrupted(connection_failure(error)) from None
    except OSError as error:
        raise DownloadError(f"{download.name}: {download.part.parent}: {error.strerror or error}") from None


def request_for(download: Download, have: int) -> Request:
    """A request for the missing bytes; for the complete file if the partial one may be of another version."""
    request = Request(download.url, headers={"User-Agent": f"tal/{__version__}"})
    etag = noted_etag(download.part)
    if have and (etag or download.has_hash):
        request.add_header("Range", f"bytes={have}-")
        if etag:
            request.add_header("If-Range", etag)
    if download.authorization:
        request.add_unredirected_header("Authorization", download.authorization)
    return request


class SafeRedirects(HTTPRedirectHandler):
    """Follows redirects, except from HTTPS to an unencrypted connection."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise HTTPError(req.full_url, code, f"redirects to {newurl}, which is not encrypted", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check(response: Any, download: Download, have: int) -> tuple[int, int | None]:
    """Offset of a response's bytes in the file, and the file's length (None: unknown).

    Raises:
        Interrupted: not the requested range.
        DownloadError: the headers show that this is not the file.
    """
    start = 0
    if response.status == 206:
        start = have
        if not response.headers.get("Content-Range", "").startswith(f"bytes {have}-"):
            forget(download.part)
            raise Interrupted("the server sent another part of the file than requested")
    total = None if response.length is None else start + response.length
    name, folder = download.name, download.part.parent
    if response.headers.get_content_type() == "text/html":
        # A login page or a captive portal; its hash must not be pinned.
        raise DownloadError(f"{name}: the server sent a web page instead of the file")
    if total is None and not response.chunked and download.size is None and not download.has_hash:
        raise DownloadError(f"{name}: the server does not state its length, so a truncated file could not be detected")
    if download.size is not None and total is not None and total != download.size:
        raise DownloadError(f"{name}: the server's file has {total} bytes, the published one {download.size}")
    free = shutil.disk_usage(folder).free
    if total is not None and total - start > free:
        raise DownloadError(
            f"{name}: {(total - start) / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free in {folder}",
            "free disk space, or set TAL_HOME to a folder on another disk",
        )
    return start, download.size if total is None else total


def write(response: Any, download: Download, start: int, total: int | None) -> None:
    """Append received bytes to the partial file. Raises Interrupted if the connection ends early."""
    done, megabytes = start, None if total is None else total / 1e6
    with (
        open(download.part, "r+b" if start else "wb") as file,
        console.progress(download.name, megabytes, "MB") as bar,
    ):
        file.seek(start)
        file.truncate()
        bar(done / 1e6, megabytes)
        while piece := response.read(1 << 20):
            done += len(piece)
            if download.size is not None and done > download.size:
                forget(download.part)
                raise DownloadError(f"{download.name}: the server sends more than its {download.size} bytes")
            file.write(piece)
            bar.advance(len(piece) / 1e6)
    if total is not None and done < total:
        raise Interrupted(f"the connection was interrupted after {done} of {total} bytes")


def length_of(part: Path) -> int:
    """Size of the partial file in bytes."""
    return part.stat().st_size if part.is_file() else 0


def etag_path(part: Path) -> Path:
    """The file with the ETag of a partial file."""
    return part.with_name(f"{part.name}.etag")


def noted_etag(part: Path) -> str | None:
    """The stored ETag of a partial file, None if there is none."""
    try:
        return etag_path(part).read_text(encoding="latin-1") or None
    except OSError:
        return None


def note_etag(part: Path, etag: str | None) -> None:
    """Store an ETag, except a weak one, which does not guarantee identical bytes."""
    etag_path(part).write_text("" if etag is None or etag.startswith("W/") else etag, encoding="latin-1")


def forget(part: Path) -> None:
    """Remove a partial file and its ETag."""
    part.unlink(missing_ok=True)
    etag_path(part).unlink(missing_ok=True)


def connection_failure(error: Exception) -> str:
    """A failed connection's reason, in one line."""
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no byte came for {TIMEOUT:.0f} seconds"
    if isinstance(cause, http.client.IncompleteRead):
        return "the connection broke off"
    return one_line(cause) or type(cause).__name__
