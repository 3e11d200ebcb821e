"""Downloads, from a real server on this machine that misbehaves in every way servers do."""

from __future__ import annotations

import hashlib
import io
import json
import threading
import urllib.request
from collections.abc import Iterator
from email.message import Message
from pathlib import Path
from urllib.error import HTTPError

import pytest
from file_server import CHUNK, CONTENT, SHA256, FileServer, serve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tal_cli.error_report import exit_code_of
from tal_cli.extractors.errors import EXIT_MISSING, DownloadError, WeightsError
from tal_cli.extractors.files.weights import WeightsSource, pin_path, pinned, weights_path, weights_sha256
from tal_cli.model_files import http
from tal_cli.model_files.download import fetch


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve() as running:
        yield running


@pytest.fixture(autouse=True)
def at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAL_HOME", str(tmp_path))
    monkeypatch.setattr(http, "PAUSES", (0.0, 0.0))
    for name in ("TAL_OFFLINE", "HF_HUB_OFFLINE", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)


def source(server: FileServer, what: str, *, sha256: str | None = None, size: int | None = None) -> WeightsSource:
    return WeightsSource(
        file="weights.pth",
        url=f"{server.url}/{what}/weights.pth",
        page="https://example.org/weights",
        licence="MIT",
        sha256=sha256,
        size=size,
    )


def pull(wanted: WeightsSource) -> Path:
    return fetch(wanted, weights_path(wanted))


def left_in(folder: Path) -> set[str]:
    return {path.name for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "what",
    ["whole", "breaks-off", "ignores-ranges", "redirects", "busy", "in-chunks", "another-part"],
)
def test_the_file_arrives_whole_whatever_the_server_does(server: FileServer, what: str, tmp_path: Path) -> None:
    path = pull(source(server, what, sha256=SHA256))
    assert path.read_bytes() == CONTENT
    assert left_in(tmp_path) == {"weights.pth"}


def test_a_broken_download_goes_on_where_it_stopped(server: FileServer) -> None:
    pull(source(server, "breaks-off"))
    assert server.ranges == [None, f"bytes={CHUNK}-", f"bytes={2 * CHUNK}-", f"bytes={3 * CHUNK}-"]


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    content=st.binary(min_size=1, max_size=4000), pieces=st.lists(st.integers(0, 1500), max_size=6), named=st.booleans()
)
def test_wherever_it_breaks_off_the_file_is_whole(
    server: FileServer, content: bytes, pieces: list[int], named: bool
) -> None:
    content = b"PK\x03\x04" + content
    server.content, server.pieces, server.tag = content, list(pieces), '"one"' if named else ""
    known = None if named else hashlib.sha256(content).hexdigest()
    wanted = source(server, "in-pieces", sha256=known)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(http, "PAUSES", (0.0,) * 7)
        path = pull(wanted)
    assert path.read_bytes() == content
    path.unlink()
    pin_path(path).unlink(missing_ok=True)


def test_another_run_goes_on_where_the_last_one_stopped(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server breaks off, and is busy when it is asked again."""
    monkeypatch.setattr(http, "PAUSES", ())
    wanted = source(server, "breaks-off-and-is-busy")
    for _ in range(3):
        with pytest.raises(DownloadError, match="the server answered 503") as caught:
            pull(wanted)
        assert "to resume" in caught.value.remedy
        assert not weights_path(wanted).exists()
    assert pull(wanted).read_bytes() == CONTENT
    resumed = [None, CHUNK, CHUNK, 2 * CHUNK, 2 * CHUNK, 3 * CHUNK, 3 * CHUNK]
    assert server.ranges == [start and f"bytes={start}-" for start in resumed]


def test_a_server_that_falls_silent_is_left(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "TIMEOUT", 0.3)
    monkeypatch.setattr(http, "PAUSES", ())
    with pytest.raises(DownloadError, match="no byte came"):
        pull(source(server, "falls-silent"))


def test_parts_of_two_versions_are_never_joined(server: FileServer) -> None:
    assert pull(source(server, "changes")).read_bytes() == bytes(reversed(CONTENT))


def test_without_a_version_and_a_hash_nothing_is_continued(server: FileServer) -> None:
    server.tag = ""
    with pytest.raises(DownloadError):
        pull(source(server, "breaks-off"))
    assert set(server.ranges) == {None}


def test_with_a_hash_a_nameless_version_is_continued(server: FileServer) -> None:
    server.tag = ""
    assert pull(source(server, "breaks-off", sha256=SHA256)).read_bytes() == CONTENT
    assert f"bytes={CHUNK}-" in server.ranges


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("never-whole", f"was interrupted after {CHUNK} of {len(CONTENT)} bytes"),
        ("promises-more", f"was interrupted after {len(CONTENT)} of {len(CONTENT) + 1000} bytes"),
        ("gone", "answered 404 Not Found"),
        ("web-page", "a web page instead of the file"),
        ("endless", "does not state its length"),
        ("in-circles", "infinite loop"),
        ("to-a-file", "file:///etc/passwd.* is not allowed"),
    ],
)
def test_what_cannot_be_had_is_said_and_leaves_no_file(server: FileServer, what: str, message: str) -> None:
    wanted = source(server, what)
    with pytest.raises(DownloadError, match=message) as caught:
        pull(wanted)
    assert exit_code_of(caught.value) == EXIT_MISSING
    assert caught.value.remedy
    assert not weights_path(wanted).exists()
    assert pinned(weights_path(wanted)) is None


def answer(*headers: bytes, status: bytes = b"200 OK", body: bytes = CONTENT[:1000]) -> bytes:
    return b"\r\n".join([b"HTTP/1.1 " + status, *headers, b"", b""]) + body


LENGTH, CHUNKED = b"Content-Length: 1000", b"Transfer-Encoding: chunked"
MALFORMED = {
    "nothing": b"",
    "no HTTP": b"\x00\xff\x1b[2J" * 100,
    "a line without end": b"x" * 70_000,
    "a status that is none": answer(LENGTH, status=b"abc OK"),
    "no content": answer(status=b"204 No Content", body=b""),
    "created": answer(LENGTH, status=b"201 Created"),
    "a negative length": answer(b"Content-Length: -5"),
    "a length in words": answer(b"Content-Length: much"),
    "a length with a sign": answer(b"Content-Length: +1000"),
    "a length of many digits": answer(b"Content-Length: " + b"9" * 5000),
    "two lengths": answer(LENGTH, b"Content-Length: 5"),
    "no byte": answer(b"Content-Length: 0", body=b""),
    "a length and chunks": answer(LENGTH, CHUNKED, body=b"3\r\nabc\r\n0\r\n\r\n"),
    "a truncated body": answer(b"Content-Length: 5000"),
    "a chunk size that is none": answer(CHUNKED, body=b"zz\r\nabc"),
    "a negative chunk": answer(CHUNKED, body=b"-5\r\nabcdefgh"),
    "a huge chunk": answer(CHUNKED, body=b"f" * 30 + b"\r\nabc"),
    "a truncated chunk": answer(CHUNKED, body=b"ff\r\nabc"),
    "no last chunk": answer(CHUNKED, body=b"3\r\nabc\r\n"),
    "a part of nothing": answer(LENGTH, status=b"206 Partial Content"),
    "a part that was not asked for": answer(LENGTH, b"Content-Range: bytes 0-999/1000", status=b"206 Partial Content"),
    "the end of no range": answer(b"Content-Length: 0", b"Content-Range: bytes */0", status=b"416 Range", body=b""),
    "compressed": answer(LENGTH, b"Content-Encoding: gzip"),
    "a header of a megabyte": answer(LENGTH, b"X: " + b"a" * (1 << 20)),
    "many headers": answer(LENGTH, *[b"X: y"] * 1000),
    "a page that is not called one": answer(b"Content-Length: 26", body=b"<!DOCTYPE html><html></html>"[:26]),
    "text": answer(LENGTH, b"Content-Type: text/plain; charset=\xff", body=b"not found ".ljust(1000)),
    "a pointer": answer(LENGTH, body=b"version https://git-lfs.github.com/spec/v1\n".ljust(1000)),
    "an error with control characters": answer(LENGTH, status=b"404 \x1b[2J\xff"),
}
TARGETS = (
    b"file:///etc/passwd",
    b"ftp://127.0.0.1/x",
    b"data:text/plain,x",
    b"http:///x",
    b"",
    b"http://127.0.0.1:abc/",
)
TARGETS += (b"http://[::1/x", b"http://[zz]/x", b"http://..../", b"http://" + b"a" * 300 + b".com/", b"//", b"/\xff")
TARGETS += ("http://a\u2100b/".encode(), b"http://127.0.0.1\x00/", b"http://127.0.0.1:99999999/")
MALFORMED |= {
    f"to {target[:30]!r}": answer(b"Content-Length: 0", b"Location: " + target, status=b"302 Found", body=b"")
    for target in TARGETS
}


@pytest.mark.parametrize("what", MALFORMED)
def test_a_malformed_answer_is_told_in_one_line_and_pins_nothing(server: FileServer, what: str) -> None:
    server.raw = MALFORMED[what]
    wanted = source(server, "raw")
    with pytest.raises(DownloadError) as caught:
        pull(wanted)
    assert exit_code_of(caught.value) == EXIT_MISSING
    assert caught.value.reason.isprintable() and len(caught.value.reason) < 400
    assert not weights_path(wanted).exists()
    assert pinned(weights_path(wanted)) is None


def test_a_file_of_unknown_length_has_a_limit(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LARGEST_UNKNOWN", 1 << 20)
    with pytest.raises(DownloadError, match="GiB, the most for a file of unknown length"):
        pull(source(server, "chunks-without-end", sha256=SHA256))


def test_a_server_that_trickles_is_left(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "MEASURED", 0.1)
    with pytest.raises(DownloadError, match="less than 1000 bytes per second"):
        pull(source(server, "trickles"))


def test_headers_without_end_are_left(server: FileServer) -> None:
    server.raw = b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000
    with pytest.raises(DownloadError, match="more than belongs to the file"):
        pull(source(server, "raw"))


@pytest.mark.parametrize("sha256", ["0" * 64, "0badc0de"])
def test_a_wrong_hash_names_both_and_keeps_nothing(server: FileServer, tmp_path: Path, sha256: str) -> None:
    with pytest.raises(DownloadError) as caught:
        pull(source(server, "whole", sha256=sha256))
    assert sha256 in caught.value.reason
    assert SHA256 in caught.value.reason
    assert left_in(tmp_path) == set()


def test_a_server_that_promises_less_is_found_out_by_the_hash(server: FileServer, tmp_path: Path) -> None:
    short = hashlib.sha256(CONTENT[:-1000]).hexdigest()
    with pytest.raises(DownloadError, match=short):
        pull(source(server, "promises-less", sha256=SHA256))
    assert left_in(tmp_path) == set()


def test_a_wrong_length_is_rejected_before_it_arrives(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"{len(CONTENT)} bytes, the published one 1000"):
        pull(source(server, "whole", size=1000))
    assert left_in(tmp_path) == set()


def test_more_than_the_published_size_is_not_kept(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match="more than its 1000 bytes"):
        pull(source(server, "in-chunks", size=1000))
    assert left_in(tmp_path) == set()


def test_more_than_fits_on_the_disk_is_rejected(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = http.shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(http.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(DownloadError, match="GB free") as caught:
        pull(source(server, "whole"))
    assert "TAL_HOME" in caught.value.remedy


def test_the_beginning_of_a_hash_is_enough(server: FileServer) -> None:
    assert pull(source(server, "whole", sha256=SHA256[:8])).is_file()
    with pytest.raises(WeightsError, match="published"):
        weights_sha256(weights_path(source(server, "whole")), source(server, "whole", sha256="0badc0de"))


def test_the_first_download_pins_what_later_ones_must_be(
    server: FileServer, capsys: pytest.CaptureFixture[str]
) -> None:
    wanted = source(server, "whole")
    path = pull(wanted)
    assert pinned(path) == SHA256
    assert SHA256 in capsys.readouterr().err
    path.unlink()
    server.content = bytes(reversed(CONTENT))
    other = hashlib.sha256(server.content).hexdigest()
    with pytest.raises(DownloadError, match=f"has SHA-256 {other}.*{SHA256}"):
        pull(wanted)
    assert not path.exists()
    with pytest.raises(WeightsError, match=SHA256):
        path.write_bytes(server.content)
        weights_sha256(path, wanted)


def test_a_file_that_is_there_is_checked_and_not_asked_for_again(server: FileServer) -> None:
    wanted = source(server, "whole", sha256=SHA256)
    path = pull(wanted)
    pull(wanted)
    assert server.asked["whole"] == 1
    path.write_bytes(b"something else")
    with pytest.raises(DownloadError, match=SHA256):
        pull(wanted)
    assert path.read_bytes() == b"something else"


def test_a_whole_part_is_not_asked_for_again_for_nothing(server: FileServer) -> None:
    wanted = source(server, "whole", sha256=SHA256)
    path = weights_path(wanted)
    path.parent.mkdir(parents=True)
    part = path.with_name(f".{path.name}.part")
    part.write_bytes(CONTENT)
    assert pull(wanted).read_bytes() == CONTENT
    assert server.ranges == [f"bytes={len(CONTENT)}-"]


def test_two_at_once_download_once(server: FileServer) -> None:
    wanted = source(server, "whole", sha256=SHA256)
    threads = [threading.Thread(target=pull, args=(wanted,)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.asked["whole"] == 1
    assert weights_path(wanted).read_bytes() == CONTENT


@pytest.mark.parametrize("variable", ["TAL_OFFLINE", "HF_HUB_OFFLINE"])
def test_offline_no_server_is_asked(server: FileServer, monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    monkeypatch.setenv(variable, "1")
    with pytest.raises(DownloadError, match="offline") as caught:
        pull(source(server, "whole"))
    assert str(weights_path(source(server, "whole"))) in caught.value.remedy
    assert not server.asked
    there = weights_path(source(server, "whole"))
    there.parent.mkdir(parents=True, exist_ok=True)
    there.write_bytes(CONTENT)
    assert pull(source(server, "whole")) == there


def test_the_environment_s_proxy_is_asked(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    wanted = WeightsSource(
        file="weights.pth", url="http://weights.invalid/whole/x", page="https://example.org", licence="MIT"
    )
    assert pull(wanted).read_bytes() == CONTENT
    assert server.headers[0]["Host"] == "weights.invalid"


def test_an_encrypted_connection_is_not_left() -> None:
    asked = urllib.request.Request("https://example.org/weights.pth")
    redirects = http.SafeRedirects()
    for target in ("http://example.org/weights.pth", "ftp://example.org/weights.pth"):
        with pytest.raises(HTTPError, match="not encrypted"):
            redirects.redirect_request(asked, io.BytesIO(), 302, "", Message(), target)
    assert redirects.redirect_request(asked, io.BytesIO(), 302, "", Message(), "https://elsewhere.org/b") is not None


def test_a_login_is_not_taken_along(server: FileServer, tmp_path: Path) -> None:
    part = tmp_path / "part"
    part.write_bytes(CONTENT[:CHUNK])
    url = f"{server.url}/redirects/weights.pth"
    http.receive(
        http.Download(url=url, name="weights.pth", part=part, size=None, has_hash=True, authorization="Bearer secret")
    )
    assert part.read_bytes() == CONTENT
    assert [headers.get("Authorization") for headers in server.headers] == ["Bearer secret", None]
    assert server.ranges == [f"bytes={CHUNK}-"] * 2


def test_an_index_brings_its_parts(server: FileServer, tmp_path: Path) -> None:
    names = ("part-1.safetensors", "part-2.safetensors")
    server.content = json.dumps({"weight_map": dict(zip("ab", names, strict=True))}).encode()
    server.parts = dict.fromkeys(names, b"\2" + bytes(7) + b"{}")
    wanted = WeightsSource(
        file="net/model.safetensors.index.json",
        url=f"{server.url}/whole/x.index.json",
        page="https://a.b",
        licence="MIT",
    )
    path = pull(wanted)
    assert {file.name for file in path.parent.iterdir()} == {path.name, "part-1.safetensors", "part-2.safetensors"}
    assert pinned(path.with_name("part-2.safetensors"))


@pytest.mark.parametrize("name", ["../../evil.safetensors/..", "evil.sh", ".evil.safetensors", ""])
def test_an_index_names_nothing_but_parts(server: FileServer, tmp_path: Path, name: str) -> None:
    server.content = json.dumps({"weight_map": {"a": name}}).encode()
    wanted = WeightsSource(
        file="net/model.safetensors.index.json",
        url=f"{server.url}/whole/x.index.json",
        page="https://a.b",
        licence="MIT",
    )
    with pytest.raises(DownloadError, match="not an index"):
        pull(wanted)
    assert not list(tmp_path.rglob("evil*"))
    assert left_in(tmp_path) == set()  # no index, and no pin of one
