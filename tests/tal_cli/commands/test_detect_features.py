"""`tal extract-features`: files, contracts, shards and resuming."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from small_runs import Tal


def written(folder: Path) -> dict[str, int]:
    """Every file with the time of its last change."""
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


@pytest.mark.slow
def test_one_array_and_its_contract_per_video(run: Tal, clips: Path, tmp_path: Path) -> None:
    done = run("extract-features", clips, "--out", tmp_path)
    assert (done.code, done.out) == (3, "")
    assert f"error: {clips / 'broken.mp4'}: " in done.err
    assert sorted(written(tmp_path)) == ["first.json", "first.npy", "second.json", "second.npy"]
    features = np.load(tmp_path / "first.npy", allow_pickle=False)
    described = json.loads((tmp_path / "first.json").read_text())
    assert features.dtype == np.float32
    assert features.shape == ((60 - 16) // 4 + 1, described["contract"]["channels"])
    assert described["contract"]["extractor"] == "tiny"
    assert (described["video"]["frames"], described["video"]["duration"]) == (60, 2.4)


@pytest.mark.slow
def test_finished_files_are_kept_unless_the_contract_changes(run: Tal, clips: Path, tmp_path: Path) -> None:
    arguments = ["extract-features", clips / "first.mp4", "--out", tmp_path]
    assert "1 feature file written" in run(*arguments).err
    first = written(tmp_path)
    assert "0 feature files written" in run(*arguments).err
    assert written(tmp_path) == first
    assert run(*arguments, "--fps", 12).code == 0
    other = written(tmp_path)
    assert all(other[name] > first[name] for name in first)
    assert run(*arguments, "--fps", 12, "--overwrite").code == 0
    assert all(written(tmp_path)[name] > other[name] for name in first)


@pytest.mark.slow
def test_formats_hold_the_same_and_are_detected_in(run: Tal, clips: Path, tmp_path: Path) -> None:
    from tal_cli.extractors.features.files import load_features

    features, segments = {}, {}
    for format in ("npy", "npz", "safetensors", "pt"):
        run("extract-features", clips / "first.mp4", "--out", tmp_path / format, "--format", format)
        path = tmp_path / format / f"first.{format}"
        features[format] = load_features(path).features
        segments[format] = json.loads(run("detect", path, "-f", "jsonl").out)["segments"]
    for format in features:
        np.testing.assert_array_equal(features["npy"], features[format])
        assert segments["npy"] == segments[format] and segments[format], format


@pytest.mark.slow
def test_shares_together_are_everything(run: Tal, clips: Path, tmp_path: Path) -> None:
    videos = [clips / "first.mp4", clips / "second.mp4"]
    run("extract-features", *videos, "--out", tmp_path, "--shard", "1/2")
    assert sorted(written(tmp_path)) == ["first.json", "first.npy"]
    run("extract-features", *videos, "--out", tmp_path, "--shard", "2/2")
    assert len(written(tmp_path)) == 4


@pytest.mark.parametrize(
    ("arguments", "code", "complaint"),
    [
        (["-x", "tinny"], 2, "did you mean tiny?"),
        (["-x", "tiny", "--frames", "32"], 2, "window cannot be set"),
        (["-x", "tiny", "--model", "small"], 2, "cannot be used together"),
        (["-x", "r3d_18"], 4, "--weights"),
        (["-x", "r3d_18", "--weights", __file__], 2, "no weights can be read"),
        (["--shard", "0/2"], 2, "I/N with I from 1 to N"),
        (["--shard", "3/2"], 2, "I/N with I from 1 to N"),
        (["--format", "csv"], 2, "npy, npz"),
        (["--out", "/dev/null/x"], 2, "this is a file, not a folder"),
        (["--out", "memory://x"], 2, "memory is freed"),
        (["--set", "crop"], 2, "--set crop: expected KEY=VALUE"),
        (["--set", "crop=none", "--set", "crop=none"], 2, "given twice"),
        (["--set", "crops=none"], 2, "crops cannot be set; there are sampling_rate, max_rate"),
        (["--set", "maxrate=10"], 2, "maxrate cannot be set; did you mean max_rate?"),
        (["--engine", "slurm"], 2, "local, ray"),
        (["--address", "x:1"], 2, "--engine ray"),
        (["--engine", "ray", "--device", "cpu"], 2, "the cluster assigns"),
    ],
)
@pytest.mark.slow
def test_what_is_rejected(run: Tal, clips: Path, arguments: list[str], code: int, complaint: str) -> None:
    done = run("extract-features", clips / "first.mp4", *arguments)
    assert (done.code, done.out) == (code, "")
    assert complaint in done.err
