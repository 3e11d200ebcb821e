"""Files over HTTP that may break off, with nothing but the standard library: proxies are those of the environment."""

from __future__ import annotations

import errno
import http.client
import json
import re
import shutil
import ssl
import time
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, Request, build_opener

from tal_cli import __version__, console
from tal_cli.extractors.errors import DownloadError
from tal_cli.model_files.download.request import FileRequest
from tal_cli.safe_text import one_line

TIMEOUT = 30.0  # seconds without a byte
PAUSES = (0.5, 1.0, 2.0, 4.0)  # seconds before trying again; as often in a row without getting further
FURTHER = 1 << 16  # bytes that count as getting further
PIECE = 1 << 20
PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
# What a disk says, and will go on saying.
LASTING = frozenset({errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EPERM})
AGAIN = "run the command again: it goes on from there"


class _Broken(Exception):
    """The connection failed in a way that may pass."""


@dataclass(frozen=True)
class _Reply:
    """A server's answer: where its bytes belong in the file, and how long the whole file is (None: it does not say)."""

    start: int
    total: int | None
    validator: str | None


def receive(request: FileRequest) -> None:
    """Fill `request.part` to its end. Hashes are the caller's to check.

    Raises:
        DownloadError: the server has no such file, or breaks off again and again without getting further.
    """
    failures = 0
    while True:
        before = _size(request.part)
        try:
            _attempt(request)
            return
        except _Broken as error:
            got = _size(request.part)
            failures = 0 if got >= before + FURTHER else failures + 1
            if failures > len(PAUSES):
                raise DownloadError(f"{request.file}: {error}", AGAIN if got else "") from None
            time.sleep(PAUSES[max(0, failures - 1)])


def _attempt(request: FileRequest) -> None:
    """Receive what is missing. Raises _Broken, DownloadError."""
    headers = {"User-Agent": f"tal/{__version__}", "Accept-Encoding": "identity", **request.headers}
    have, validator = _size(request.part), _validator(request)
    if have and validator is not None:
        headers["Range"] = f"bytes={have}-"
        if request.version is None:
            headers["If-Range"] = validator
    try:
        with _open(Request(request.url, headers=headers), request) as response:
            reply = _understand(response, request, have)
            _check(response, reply, request)
            _note_validator(request, reply.validator)
            _write(response, reply, request)
    except HTTPError as error:
        if error.code == 416 and _is_whole(error, have):
            return
        if error.code == 416:
            forget(request.part)
        raise _Broken(f"the server answered {error.code}") from None
    except (URLError, http.client.HTTPException, OSError) as error:
        if isinstance(error, OSError) and error.errno in LASTING:
            raise DownloadError(f"{request.file}: {request.part.parent}: {error.strerror}") from None
        if isinstance(error, URLError) and isinstance(error.reason, ssl.SSLCertVerificationError):
            raise DownloadError(f"{request.file}: {one_line(error.reason)}") from None
        raise _Broken(_reason(error)) from None


def _open(asked: Request, request: FileRequest) -> Any:
    """The response. Raises HTTPError for codes that may pass, DownloadError for those that will not."""
    if urlsplit(asked.full_url).scheme not in ("http", "https"):
        raise DownloadError(f"{request.file}: {asked.full_url} is no web address")
    try:
        return build_opener(_Redirects).open(asked, timeout=TIMEOUT)
    except HTTPError as error:
        if error.code in PASSING or error.code == 416:
            raise
        host = urlsplit(asked.full_url).netloc
        if 300 <= error.code < 400:
            raise DownloadError(f"{request.file}: {host} redirects to where nobody can follow") from None
        meaning = {401: ", it asks for a login", 403: ", it refuses", 404: ", it has no such file", 410: ", it is gone"}
        raise DownloadError(f"{request.file}: {host} answered {error.code}{meaning.get(error.code, '')}") from None


class _Redirects(HTTPRedirectHandler):
    """Follows redirections, but not from an encrypted connection to an open one, and takes no password along."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> Request | None:
        old, new = urlsplit(req.full_url), urlsplit(newurl)
        if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme == "http"):
            raise DownloadError(f"{old.netloc} redirects to {new.scheme}://{new.netloc}, which is not followed")
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None and new.netloc != old.netloc:
            request.remove_header("Authorization")
        return request


def _understand(response: Any, request: FileRequest, have: int) -> _Reply:
    """Raises _Broken for a part of the file that was not asked for."""
    length = response.headers.get("Content-Length")
    size = int(length) if length is not None and length.isdecimal() else None
    validator = request.version or _strong(response.headers.get("ETag")) or response.headers.get("Last-Modified")
    if response.status != 206:
        return _Reply(0, size, validator)
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
    if match is None or int(match[1]) != have:
        forget(request.part)
        raise _Broken("the server sent another part of the file than the one asked for")
    total = int(match[2]) if match[2] != "*" else (None if size is None else have + size)
    return _Reply(have, total, validator)


def _strong(tag: str | None) -> str | None:
    """An ETag that stands for every byte."""
    return tag if tag and not tag.startswith("W/") else None


def _check(response: Any, reply: _Reply, request: FileRequest) -> None:
    """Raises DownloadError for what can be told to be wrong before it arrives."""
    if response.headers.get_content_type() == "text/html":
        # A login, a captive portal or an excuse; to pin its hash would lock the file out.
        raise DownloadError(f"{request.file}: the server sent a web page instead of the file")
    ends = reply.total is not None or response.headers.get("Transfer-Encoding", "").lower() == "chunked"
    if not ends and request.size is None and request.sha256 is None:
        raise DownloadError(
            f"{request.file}: the server does not say how long it is, so nobody can tell when it is whole"
        )
    if request.size is not None and reply.total is not None and reply.total != request.size:
        raise DownloadError(
            f"{request.file}: the server's file has {reply.total} bytes, the published one {request.size}"
        )
    free = shutil.disk_usage(request.part.parent).free
    if reply.total is not None and reply.total - reply.start > free:
        raise DownloadError(
            f"{request.file}: {(reply.total - reply.start) / 1e9:.1f} GB to come, {free / 1e9:.1f} GB free in"
            f" {request.part.parent}",
            "make room, or set TAL_HOME to a folder on another disk",
        )


def _write(response: Any, reply: _Reply, request: FileRequest) -> None:
    """Append what arrives to the part. Raises _Broken where the connection ends before the file does."""
    total = reply.total or request.size
    done = reply.start
    with (
        open(request.part, "r+b" if reply.start else "wb") as file,
        console.progress(request.file, None if total is None else total / 1e6, "MB") as bar,
    ):
        file.seek(reply.start)
        file.truncate()
        bar(done / 1e6, None if total is None else total / 1e6)
        while piece := response.read(PIECE):
            done += len(piece)
            if request.size is not None and done > request.size:
                forget(request.part)
                raise DownloadError(f"{request.file}: the server sends more than its {request.size} bytes")
            file.write(piece)
            bar.advance(len(piece) / 1e6)
    if total is not None and done < total:
        raise _Broken(f"the connection broke off after {done} of {total} bytes")


def _is_whole(error: HTTPError, have: int) -> bool:
    """Whether a server that has nothing beyond `have` bytes says that this is all."""
    return (error.headers.get("Content-Range") or "") == f"bytes */{have}"


def _marker(part: Path) -> Path:
    """The file that says what the part is a part of."""
    return part.with_name(part.name + ".json")


def _validator(request: FileRequest) -> str | None:
    """What names the content that the part holds a beginning of; None where it cannot be continued."""
    try:
        noted = json.loads(_marker(request.part).read_text(encoding="utf8"))["validator"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not isinstance(noted, str) or (request.version is not None and noted != request.version):
        return None
    return noted


def _note_validator(request: FileRequest, validator: str | None) -> None:
    if validator is None:
        _marker(request.part).unlink(missing_ok=True)
    else:
        _marker(request.part).write_text(json.dumps({"validator": validator}), encoding="utf8")


def forget(part: Path) -> None:
    """Remove a part and what is known of it."""
    part.unlink(missing_ok=True)
    _marker(part).unlink(missing_ok=True)


def _size(part: Path) -> int:
    return part.stat().st_size if part.is_file() else 0


def _reason(error: Exception) -> str:
    """What a failed connection says, in one line."""
    cause = error.reason if isinstance(error, URLError) else error
    if isinstance(cause, TimeoutError):
        return f"no byte came for {TIMEOUT:.0f} seconds"
    if isinstance(cause, http.client.IncompleteRead):
        return "the connection broke off"
    return one_line(cause) or type(cause).__name__
