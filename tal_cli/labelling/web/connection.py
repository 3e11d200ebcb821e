"""One connection of the page's server: reads requests, within limits of size and time, and writes answers."""

from __future__ import annotations

import io
import socket
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any, cast
from urllib.parse import parse_qs, unquote, urlsplit

from tal_cli import console
from tal_cli.error_report import write_log
from tal_cli.labelling.web.messages import Refused, Request, Response

HEAD, BODY = 16 << 10, 1 << 20  # bytes
PATIENCE = 30.0  # seconds for a request's head, and for its body
LONGEST_NUMBER = 20  # digits
DRAINING = 2.0  # seconds
MOST_DRAINED = 8 << 20  # bytes
STALLED = 600.0  # seconds until a client that takes nothing of its answer is left: a paused player takes nothing
SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src 'self' blob:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


class Handler(BaseHTTPRequestHandler):
    """One connection: reads requests, writes answers."""

    protocol_version = "HTTP/1.1"
    server: Any  # Server
    connection: socket.socket

    def handle(self) -> None:
        """Answer requests until the connection ends."""
        self._left = b""
        self.close_connection = False
        while not self.close_connection:
            self.close_connection = True
            try:
                self._one()
            except OSError:  # gone, or too slow
                return

    def _one(self) -> None:
        self.server.wait(self.connection, True)
        self.command, self.request_version, self.requestline = "GET", self.protocol_version, ""  # of no request yet
        deadline = time.monotonic() + PATIENCE
        try:
            head = self._take(deadline, lambda data: data.find(b"\r\n\r\n") + 4 if b"\r\n\r\n" in data else 0, HEAD)
        except Refused as error:
            self._say(error.response)
            self._drain()
            return
        finally:
            self.server.wait(self.connection, False)
        if not head:
            return
        line, _, rest = head.partition(b"\r\n")
        self.raw_requestline, self.rfile = line + b"\r\n", io.BytesIO(rest)
        if not self.parse_request():
            return
        self.close_connection = self.close_connection or self.headers.get("Connection", "").lower() == "close"
        try:
            self._say(self._answer(deadline))
        except Refused as error:
            self._say(error.response)
            if self.close_connection:
                self._drain()

    def _drain(self) -> None:
        """Take what the client still sends, up to a limit: closed with bytes unread, it would not see the answer."""
        self.connection.shutdown(socket.SHUT_WR)
        deadline, left = time.monotonic() + DRAINING, MOST_DRAINED
        while left > 0 and time.monotonic() < deadline:
            self.connection.settimeout(DRAINING)
            data = self.connection.recv(64 << 10)
            if not data:
                return
            left -= len(data)

    def _answer(self, deadline: float) -> Response:
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            parts = urlsplit(self.path)
        except ValueError:
            raise Refused(400, "the address cannot be read") from None
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        bare = Request(self.command, unquote(parts.path), query, headers, b"")
        try:
            self.server.check(bare)
            body = self._body(headers, deadline + PATIENCE)
            request = Request(bare.method, bare.path, query, headers, body)
            if request.path == "/api/session":
                if request.method != "POST":
                    raise Refused(404, "/api/session: POST the token")
                return cast(Response, self.server.begin_session(request))
            return self._responded(request)
        except Refused as error:
            if error.status in (403, 413):
                self.close_connection = True  # the body may be unread
                console.warn(f"rejected: {self.command} {parts.path}: {error}")
            raise

    def _responded(self, request: Request) -> Response:
        try:
            return cast(Response, self.server.respond(request))
        except (Refused, OSError):
            raise
        except Exception as error:  # a bug costs one request, not the page
            path = write_log(error, [request.method, request.path])
            console.error(f"internal error (a bug in tal): {type(error).__name__}: {error}; see {path}")
            raise Refused(500, f"internal error (a bug in tal); the traceback is in {path}") from error

    def _body(self, headers: dict[str, str], deadline: float) -> bytes:
        if "transfer-encoding" in headers:
            self.close_connection = True
            raise Refused(400, "Transfer-Encoding is not read; send Content-Length")
        text = headers.get("content-length", "0")
        if not text.isascii() or not text.isdigit() or len(text) > LONGEST_NUMBER:
            self.close_connection = True
            raise Refused(400, "Content-Length is not a number")
        length = int(text)
        if length > BODY:
            raise Refused(413, f"the body has {length} bytes, more than {BODY}; send fewer ops at once")
        return self._take(deadline, lambda data: length if len(data) >= length else 0, length) if length else b""

    def _take(self, deadline: float, end_of: Callable[[bytes], int], most: int) -> bytes:
        """Read up to an end. Raises Refused: it is longer than `most`; OSError: the client is gone or too slow."""
        while not (end := end_of(self._left)):
            if len(self._left) > most:
                raise Refused(413, f"the head of the request has more than {most} bytes")
            self.connection.settimeout(max(0.01, deadline - time.monotonic()))
            data = self.connection.recv(64 << 10)
            if not data:
                self._left = b""
                return b""
            if time.monotonic() > deadline:
                raise OSError("too slow")
            self._left += data
        taken, self._left = self._left[:end], self._left[end:]
        if len(taken) > most:
            raise Refused(413, f"the head of the request has more than {most} bytes")
        return taken

    def _say(self, response: Response) -> None:
        self.connection.settimeout(STALLED)
        body = response.body
        length = len(body) if isinstance(body, bytes) else response.length
        self.send_response_only(response.status)
        fields = {**SECURITY, "Cache-Control": "no-store", "Content-Type": response.kind, **response.headers}
        if length is None:
            self.close_connection = True
        else:
            fields["Content-Length"] = str(length)
        if self.close_connection:
            fields["Connection"] = "close"
        for name, value in fields.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            sent = 0
            for piece in [body] if isinstance(body, bytes) else body:
                self.connection.sendall(piece)
                sent += len(piece)
            if length is not None and sent < length:  # a file that was cut meanwhile: the client waits for the rest
                self.close_connection = True
        if response.after is not None:
            response.after()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """An error of the standard library's parser, in the form of ours."""
        self.close_connection = True
        self.command, self.request_version = "GET", self.protocol_version
        self._say(Refused(400, message or "the request cannot be read").response)
