"""Inputs and outputs in an object store: a real S3-compatible server on this machine."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small_runs import Tal, render_clip

from tal_cli.extractors.corpus.run import Job, is_done
from tal_cli.extractors.corpus.worker_config import Setup
from tal_cli.extractors.files import remote


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of a server that speaks S3, with nothing in it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while time.monotonic() < until:
        assert server.poll() is None, "the server did not start"
        try:
            socket.create_connection(("127.0.0.1", port), 1.0).close()
            break
        except OSError:
            time.sleep(0.05)
    yield f"http://127.0.0.1:{port}"
    server.kill()
    server.wait()


@pytest.fixture
def access(store: str, environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What a run needs in its environment to reach the store, which is set in this process as well."""
    import fsspec

    known = {
        "AWS_ENDPOINT_URL": store,
        "AWS_ACCESS_KEY_ID": "someone",
        "AWS_SECRET_ACCESS_KEY": "secret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    for key, value in known.items():
        monkeypatch.setenv(key, value)
    fsspec.filesystem("s3").mkdir("bucket")
    yield known
    fsspec.filesystem("s3").rm("bucket", recursive=True)


def names(url: str) -> list[str]:
    return [file.removeprefix(url + "/") for file in remote.find_files(url)]


@pytest.mark.slow
def test_videos_and_features_may_live_in_a_store(tal: Tal, access: dict[str, str], tmp_path: Path) -> None:
    clip = render_clip(tmp_path / "clip.mp4")
    for name in ("in/a.mp4", "in/deep/b.mp4"):
        remote.send(clip, f"s3://bucket/{name}")
    (tmp_path / "broken.mp4").write_bytes(b"broken")
    remote.send(tmp_path / "broken.mp4", "s3://bucket/in/broken.mp4")
    remote.send(tmp_path / "broken.mp4", "s3://bucket/in/notes.txt")
    arguments = ["extract-features", "s3://bucket/in", clip, "s3://bucket/absent", "--out", "s3://bucket/out"]
    done = tal(*arguments, env=access)
    assert done.code == 3, done.err
    assert "error: s3://bucket/in/broken.mp4: it is not a video file, or its index is lost" in done.err
    assert "error: s3://bucket/absent: no such file or folder, or nothing matches this pattern" in done.err
    assert names("s3://bucket/out") == ["a.json", "a.npy", "b.json", "b.npy", "clip.json", "clip.npy"]
    features = {}
    for name in ("a", "b", "clip"):
        (tmp_path / "x.npy").write_bytes(remote.read(f"s3://bucket/out/{name}.npy"))
        features[name] = np.load(tmp_path / "x.npy")
    assert features["a"].shape == (12, features["clip"].shape[1])
    assert np.array_equal(features["a"], features["clip"])
    again = tal(*arguments[:1], "s3://bucket/in/**/*.mp4", *arguments[4:], env=access)
    assert "0 feature files written to s3://bucket/out, 2 kept, 1 failed" in again.err
    description = json.loads(remote.read("s3://bucket/out/b.json"))
    description["contract"]["layer"] = "another"
    (tmp_path / "b.json").write_text(json.dumps(description))
    remote.send(tmp_path / "b.json", "s3://bucket/out/b.json")
    redone = tal(*arguments[:1], "s3://bucket/in/deep/b.mp4", "s3://bucket/in/a.mp4", *arguments[4:], env=access)
    assert (redone.code, "1 feature file written to s3://bucket/out, 1 kept" in redone.err) == (0, True), redone.err
    job = Job("s3://bucket/in/deep/b.mp4", "s3://bucket/out/b.npy")
    assert is_done(job, Setup(extractor="tiny").contract())


@pytest.mark.slow
def test_what_is_wrong_with_a_store_is_one_line(tal: Tal, access: dict[str, str], tmp_path: Path) -> None:
    clip = render_clip(tmp_path / "clip.mp4")
    done = tal("extract-features", clip, "--out", "s3://missing/out", env=access)
    assert done.code == 3
    assert [line.split(": ")[0] for line in done.err.splitlines()] == ["error", "note"]
    for url in ("s3://missing/in", "strange://x/y"):
        done = tal("extract-features", url, env=access)
        assert done.code == 3, done.err
        assert done.err.startswith(f"error: {url}: ")


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from tal_cli.extractors.errors import PackageMissing

    def missing(*arguments: Any, **more: Any) -> None:
        raise ImportError("no", name="s3fs")

    monkeypatch.setattr("fsspec.core.url_to_fs", missing)
    with pytest.raises(PackageMissing, match="s3fs is not installed") as caught:
        remote.find_files("s3://bucket/in")
    assert caught.value.remedy == "pip install 'tal-cli[s3]'"


@pytest.mark.slow
def test_file_urls_are_paths(tal: Tal, tmp_path: Path) -> None:
    render_clip(tmp_path / "in put" / "clip.mp4")
    done = tal("extract-features", f"file://{tmp_path}/in%20put", "--out", f"file://{tmp_path}/out")
    assert done.code == 0, done.err
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["clip.json", "clip.npy"]


@pytest.mark.parametrize("folder", ["", "memory://paths/"])
def test_paths_and_urls_are_joined_and_parted(tmp_path: Path, folder: str) -> None:
    target = remote.join(folder or str(tmp_path), "deep", "a.b.npy")
    assert remote.name_of(target) == "a.b.npy"
    assert remote.name_of(remote.sibling(target, "c")) == "c"
    assert not remote.exists(target)
    with pytest.raises(remote.RemoteError):
        remote.read(target)
    (tmp_path / "x").write_bytes(b"content")
    if folder:
        remote.send(tmp_path / "x", target)
        assert remote.read(target) == b"content"
        with remote.on_this_machine(target) as copy:
            assert copy.read_bytes() == b"content"
        assert not copy.parent.exists()
        remote.remove(target)
        remote.remove(target)
        assert not remote.exists(target)
    assert Job(target, target).video == target
