"""Copies of files at URLs: bounded where their length is unknown."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import fsspec
import pytest

from tal_cli.extractors.errors import RemoteError
from tal_cli.extractors.files import remote

URL = "memory://tal-copies/a.mp4"


@pytest.fixture(autouse=True)
def file_in_memory() -> None:
    with fsspec.open(URL, "wb") as file:
        file.write(b"x" * 5000)


def test_a_copy_is_the_file() -> None:
    with remote.on_this_machine(URL) as path:
        assert path.read_bytes() == b"x" * 5000


def test_a_file_of_unknown_length_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = SimpleNamespace(size=None, read=lambda count: bytes(count))
    monkeypatch.setattr(remote, "LARGEST_UNKNOWN", 3 << 20)
    monkeypatch.setattr(fsspec.get_filesystem_class("memory"), "open", lambda *_: nullcontext(endless))
    with pytest.raises(RemoteError, match="longer than 3145728 bytes"), remote.on_this_machine(URL):
        pass


def test_a_file_that_comes_too_slowly_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "MEASURED", -1.0)
    monkeypatch.setattr(remote, "LEAST_SPEED", 1 << 60)
    with pytest.raises(RemoteError, match="bytes per second"), remote.on_this_machine(URL):
        pass
