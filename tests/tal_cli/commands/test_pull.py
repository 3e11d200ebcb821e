"""`tal extractors` and `tal models pull`, on a real server on this machine."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from file_server import CHUNK, CONTENT, SHA256, FileServer, serve
from small_runs import Tal

from tal_cli.extractors import catalog
from tal_cli.extractors.catalog import ENTRIES, flow
from tal_cli.extractors.errors import MissingError
from tal_cli.extractors.files.weights import WeightsSource
from tal_cli.model_files import http


@pytest.fixture
def server(
    run: Tal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, request: pytest.FixtureRequest
) -> Iterator[FileServer]:
    monkeypatch.setenv("TAL_HOME", str(tmp_path))
    monkeypatch.setattr(http, "PAUSES", (0.0, 0.0))
    for name in ("TAL_OFFLINE", "HF_HUB_OFFLINE", "HF_TOKEN", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with serve() as running:
        yield running


def publish(monkeypatch: pytest.MonkeyPatch, name: str, url: str, sha256: str | None = None) -> WeightsSource:
    """Let an extractor's weights be published elsewhere."""
    entry = catalog.find(name)
    sources = tuple(replace(source, url=url, sha256=sha256, size=None) for source in entry.weights)
    monkeypatch.setitem(catalog.BACKBONES.built_in, name, replace(entry, weights=sources))
    return sources[0]


def test_an_extractor_is_pulled_once(
    run: Tal, server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = publish(monkeypatch, "videomaev2-b", f"{server.url}/breaks-off/b.pth")
    assert "to pull" in run("extractors", "list").out
    done = run("extractors", "pull", "videomaev2-b")
    path = tmp_path / "extractors" / source.file
    assert (done.code, done.out) == (0, f"{path}\n")
    assert SHA256 in done.err
    assert path.read_bytes() == CONTENT
    asked = server.asked["breaks-off"]
    assert run("extractors", "pull", "videomaev2-b").code == 0
    assert server.asked["breaks-off"] == asked
    (weights,) = json.loads(run("extractors", "info", "videomaev2-b", "--format", "json").out)["weights"]
    assert weights["here"] is True
    assert weights["pinned_sha256"] == SHA256


def test_a_hub_says_where_a_file_is_and_what_its_hash_is(
    run: Tal, server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    source = publish(monkeypatch, "videomaev2-b", "hf://owner/repository/folder/b.pth")
    done = run("extractors", "pull", "videomaev2-b")
    assert (done.code, done.out) == (0, f"{tmp_path / 'extractors' / source.file}\n"), done.err
    assert server.asked["HEAD"] == 1
    assert f"bytes={CHUNK}-" in server.ranges
    (tmp_path / "extractors" / source.file).unlink()
    server.content = bytes(reversed(CONTENT))  # not what the hub says
    done = run("extractors", "pull", "videomaev2-b")
    assert done.code == 4
    assert SHA256 in done.err
    assert hashlib.sha256(server.content).hexdigest() in done.err
    assert not list((tmp_path / "extractors").iterdir())


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_hub_s_login_is_for_the_hub_alone(
    run: Tal, server: FileServer, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    server.elsewhere = elsewhere
    publish(monkeypatch, "videomaev2-b", "hf://owner/repository/b.pth")
    assert run("extractors", "pull", "videomaev2-b").code == 0
    files = [headers for headers in server.headers if headers["User-Agent"].startswith("tal/")]
    assert files
    assert {headers.get("Authorization") for headers in files} == {None if elsewhere else "Bearer hf_secret"}


def test_terms_that_must_be_accepted_are_said(run: Tal, server: FileServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    server.gated = True
    publish(monkeypatch, "videomaev2-b", "hf://owner/repository/b.pth")
    done = run("extractors", "pull", "videomaev2-b")
    assert done.code == 4
    assert "accepting its terms" in done.err
    assert "huggingface.co/owner/repository" in done.err


def test_a_file_that_two_parts_need_is_told_once(run: Tal, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TAL_OFFLINE", "1")
    for name in ("PIP_FIND_LINKS", "PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path))
    done = run("models", "pull", "people")
    assert (done.code, done.err.count("error: ")) == (4, 1), done.err


def test_google_drive_is_asked_through_gdown(
    run: Tal, server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import gdown

    def download(*, id: str, output: str, quiet: bool, resume: bool) -> str:
        assert (id, resume) == ("abc", True)
        Path(output).write_bytes(CONTENT)
        return output

    monkeypatch.setattr(gdown, "download", download)
    source = publish(monkeypatch, "videomaev2-b", "gdrive://abc", SHA256[:8])
    assert run("extractors", "pull", "videomaev2-b").code == 0
    assert (tmp_path / "extractors" / source.file).read_bytes() == CONTENT

    def refuse(**_: object) -> str:
        raise RuntimeError("Too many users have viewed or downloaded this file recently")

    monkeypatch.setattr(gdown, "download", refuse)
    (tmp_path / "extractors" / source.file).unlink()
    done = run("extractors", "pull", "videomaev2-b")
    assert done.code == 4
    assert "Too many users" in done.err
    assert "uc?id=abc" in done.err


def test_what_has_no_public_download_says_the_other_ways(run: Tal, server: FileServer, tmp_path: Path) -> None:
    done = run("extractors", "pull", "internvideo2-6b")
    assert done.code == 4
    for way in ("ask for it at https://", "--weights FILE", f"into {tmp_path / 'extractors'}"):
        assert way in done.err


def test_missing_weights_say_the_three_ways(run: Tal, server: FileServer, tmp_path: Path, clips: Path) -> None:
    done = run("extract-features", clips / "first.mp4", "-x", "videomaev2-s", "--out", tmp_path / "out")
    assert done.code == 4
    for way in ("tal extractors pull videomaev2-s", "--weights FILE", f"into {tmp_path / 'extractors'}"):
        assert way in done.err


def test_a_flow_method_s_weights_come_with_its_extractor(
    run: Tal, server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    raft = replace(flow.RAFT, url=f"{server.url}/whole/raft.pth", sha256=SHA256)
    monkeypatch.setitem(flow.FLOW_WEIGHTS, "raft", raft)
    publish(monkeypatch, "i3d-vf-flow", f"{server.url}/whole/flow.pth")
    assert run("extractors", "pull", "i3d-vf-flow").out.splitlines()[1] == str(tmp_path / "extractors" / raft.file)
    assert run("extractors", "pull", "raft").code == 0
    assert server.asked["whole"] == 2


def test_a_model_that_is_here_brings_its_extractor(run: Tal, server: FileServer) -> None:
    done = run("models", "pull", "camera")
    assert (done.code, Path(done.out.strip()).name) == (0, "camera")


@pytest.mark.slow
def test_a_published_model_is_downloaded_imported_and_its_extractor_with_it(
    run: Tal, server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import torch

    from tal_cli.models.detector import TemporalDetector
    from tal_cli.models.recipe.loading import load_recipe
    from tal_cli.models.released.conversion import to_released
    from tal_cli.models.store import zoo
    from tal_cli.models.store.checkpoint import load_model

    name = "temporalmaxer-thumos-i3d"
    torch.manual_seed(0)
    ours = TemporalDetector.from_recipe(load_recipe(name)).state_dict()
    released = to_released(ours, load_recipe(name).model)
    buffer = io.BytesIO()
    torch.save({"epoch": 3, "state_dict_ema": {f"module.{key}": value for key, value in released.items()}}, buffer)
    server.content = buffer.getvalue()
    url = f"{server.url}/whole/epoch_003.pth.tar"
    source = WeightsSource(file="epoch_003.pth.tar", url=url, page="https://example.org", licence="MIT")
    monkeypatch.setattr(zoo, "weights_source", lambda name: source)
    publish(monkeypatch, "i3d-two-stream", url)
    done = run("models", "pull", name)
    folder = tmp_path / "models" / name
    assert (done.code, done.out.splitlines()[0], len(done.out.splitlines())) == (0, str(folder), 3)
    loaded = load_model(folder)
    assert all(torch.equal(value, ours[key]) for key, value in loaded.detector.state_dict().items())
    assert not list((tmp_path / "downloads").iterdir())  # imported; its hash stays
    assert (tmp_path / "pins" / "downloads" / "epoch_003.pth.tar.sha256").is_file()
    asked = server.asked["whole"]
    assert run("models", "pull", name).code == 0
    assert server.asked["whole"] == asked


def test_labels_that_do_not_travel_are_asked_for(
    run: Tal, server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from tal_cli.model_files import released
    from tal_cli.models.store import zoo

    source = WeightsSource(file="a.pth", url=f"{server.url}/whole/a", page="https://example.org", licence="MIT")
    monkeypatch.setattr(zoo, "weights_source", lambda name: source)

    def install(*_: object, **__: object) -> None:
        raise MissingError("the labels do not travel with tal", "give --labels FILE")

    monkeypatch.setattr(released, "install", install)
    done = run("models", "pull", "actionformer-epic-verb")
    assert done.code == 4
    assert f"--checkpoint {tmp_path / 'downloads' / 'a.pth'} --labels FILE" in done.err
    assert (tmp_path / "downloads" / "a.pth").is_file()


def test_what_can_be_pulled_is_and_the_rest_is_said(
    run: Tal, server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = publish(monkeypatch, "videomaev2-g", f"{server.url}/whole/g.pth")
    done = run("models", "pull", "thumos-videomae")
    assert done.code == 4
    assert "tal models add" in done.err
    assert done.out == f"{tmp_path / 'extractors' / source.file}\n"


def test_unknown_names_are_usage(run: Tal) -> None:
    done = run("models", "pull", "videomae2-b")
    assert done.code == 2
    assert "did you mean videomaev2-b?" in done.err


def test_every_extractor_says_what_is_to_be_known(run: Tal) -> None:
    done = run("extractors", "list", "--format", "json")
    assert done.code == 0
    known = json.loads(done.out)
    assert [entry["name"] for entry in known] == [entry.name for entry in ENTRIES]
    for entry in known:
        assert entry["contract"]["extractor"] == entry["name"]
        for source in entry["weights"]:
            assert source["licence"]
            assert source["page"].startswith("https://")
            assert source["url"] is None or source["url"].partition("://")[0] in ("https", "hf", "gdrive")
            assert not Path(source["file"]).is_absolute()
    assert json.loads(run("extractors", "info", "tiny", "--format", "json").out) == known[0]


def test_what_is_unsettled_about_internvideo2_is_said(run: Tal) -> None:
    told = run("extractors", "info", "internvideo2-6b").out
    assert all(note in told for note in catalog.find("internvideo2-6b").notes)
    for fact in ("to be determined", "7th layer", "class token", "not published", "tanh", "assumption"):
        assert fact.lower() in told.lower()
    assert "thumos-internvideo2" in told


def test_info_gives_the_hash_of_a_file_of_one_s_own(run: Tal, tmp_path: Path) -> None:
    (tmp_path / "own.pth").write_bytes(CONTENT)
    assert SHA256 in run("extractors", "info", "videomaev2-b", "--weights", tmp_path / "own.pth").out
    assert run("extractors", "info", "videomaev2-b", "--weights", tmp_path / "none.pth").code == 2


@pytest.mark.slow
def test_listing_and_pulling_load_no_torch(run: Tal, tmp_path: Path) -> None:
    code = (
        "import sys; from tal_cli.app import run; "
        "assert run(['extractors', 'list']) == run(['extractors', 'info', 'i3d-flow']) == 0; "
        "assert run(['extractors', 'pull', 'tiny']) == 0; print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
