"""A real HTTP server on this machine that serves one file, well or badly."""

from __future__ import annotations

import hashlib
import re
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

# 256 KiB that begin as a file of weights, also when they are reversed.
CONTENT = b"PK\x03\x04" + bytes(range(256)) * 1024 + b"\x04\x03KP"
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CHUNK = 70_000


@dataclass
class FileServer:
    """url: of its root. asked: how often each path was asked for; ranges: what was asked of it, in order."""

    url: str
    asked: Counter[str] = field(default_factory=Counter)
    ranges: list[str | None] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    content: bytes = CONTENT
    parts: dict[str, bytes] = field(default_factory=dict)  # contents of further files, by name
    raw: bytes = b""  # a whole answer, with its headers
    tag: str = '"one"'
    gated: bool = False
    pieces: list[int] = field(default_factory=list)  # bytes before it breaks off, answer by answer
    closing: threading.Event = field(default_factory=threading.Event)
    elsewhere: bool = True  # large files of the hub lie on another host, small ones on its own


class Handler(BaseHTTPRequestHandler):
    """The first part of the path says what goes wrong."""

    protocol_version = "HTTP/1.1"
    serves: FileServer

    def do_GET(self) -> None:
        what = urlsplit(self.path).path.split("/")[1]  # a proxy is asked for a whole URL
        self.serves.asked[what] += 1
        self.serves.ranges.append(self.headers.get("Range"))
        self.serves.headers.append(dict(self.headers))
        BEHAVIOURS.get(what, gone)(self)

    def do_HEAD(self) -> None:
        self.serves.asked["HEAD"] += 1
        hub(self)

    def log_message(self, format: str, *arguments: object) -> None:
        pass

    def start(self) -> int:
        """Where the answer begins: at the range asked for, where the file is still the one it was asked of."""
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        same = self.headers.get("If-Range") in (None, self.serves.tag)
        return int(match[1]) if match and same else 0

    def answer(self, start: int, *, length: int | None = None, kind: str = "application/octet-stream") -> bytes:
        """Send the headers, and give what belongs behind them."""
        content = self.serves.parts.get(self.path.rpartition("/")[2], self.serves.content)
        if start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return b""
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("Content-Length", str(len(content) - start if length is None else length))
        self.send_header("Content-Type", kind)
        if self.serves.tag:
            self.send_header("ETag", self.serves.tag)
        self.end_headers()
        return content[start:]


def whole(handler: Handler) -> None:
    handler.wfile.write(handler.answer(handler.start()))


def breaks_off(handler: Handler) -> None:
    handler.wfile.write(handler.answer(handler.start())[:CHUNK])
    handler.close_connection = True


def breaks_off_and_is_busy(handler: Handler) -> None:
    """Sends some bytes to every other request, and asks the others to come back later."""
    if handler.serves.asked["breaks-off-and-is-busy"] % 2:
        breaks_off(handler)
    else:
        handler.send_error(503)


def in_pieces(handler: Handler) -> None:
    """Breaks off after as many bytes as it is told, and sends all of the rest when it is told no more."""
    body = handler.answer(handler.start())
    length = handler.serves.pieces.pop(0) if handler.serves.pieces else len(body)
    handler.wfile.write(body[:length])
    handler.close_connection = length < len(body)


def ignores_ranges(handler: Handler) -> None:
    """Breaks off the first time, and always begins at the beginning."""
    body = handler.answer(0)
    handler.wfile.write(body[:CHUNK] if handler.serves.asked["ignores-ranges"] == 1 else body)
    handler.close_connection = True


def never_whole(handler: Handler) -> None:
    """Breaks off at the same place for ever."""
    handler.wfile.write(handler.answer(0)[:CHUNK])
    handler.close_connection = True


def promises_more(handler: Handler) -> None:
    body = handler.answer(0, length=len(handler.serves.content) + 1000)
    handler.wfile.write(body)
    handler.close_connection = True


def promises_less(handler: Handler) -> None:
    body = handler.answer(0, length=len(handler.serves.content) - 1000)
    handler.wfile.write(body[:-1000])


def another_part(handler: Handler) -> None:
    """Breaks off, and then answers every range with a wrong one."""
    if handler.headers.get("Range") is None:
        handler.wfile.write(
            handler.answer(0)[:CHUNK] if handler.serves.asked["another-part"] == 1 else handler.answer(0)
        )
        handler.close_connection = True
        return
    handler.wfile.write(handler.answer(1))


def changes(handler: Handler) -> None:
    """Breaks off, and has another version of the file by the next time."""
    body = handler.answer(handler.start())
    if handler.serves.asked["changes"] == 1:
        handler.wfile.write(body[:CHUNK])
        handler.close_connection = True
        handler.serves.content, handler.serves.tag = bytes(reversed(CONTENT)), '"two"'
    else:
        handler.wfile.write(body)


def redirects(handler: Handler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "/whole/elsewhere")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def in_circles(handler: Handler) -> None:
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def to_a_file(handler: Handler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "file:///etc/passwd")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def busy(handler: Handler) -> None:
    if handler.serves.asked["busy"] > 2:
        return whole(handler)
    handler.send_error(503)


def gone(handler: Handler) -> None:
    handler.send_error(404)


def web_page(handler: Handler) -> None:
    handler.wfile.write(handler.answer(0, kind="text/html; charset=utf-8"))


def endless(handler: Handler) -> None:
    """No length: the end of the connection is the end of the file."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/octet-stream")
    handler.send_header("Connection", "close")
    handler.end_headers()
    handler.wfile.write(CONTENT)
    handler.close_connection = True


def in_chunks(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for first in range(0, len(CONTENT), CHUNK):
        piece = CONTENT[first : first + CHUNK]
        handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")


def raw(handler: Handler) -> None:
    handler.wfile.write(handler.serves.raw)
    handler.close_connection = True


def chunks_without_end(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    while not handler.serves.closing.is_set():
        handler.wfile.write(b"10000\r\n" + bytes(1 << 16) + b"\r\n")


def trickles(handler: Handler) -> None:
    body = handler.answer(0)
    for at in range(len(body)):
        handler.wfile.write(body[at : at + 1])
        handler.wfile.flush()
        if handler.serves.closing.wait(0.05):
            return


def falls_silent(handler: Handler) -> None:
    handler.wfile.write(handler.answer(0)[:CHUNK])
    handler.wfile.flush()
    handler.serves.closing.wait()
    handler.close_connection = True


def hub(handler: Handler) -> None:
    """What Hugging Face says of a large file: where it is, how long, and its SHA-256; or that terms come first."""
    if handler.serves.gated:
        handler.send_response(403)
        handler.send_header("X-Error-Code", "GatedRepo")
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    handler.send_response(302 if handler.serves.elsewhere else 200)
    handler.send_header("X-Repo-Commit", "0" * 40)
    handler.send_header("X-Linked-Size", str(len(handler.serves.content)))
    handler.send_header("X-Linked-Etag", f'"{SHA256}"')
    if handler.serves.elsewhere:
        other_host = handler.serves.url.replace("127.0.0.1", "localhost")
        handler.send_header("Location", f"{other_host}/breaks-off/from-the-hub")
    handler.send_header("Content-Length", "0")
    handler.end_headers()


BEHAVIOURS: dict[str, Callable[[Handler], None]] = {
    "whole": whole,
    "breaks-off": breaks_off,
    "breaks-off-and-is-busy": breaks_off_and_is_busy,
    "ignores-ranges": ignores_ranges,
    "never-whole": never_whole,
    "promises-more": promises_more,
    "promises-less": promises_less,
    "another-part": another_part,
    "changes": changes,
    "redirects": redirects,
    "in-circles": in_circles,
    "to-a-file": to_a_file,
    "busy": busy,
    "gone": gone,
    "web-page": web_page,
    "endless": endless,
    "in-chunks": in_chunks,
    "in-pieces": in_pieces,
    "falls-silent": falls_silent,
    "raw": raw,
    "chunks-without-end": chunks_without_end,
    "trickles": trickles,
    "owner": whole,
}


@contextmanager
def serve() -> Iterator[FileServer]:
    """A server on a free port, for as long as the context lasts."""
    state = FileServer("")
    handler = type("Bound", (Handler,), {"serves": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        state.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            state.closing.set()
            server.shutdown()
            thread.join()
