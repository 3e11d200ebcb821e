"""A running `tal label`, and a client that speaks to it as the page does."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import Any

from small_runs import TAL


class Client:
    """Requests to the server of one page, with its cookie."""

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.url, self.process = url, process
        self.token = url.partition("#")[2]
        self.port = int(url.rpartition(":")[2].partition("/")[0])
        self.origin = f"http://127.0.0.1:{self.port}"
        self.cookie = ""
        self.number = 0
        status, headers, _ = self.ask("POST", "/api/session", {"token": self.token})
        assert status == 200
        self.cookie = headers["Set-Cookie"].partition(";")[0]

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of the answer to any request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        sent = {"Origin": self.origin, "Content-Type": "application/json", "Cookie": self.cookie} | dict(headers or {})
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        connection.request(method, path, data, {key: value for key, value in sent.items() if value})
        answer = connection.getresponse()
        found = answer.status, answer.headers, answer.read()
        connection.close()
        return found

    def json(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """The JSON of an answer with that status."""
        found, _, content = self.ask(method, path, body)
        assert found == status, content
        return json.loads(content)

    def videos(self) -> dict[str, str]:
        """Ids of the videos by name."""
        return {video["name"]: video["id"] for video in self.json("GET", "/api/project")["videos"]}

    def edges(self, video: str) -> list[float]:
        """Times of the frames, and of the end of the last."""
        status, headers, content = self.ask("GET", f"/api/videos/{video}/frames")
        assert status == 200
        steps, value, shift = [], 0, 0
        for byte in gzip.decompress(content):
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                steps.append(value)
                value = shift = 0
        over, under = map(int, headers["X-Time-Base"].split("/"))
        assert len(steps) == int(headers["X-Frames"])
        return [stamp * over / under for stamp in accumulate(steps, initial=0)]

    def change(self, video: str, *ops: dict[str, Any], status: int = 200, client: str = "a", **more: Any) -> Any:
        """The answer to a list of ops."""
        return self.json("POST", "/api/changes", {"video": video, "client": client, "ops": list(ops), **more}, status)

    def contents(self, video: str) -> Any:
        """Annotations, suggestions and reviewed ranges."""
        return self.json("GET", f"/api/videos/{video}")


@contextmanager
def labelling(*arguments: object, home: Path, code: int | None = 0, **options: Any) -> Iterator[Client]:
    """`tal label` as a process of its own, ended by *Finish* with that exit code; None: however it ends."""
    process = subprocess.Popen(
        [*TAL, "label", *map(str, arguments), "--no-browser"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TAL_HOME": str(home)},
        **options,
    )
    try:
        assert process.stdout is not None and process.stderr is not None
        url = process.stdout.readline().strip()
        assert url, process.stderr.read()
        client = Client(url, process)
        yield client
        if code is not None:
            client.json("POST", "/api/finish", {})
            assert process.wait(30) == code
    finally:
        process.kill()
        process.communicate()
