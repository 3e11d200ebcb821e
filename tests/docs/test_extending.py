"""The package that docs/how-to/extend.md builds: its files are written, installed and used as the page says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from doc_blocks import FENCE

ROOT = Path(__file__).resolve().parents[2]
PAGE = ROOT / "docs" / "how-to" / "extend.md"
TITLE = re.compile(r'```\w+ title="([^"]+)"')
# Into a folder of its own, without the network and without what is here already.
PIP = """\
#!/bin/sh
exec {python} -m pip "$@" --quiet --no-deps --no-build-isolation --disable-pip-version-check --upgrade --target {target}
"""


@dataclass(frozen=True)
class Built:
    """What the page's commands printed, by command; where they ran; and how to run more."""

    printed: dict[str, str]
    folder: Path
    call: Callable[[str], subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def built(prepared: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Built:
    """The page, done from top to bottom."""
    root = tmp_path_factory.mktemp("extend")
    folder = Path(shutil.copytree(prepared, root / "work"))
    site, programs = root / "site", root / "bin"
    programs.mkdir()
    (programs / "pip").write_text(PIP.format(python=sys.executable, target=site))
    (programs / "pip").chmod(0o755)
    path = os.pathsep.join([str(programs), environment["PATH"]])
    variables = environment | {"PATH": path, "PYTHONPATH": str(site), "TAL_HOME": str(root)}

    def call(script: str) -> subprocess.CompletedProcess[str]:
        command = ["bash", "-e", "-o", "pipefail", "-c", script]
        return subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)

    printed = {}
    for match in FENCE.finditer(PAGE.read_text("utf-8")):
        title = TITLE.match(match[0])
        if title:
            file = folder / "tal-colours" / title[1]
            file.parent.mkdir(parents=True, exist_ok=True)
            (file.parent / "__init__.py").touch()
            with file.open("a") as opened:
                opened.write(match[2])
        elif match[1] == "sh":
            for line in match[2].replace("\\\n", " ").replace("--epochs 30", "--epochs 1").splitlines():
                done = call(line)
                assert done.returncode == 0, f"{line}\n{done.stderr[-3000:]}"
                assert "warning: left out" not in done.stderr
                printed[" ".join(line.partition("#")[0].split())] = done.stdout
    return Built(printed, folder, call)


@pytest.mark.timeout(900)
@pytest.mark.slow
def test_the_formats_read_what_they_write(built: Built) -> None:
    lines = built.printed["tal detect holiday.mp4 --format audacity"].splitlines()
    assert lines and all(re.fullmatch(r"[\d.]+\t[\d.]+\t[\w-]+", line) for line in lines)
    assert (built.folder / "beach.labels.txt").read_text().splitlines() == lines
    (video,) = json.loads((built.folder / "beach.json").read_text())["database"].values()
    starts = [float(line.split("\t")[0]) for line in lines]
    assert [item["segment"][0] for item in video["annotations"]] == starts
    assert "audacity" in built.call("tal detect --help").stdout


@pytest.mark.slow
def test_the_backbone_makes_features(built: Built) -> None:
    import numpy as np

    features = np.load(built.folder / "colours/features/first.npy")
    assert features.shape[1] == 3 and 0 < features.min() < features.max() < 1
    assert (
        json.loads((built.folder / "colours/features/first.json").read_text())["contract"]["extractor"] == "mean-colour"
    )
    assert "mean-colour" in built.call("tal extractors list").stdout
    assert "mean-colour" in built.call("tal extract-features videos/ -x mean-color --out x").stderr, "did you mean"


@pytest.mark.slow
def test_the_detector_is_made_of_the_new_parts(built: Built) -> None:
    recipe = (built.folder / "runs/colours/recipe.yaml").read_text()
    assert "name: pairs\n    pool: max" in recipe and "name: plain" in recipe
    assert "tal detect new.mp4 --model runs/colours --format audacity" in built.printed
    without = built.call("PYTHONPATH= tal detect new.mp4 --model runs/colours")
    assert without.returncode == 2 and "model.encoder: there is no pairs; there are gmg, " in without.stderr


@pytest.mark.timeout(600)
@pytest.mark.slow
def test_workers_of_a_ray_cluster_see_the_backbone(built: Built) -> None:
    pytest.importorskip("ray")
    done = built.call(
        "tal extract-features videos/first.mp4 -x mean-colour --engine ray --device auto --out colours/ray"
    )
    assert done.returncode == 0, done.stderr[-3000:]
    features = [(built.folder / "colours" / name / "first.npy").read_bytes() for name in ("features", "ray")]
    assert features[0] == features[1]
