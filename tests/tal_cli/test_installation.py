"""An install works beside other people's packages called `models` and `extractors`: real environments, real runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from shutil import copy, copytree, ignore_patterns

import pytest
from small_runs import render_clip

LINKED = ("models", "extractors")
# What a script of a user may well be: it has a package `models` of its own, and uses tal.
SCRIPT = """\
import sys
import models
from tal_cli import VideoDetector

assert models.OURS
for segment in VideoDetector.load("camera", device="cpu").detect(sys.argv[1], min_score=0).segments[:1]:
    print(segment.label)
"""
# Decoders and workers are children; this one runs what the parent would import under the name.
PARENT = """\
from tal_cli.extractors.files.child import Child

with Child("models", lambda output: output.readline() or None) as child:
    print(child.receive(60).decode(), end="")
"""
FIND = f"import importlib.util as u; print([name for name in {LINKED} if u.find_spec(name)])"


@dataclass(frozen=True)
class Installation:
    """An environment with `tal_cli` installed, and the variables of its runs."""

    folder: Path
    variables: Mapping[str, str]

    def call(self, program: str, *arguments: object, cwd: Path, **variables: str) -> str:
        """Standard output of a program of the environment, which must end well."""
        done = subprocess.run(
            [str(self.folder / "bin" / program), *map(str, arguments)],
            cwd=cwd,
            env={**self.variables, **variables},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(repository, "wheel", tmp_path_factory.mktemp("wheel"))


def build(source: Path, target: str, out: Path) -> Path:
    """Build a wheel or an sdist into an empty folder."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", target, "-d", str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (built,) = out.iterdir()
    return built


@pytest.fixture(scope="module", params=["wheel", "editable"])
def installation(
    request: pytest.FixtureRequest, wheel: Path, repository: Path, tmp_path_factory: pytest.TempPathFactory
) -> Installation:
    """Torch and the like are those of the environment of the tests, on whose path the new one goes on."""
    folder = tmp_path_factory.mktemp(request.param)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
    (site,) = folder.glob("lib/python*/site-packages")
    shared = [entry for entry in sys.path if entry.endswith("site-packages")]
    (site / "shared.pth").write_text("\n".join(shared) + "\n")
    what = ["-e", str(repository)] if request.param == "editable" else [str(wheel)]
    pip = [sys.executable, "-m", "pip", "--python", str(folder), "install", "-q", "--no-deps", "--no-build-isolation"]
    done = subprocess.run([*pip, "--no-index", "--ignore-installed", *what], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("TAL_", "PYTHON"))}
    return Installation(folder, kept | {"XDG_STATE_HOME": str(folder / "state")})


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two videos, and packages whose import fails."""
    folder = tmp_path_factory.mktemp("foreign")
    for name in LINKED:
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise RuntimeError('of another project')\n")
    for name in ("first", "second"):
        render_clip(folder / f"{name}.mp4")
    return folder


@pytest.mark.slow
def test_nothing_else_can_be_imported(installation: Installation, tmp_path: Path) -> None:
    assert installation.call("python", "-c", FIND, cwd=tmp_path) == "[]\n"
    where = installation.call("python", "-c", "import tal_cli; print(tal_cli.__file__)", cwd=tmp_path)
    editable = not Path(where.strip()).is_relative_to(installation.folder)
    assert editable == installation.folder.name.startswith("editable")


@pytest.mark.slow
@pytest.mark.parametrize("path", ["", "."])
def test_the_command_line_beside_foreign_packages(installation: Installation, foreign: Path, path: str) -> None:
    assert "pan-left" in installation.call("tal", "models", "info", "camera", cwd=foreign, PYTHONPATH=path)


@pytest.mark.slow
@pytest.mark.parametrize("start", [("tal",), ("python", "-m", "tal_cli")])
def test_detection_beside_foreign_packages(installation: Installation, foreign: Path, start: tuple[str, ...]) -> None:
    found = installation.call(*start, "detect", "first.mp4", "--min-score", 0, cwd=foreign, PYTHONPATH=".")
    assert json.loads(found)["results"]["first"]


@pytest.mark.slow
def test_a_script_beside_a_package_of_its_own(installation: Installation, foreign: Path, tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "__init__.py").write_text("OURS = True\n")
    (tmp_path / "script.py").write_text(SCRIPT)
    assert installation.call("python", "script.py", foreign / "first.mp4", cwd=tmp_path).strip()


@pytest.mark.slow
def test_a_child_finds_the_modules_of_its_parent(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "models.py").write_text("def main() -> None:\n    print('ours')\n")
    (tmp_path / "script.py").write_text(PARENT)
    assert installation.call("python", "script.py", cwd=tmp_path) == "ours\n"


@pytest.mark.slow
def test_worker_processes_beside_foreign_packages(installation: Installation, foreign: Path, tmp_path: Path) -> None:
    arguments = ("extract-features", "first.mp4", "second.mp4", "--workers", 2, "--out", tmp_path)
    installation.call("tal", *arguments, cwd=foreign, PYTHONPATH=".")
    assert sorted(path.name for path in tmp_path.glob("*.npy")) == ["first.npy", "second.npy"]


@pytest.mark.slow
def test_a_cluster_beside_foreign_packages(installation: Installation, foreign: Path, tmp_path: Path) -> None:
    arguments = ("extract-features", "first.mp4", "second.mp4", "--engine", "ray", "--out", tmp_path)
    installation.call("tal", *arguments, cwd=foreign, PYTHONPATH=".")
    assert sorted(path.name for path in tmp_path.glob("*.npy")) == ["first.npy", "second.npy"]


@pytest.mark.slow
def test_the_sdist_builds_the_same_wheel(wheel: Path, repository: Path, tmp_path: Path) -> None:
    sdist = build(repository, "sdist", tmp_path / "sdist")
    subprocess.run(["tar", "-xzf", sdist, "-C", tmp_path], check=True)
    again = build(tmp_path / sdist.name.removesuffix(".tar.gz"), "wheel", tmp_path / "wheel")
    assert again.name == wheel.name and again.read_bytes() == wheel.read_bytes()


@pytest.mark.slow
def test_a_checkout_without_links(wheel: Path, repository: Path, tmp_path: Path) -> None:
    """Git for Windows writes a link as a text file unless it is told to make links."""
    checkout = tmp_path / "checkout"
    leave = ignore_patterns("__pycache__")
    for name in LINKED:
        copytree(repository / name, checkout / name, ignore=leave)
    copytree(repository / "tal_cli", checkout / "tal_cli", ignore=ignore_patterns("__pycache__", *LINKED))
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "docs/tal.1", "scripts/hatch_build.py"):
        (checkout / name).parent.mkdir(exist_ok=True)
        copy(repository / name, checkout / name)
    for name in LINKED:
        (checkout / "tal_cli" / name).write_text(f"../{name}")
    again = build(checkout, "wheel", tmp_path / "wheel")
    with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(again) as other:
        assert sorted(one.namelist()) == sorted(other.namelist())
    editable = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    done = subprocess.run(
        [*editable, "--target", str(tmp_path / "target"), "-e", str(checkout)], capture_output=True, text=True
    )
    assert done.returncode != 0 and "git config core.symlinks true" in done.stdout + done.stderr
