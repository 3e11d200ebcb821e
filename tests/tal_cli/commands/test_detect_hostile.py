"""Broken and hostile files: each ends in a result or in one clear line, and none takes the others down."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from small_runs import Tal

from tal_cli.safe_text import printable


@pytest.mark.timeout(400)
@pytest.mark.slow
def test_every_broken_file_is_a_result_or_one_line(run: Tal, shared: Path, tmp_path: Path) -> None:
    folder = tmp_path / "broken"
    subprocess.run([sys.executable, shared / "videos" / "make_broken.py", folder], check=True, capture_output=True)
    expected = json.loads((folder / "manifest.json").read_text())
    paths = {name: folder / name for name in expected}
    done = run("detect", *paths.values(), "--top-k", 1, "-f", "json", "-o", tmp_path / "found.json")
    assert (done.code, done.out) == (3, "")
    videos = json.loads((tmp_path / "found.json").read_text())["external_data"]["videos"]
    frames = {facts["path"]: facts["frames"] for facts in videos.values()}
    failed = [line for line in done.err.splitlines() if line.startswith("error: ")]
    assert [line for line in done.err.splitlines() if not line.startswith(("error: ", "warning: "))] == []
    for name, facts in expected.items():
        path = printable(str(paths[name]))
        lines = [line for line in failed if line.startswith(f"error: {path}: ")]
        assert len(lines) == (path not in frames), f"{name}: neither found nor refused, or both"
        if facts["expect"] == "ok" and "frames" in facts:
            assert frames.get(path) == facts["frames"], name
        # To the superuser no file is unreadable.
        if facts["expect"] in ("reject", "refuse") and not (name == "unreadable.mp4" and os.geteuid() == 0):
            assert path not in frames, name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken", "found.json"]
