"""A small HTTP server for one browser on this machine: it listens on the loopback addresses only.

Requests without the right Host, Origin and cookie, and those that are too large or too slow, are rejected here; what
the others get, `api.py` says.
"""

from __future__ import annotations

import errno
import hmac
import secrets
import socket
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from typing import Any, cast

from tal_cli.extractors.errors import UsageError
from tal_cli.labelling.web.connection import Handler
from tal_cli.labelling.web.messages import Refused, Request, Response, answer_json

ADDRESSES = ((socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"))
CONNECTIONS = 64
ATTEMPTS = 20  # at a port that is free on both addresses
SEND_BUFFER = 256 << 10  # bytes; the system's own may hold megabytes that a seek makes useless


class Server:
    """Listens on a port of 127.0.0.1 and ::1.

    Args:
        port: 0 for a free one, `usual` if that is free: what a browser keeps belongs to a port.
        respond: makes the answer to a request that may be answered.

    Raises:
        UsageError: the port is taken.
    """

    def __init__(self, port: int, respond: Callable[[Request], Response], usual: int = 0) -> None:
        self.respond = respond
        self.token = secrets.token_urlsafe(16)
        self._session = secrets.token_urlsafe(24)
        self._sockets = _listen(port, usual)
        self.port = int(self._sockets[0].getsockname()[1])
        self.hosts = {f"{name}:{self.port}" for name in ("127.0.0.1", "[::1]", "localhost")}
        self.cookie = f"tal_label_{self.port}"  # cookies of all ports of a host are one
        self._lock = threading.Lock()
        self._open = 0
        self.waiting: dict[socket.socket, float] = {}  # connections without a request, by when they began to wait

    @property
    def url(self) -> str:
        """The page's address, with the token in its fragment, which browsers send nowhere."""
        return f"http://127.0.0.1:{self.port}/#{self.token}"

    def start(self) -> None:
        """Accept connections, in threads that end with the process."""
        for listening in self._sockets:
            threading.Thread(target=self._accept, args=(listening,), daemon=True).start()

    def close(self) -> None:
        """Accept no more connections."""
        for listening in self._sockets:
            listening.close()

    def _accept(self, listening: socket.socket) -> None:
        while True:
            try:
                connection, address = listening.accept()
            except OSError:
                if listening.fileno() < 0:
                    return
                time.sleep(0.05)  # out of file descriptors: connections will end
                continue
            if not self._admit():
                with suppress(OSError):
                    connection.sendall(
                        b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                    )
                connection.close()
                continue
            threading.Thread(target=self._serve, args=(connection, address), daemon=True).start()

    def _admit(self) -> bool:
        """Count a connection in; where there are too many, the one that has waited longest is closed for it."""
        with self._lock:
            if self._open >= CONNECTIONS:
                if not self.waiting:
                    return False
                oldest = min(self.waiting, key=self.waiting.__getitem__)
                del self.waiting[oldest]
                with suppress(OSError):
                    oldest.shutdown(socket.SHUT_RDWR)
            self._open += 1
            return True

    def _serve(self, connection: socket.socket, address: Any) -> None:
        try:
            with suppress(OSError):
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
                Handler(connection, address, cast(Any, self))
        finally:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
            with self._lock:
                self._open -= 1
                self.waiting.pop(connection, None)

    def wait(self, connection: socket.socket, is_waiting: bool) -> None:
        """Note whether a connection waits for a request."""
        with self._lock:
            if is_waiting:
                self.waiting[connection] = time.monotonic()
            else:
                self.waiting.pop(connection, None)

    # ---- who may ask

    def check(self, request: Request) -> None:
        """Raise Refused for a request that may not be answered."""
        host = request.headers.get("host", "").lower()
        if host not in self.hosts:
            raise Refused(403, f"Host: {host or 'none'} is not this server; open {self.url.partition('#')[0]}")
        changes = request.method not in ("GET", "HEAD")
        if changes and request.headers.get("origin", "").lower() != f"http://{host}":
            raise Refused(403, "Origin is not this server's page; open the page that tal label names")
        site = request.headers.get("sec-fetch-site")
        if site is not None and site != "same-origin" and (changes or (site != "none" and self._is_api(request))):
            raise Refused(403, "the request comes from another site's page")
        if self._is_api(request) and request.path != "/api/session" and not self._knows(request):
            raise Refused(403, "no cookie of this session; open the address that tal label printed")

    @staticmethod
    def _is_api(request: Request) -> bool:
        return request.path != "/" and not request.path.startswith("/static/")

    def _knows(self, request: Request) -> bool:
        with suppress(CookieError):
            given = SimpleCookie(request.headers.get("cookie", "")).get(self.cookie)
            return given is not None and hmac.compare_digest(given.value.encode(), self._session.encode())
        return False

    def begin_session(self, request: Request) -> Response:
        """The cookie for the token. Raises Refused."""
        token = request.json().get("token")
        if not isinstance(token, str) or not hmac.compare_digest(token.encode("utf-8", "replace"), self.token.encode()):
            raise Refused(403, "the token is wrong or of an earlier start; open the address that tal label printed")
        response = answer_json({})
        response.headers["Set-Cookie"] = f"{self.cookie}={self._session}; HttpOnly; SameSite=Strict; Path=/"
        return response


def _listen(port: int, usual: int) -> list[socket.socket]:
    for number in [port] if port else [usual, *[0] * ATTEMPTS]:
        try:
            return _listen_at(number)
        except OSError as error:
            if port:
                reason = error.strerror or error
                raise UsageError(f"--port {port}: {reason}", "leave --port out for a free one") from None
    raise UsageError("no free port on 127.0.0.1 and ::1", "name one with --port")


def _listen_at(port: int) -> list[socket.socket]:
    """Listen on both addresses, on one where the machine has no IPv6. Raises OSError: the port is taken on either."""
    bound: list[socket.socket] = []
    for family, address in ADDRESSES:
        number = bound[0].getsockname()[1] if bound else port
        try:
            bound.append(socket.create_server((address, number), family=family, backlog=CONNECTIONS))
        except OSError as error:
            if not bound or error.errno == errno.EADDRINUSE:
                for listening in bound:
                    listening.close()
                raise
    return bound
