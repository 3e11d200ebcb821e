"""Downloads one file over HTTP(S), resuming after connection failures. Proxies are taken from the environment.

The hub libraries cannot resume in general: huggingface_hub drops partial files, and gdown only supports Google Drive.
Hashes are verified by the caller (`download.py`).
"""

from __future__ import annotations

import http.client
import io
import re
import shutil
import socket
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import BaseHandler, HTTPHandler, HTTPRedirectHandler, HTTPSHandler, Request, build_opener

from tal_cli import __version__, console
from tal_cli.extractors.errors import DownloadError
from tal_cli.safe_text import one_line

WEB = ("http", "https")
TIMEOUT = 30.0  # seconds without a byte
PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds between consecutive attempts without progress
PROGRESS = 1 << 16  # bytes that count as such, except for the last ones
LEAST_SPEED, MEASURED = 1000, 60.0  # bytes per second that a server must send over so many seconds
LARGEST_UNKNOWN = 4 << 30  # bytes of a file of unknown length
# Bytes of an answer besides those of the file: headers, chunk sizes and trailers.
OVERHEAD = 1 << 20
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
        handlers: of urllib, for other certificates or proxies: PacedHTTP and PacedHTTPS among them.
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
            failures += 1
            if have >= furthest + PROGRESS:
                failures, furthest = 0, have
            if failures > len(PAUSES):
                raise DownloadError(f"{download.name}: {error}", RESUMED if have else "") from None
            if failures:
                time.sleep(PAUSES[failures - 1])


def attempt(download: Download) -> None:
    """Download the missing bytes once. Raises Interrupted, DownloadError."""
    have = length_of(download.part)
    try:
        opener = build_opener(*(download.handlers or (SafeRedirects(), PacedHTTP(), PacedHTTPS())))
        with opener.open(request_for(download, have), timeout=TIMEOUT) as response:
            start, total = check(response, download, have)
            note_etag(download.part, response.headers.get("ETag"))
            write(response, download, start, total)
    except HTTPError as error:
        if error.code == 416 and have and error.headers.get("Content-Range") == f"bytes */{have}":
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
    except Misbehaviour as error:
        raise DownloadError(
            f"{download.name}: the server {error}", RESUMED if length_of(download.part) else ""
        ) from None
    except (ValueError, OverflowError) as error:  # of the libraries, for addresses and numbers that are none
        raise DownloadError(f"{download.name}: the server's answer makes no sense ({one_line(error)[:100]})") from None


def request_for(download: Download, have: int) -> Request:
    """A request for the missing bytes; for the complete file if the partial one may be of another version. Raises
    DownloadError for an address that is not one of HTTP."""
    if urlsplit(download.url).scheme not in WEB:
        raise DownloadError(f"{download.name}: not a web address: {one_line(download.url)[:200]}")
    request = Request(download.url, headers={"User-Agent": f"tal/{__version__}"})
    etag = noted_etag(download.part)
    if have and (etag or download.has_hash):
        request.add_header("Range", f"bytes={have}-")
        if etag:
            request.add_header("If-Range", etag)
    if download.authorization:
        request.add_unredirected_header("Authorization", download.authorization)
    return request


class Misbehaviour(Exception):
    """What a server does that no server should, as the end of a sentence."""


class Paced(io.RawIOBase):
    """What a server sends, as long as it sends neither too slowly nor more than `limit` bytes.

    Reading raises Misbehaviour otherwise: a time-out alone ends no answer that trickles, and no endless one.
    """

    def __init__(self, source: socket.SocketIO) -> None:
        super().__init__()
        self._source = source
        self._received = self._counted = 0
        self._since = time.monotonic()
        self.limit: float = OVERHEAD

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        count = self._source.readinto(buffer)
        now = time.monotonic()
        self._received += count or 0
        if self._received > self.limit:
            raise Misbehaviour("sends more than belongs to the file")
        if now - self._since > MEASURED:
            if self._received - self._counted < LEAST_SPEED * (now - self._since):
                raise Misbehaviour(f"sends less than {LEAST_SPEED} bytes per second")
            self._counted, self._since = self._received, now
        return count

    def close(self) -> None:
        self._source.close()
        super().close()


class PacedResponse(http.client.HTTPResponse):
    """A response that comes through `Paced`."""

    if TYPE_CHECKING:
        fp: io.BufferedReader
        chunk_left: int | None
        chunked: bool

    def __init__(self, sock: socket.socket, *settings: Any, **more: Any) -> None:
        super().__init__(sock, *settings, **more)
        self.pace = Paced(self.fp.detach())  # type: ignore[arg-type]
        self.fp = io.BufferedReader(self.pace)


def paced(http_class: Any) -> Any:
    """A class of connections whose responses are `PacedResponse`."""
    return type("Connection", (http_class,), {"response_class": PacedResponse})


class PacedHTTP(HTTPHandler):
    """Opens such connections."""

    def do_open(self, http_class: Any, req: Request, **settings: Any) -> http.client.HTTPResponse:
        return super().do_open(paced(http_class), req, **settings)


class PacedHTTPS(HTTPSHandler):
    """Opens encrypted ones."""

    def do_open(self, http_class: Any, req: Request, **settings: Any) -> http.client.HTTPResponse:
        return super().do_open(paced(http_class), req, **settings)


class SafeRedirects(HTTPRedirectHandler):
    """Follows redirects to other web addresses, except from HTTPS to an unencrypted connection."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        if urlsplit(req.full_url).scheme == "https" and urlsplit(newurl).scheme != "https":
            raise HTTPError(req.full_url, code, f"redirects to {newurl}, which is not encrypted", headers, fp)
        if urlsplit(newurl).scheme not in WEB:
            raise HTTPError(req.full_url, code, f"redirects to {newurl}, which is no web address", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def check(response: PacedResponse, download: Download, have: int) -> tuple[int, int | None]:
    """Offset of a response's bytes in the file, and the file's length (None: unknown).

    Raises:
        Interrupted: not the requested range.
        DownloadError: the headers show that this is not the file.
        Misbehaviour: they contradict themselves.
    """
    length, encoding = stated_length(response), response.headers.get("Content-Encoding", "identity")
    if response.status not in (200, 206):
        raise Misbehaviour(f"answered {response.status}")
    if encoding.strip().lower() != "identity":
        raise Misbehaviour(f"sends the file encoded, as {one_line(encoding)[:50]}")
    start = 0
    total = length
    if response.status == 206:
        start = have
        total = end_of_range(response.headers.get("Content-Range", ""), have, length)
        if total is None:
            forget(download.part)
            raise Interrupted("the server sent another part of the file than requested")
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


def stated_length(response: PacedResponse) -> int | None:
    """The length of a response's body; None if it is not stated. Raises Misbehaviour."""
    stated = response.headers.get_all("Content-Length", [])
    if any(re.fullmatch("[0-9]{1,18}", value.strip()) is None for value in stated) or len(set(stated)) > 1:
        raise Misbehaviour(f"states the length {one_line(' and '.join(stated))[:100]!r}")
    if stated and response.chunked:
        raise Misbehaviour("states a length and sends chunks")
    return int(stated[0]) if stated else None


def end_of_range(stated: str, start: int, length: int | None) -> int | None:
    """The length of the file of which a Content-Range is the part from `start`, up to its end unless it is followed by
    more; None if it is another part. length: of the part, None if unknown."""
    match = re.fullmatch(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)", stated.strip())
    if match is None or not start or int(match[1]) != start:
        return None
    end = int(match[2]) + 1
    total = end if match[3] == "*" else int(match[3])
    return total if start < end <= total and length in (None, end - start) else None


def write(response: PacedResponse, download: Download, start: int, total: int | None) -> None:
    """Append received bytes to the partial file. Raises Interrupted if the connection ends early."""
    done, megabytes = start, None if total is None else total / 1e6
    most = LARGEST_UNKNOWN if total is None else total
    response.pace.limit = 8 * most + OVERHEAD  # chunks of one byte take six
    with (
        open(download.part, "r+b" if start else "wb") as file,
        console.progress(download.name, megabytes, "MB") as bar,
    ):
        file.seek(start)
        file.truncate()
        bar(done / 1e6, megabytes)
        while piece := response.read1(1 << 20):
            done += len(piece)
            if response.chunked and (response.chunk_left or 0) < 0:
                raise Misbehaviour("sends a chunk of negative length")
            if done > most:
                forget(download.part)
                raise DownloadError(f"{download.name}: the server sends more than {told(most, total)}")
            file.write(piece)
            bar.advance(len(piece) / 1e6)
    if not done and not total:
        raise Misbehaviour("sends an empty file")
    if total is not None and done < total:
        raise Interrupted(f"the connection was interrupted after {done} of {total} bytes")


def told(most: int, total: int | None) -> str:
    """The most bytes that a file may have, in words."""
    return f"its {total} bytes" if total is not None else f"{most >> 30} GiB, the most for a file of unknown length"


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
    """Store an ETag, except a weak one, which does not guarantee identical bytes, and what is none."""
    is_strong = re.fullmatch('"[!-~]{1,200}"', etag or "") is not None
    etag_path(part).write_text(etag if etag and is_strong else "", encoding="latin-1")


def forget(part: Path) -> None:
    """Remove a partial file and its ETag."""
    part.unlink(missing_ok=True)
    etag_path(part).unlink(missing_ok=True)


def connection_failure(error: Exception) -> str:
    """A failed connection's reason, in one line."""
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no byte came for {TIMEOUT:.0f} seconds"
    if isinstance(cause, http.client.IncompleteRead | http.client.RemoteDisconnected):
        return "the connection broke off"
    if isinstance(cause, http.client.HTTPException):
        return f"the server's answer is not HTTP ({one_line(cause)[:100] or type(cause).__name__})"
    return one_line(cause) or type(cause).__name__
