"""The house: who may import whom, and what travels in the wheel."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

FORBIDDEN = {"models": {"extractors", "tal_cli"}, "extractors": {"models", "tal_cli"}}


def imports(path: Path) -> set[str]:
    """First names of everything that a file imports, at its top or anywhere inside."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("package", FORBIDDEN)
def test_the_ground_floors_know_neither_the_top_nor_each_other(repository: Path, package: str) -> None:
    files = sorted((repository / package).rglob("*.py"))
    assert files
    wrong = {str(path.relative_to(repository)): imports(path) & FORBIDDEN[package] for path in files}
    assert {path: names for path, names in wrong.items() if names} == {}


@pytest.mark.parametrize("package", ["tal_cli", "models", "extractors"])
def test_no_file_is_two(repository: Path, package: str) -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (repository / package).rglob("*.py")}
    assert {str(path): length for path, length in lengths.items() if length > 350} == {}


def test_the_wheel_holds_the_three_packages_with_recipes_and_weights(repository: Path, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        str(tmp_path),
        ".",
    ]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("tal_cli-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    for package in ("tal_cli", "models", "extractors"):
        wanted = {
            str(path.relative_to(repository))
            for path in (repository / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert wanted <= names
    assert any(name.startswith("models/recipe/published/") for name in names)
    assert any(name.startswith("models/weights/camera/") for name in names)
    others = {name.partition("/")[0] for name in names} - {"tal_cli", "models", "extractors"}
    assert all(name.endswith((".dist-info", ".data")) for name in others)
    assert any(name.endswith("/share/man/man1/tal.1") for name in names)
