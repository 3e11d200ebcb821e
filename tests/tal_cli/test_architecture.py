"""The house: who may import whom, and what travels in the wheel."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

FLOORS = {"extractors": "extractors", "models": "models", "tal_cli": "tal_cli"}
# What a floor may import of the project: itself, and what lies below it.
ALLOWED = {
    "extractors": ("tal_cli.extractors",),
    "models": (
        "tal_cli.models",
        "tal_cli.extractors.catalog",
        "tal_cli.extractors.features",
        "tal_cli.extractors.files",
        "tal_cli.extractors.cpu",
        "tal_cli.extractors.errors",
        "tal_cli.extractors.plugins",
    ),
    "tal_cli": ("tal_cli",),
}
# Registries, one module per entry: their halls may be long.
REGISTRIES = {"tal_cli/commands", "tal_cli/results/writers", "tal_cli/datasets/formats"}


def modules(repository: Path) -> dict[str, Path]:
    """Every module of the project by the name under which it is imported."""
    found = {}
    for floor in FLOORS:
        for path in (repository / floor).rglob("*.py"):
            inside = path.relative_to(repository)
            if inside.parts[:2] in (("tal_cli", "models"), ("tal_cli", "extractors")):  # the links
                continue
            parts = ["tal_cli", *inside.with_suffix("").parts] if floor != "tal_cli" else inside.with_suffix("").parts
            found[".".join(parts).removesuffix(".__init__")] = path
    return found


def imports(path: Path, known: Mapping[str, Path], *, at_start: bool = False) -> dict[str, set[str]]:
    """Modules of the project that a file imports, with the names it takes from each; at_start: as it is loaded."""
    found: dict[str, set[str]] = {}
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if at_start else ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.startswith("tal_cli"):
                    found.setdefault(alias.name, set())
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.partition(".")[0] == "tal_cli":
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in known:
                    found.setdefault(inner, set())
                else:
                    found.setdefault(node.module, set()).add(alias.name)
    return found


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_run_upwards(repository: Path, floor: str) -> None:
    known = modules(repository)
    files = [path for path in known.values() if path.is_relative_to(repository / floor)]
    assert files
    wrong = {
        (str(path.relative_to(repository)), name)
        for path in files
        for name in imports(path, known)
        if not any(name == part or name.startswith(f"{part}.") for part in ALLOWED[floor])
    }
    assert wrong == set()


def test_no_two_files_import_each_other(repository: Path) -> None:
    known = modules(repository)
    edges = {name: {other for other in imports(path, known) if other in known} for name, path in known.items()}
    edges["tal_cli"] = set()  # the public names, which load when asked for
    while free := [name for name, others in edges.items() if not others & edges.keys()]:
        for name in free:
            del edges[name]
    assert edges == {}


@pytest.mark.slow
def test_every_name_has_one_address(repository: Path) -> None:
    known = modules(repository)
    defined = {name: definitions(path) for name, path in known.items()}
    files = [*known.values(), *(repository / "tests").rglob("*.py"), *(repository / "benchmarks").rglob("*.py")]
    wrong = {
        (str(path.relative_to(repository)), module, name)
        for path in files
        for module, names in imports(path, known).items()
        for name in names
        if module != "tal_cli" and name not in defined.get(module, set())
    }
    assert wrong == set()


def definitions(path: Path) -> set[str]:
    """Names that a module itself makes, at its top."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
    return found


def test_no_hall_is_too_long(repository: Path) -> None:
    halls: dict[str, int] = {}
    for path in modules(repository).values():
        if path.name != "__init__.py":
            hall = str(path.parent.relative_to(repository))
            halls[hall] = halls.get(hall, 0) + 1
    assert {hall: files for hall, files in halls.items() if files > 12 and hall not in REGISTRIES} == {}


@pytest.mark.parametrize("package", ["tal_cli", "models", "extractors"])
def test_no_file_is_two(repository: Path, package: str) -> None:
    lengths = {path: len(path.read_text().splitlines()) for path in (repository / package).rglob("*.py")}
    assert {str(path): length for path, length in lengths.items() if length > 350} == {}


@pytest.mark.slow
def test_the_wheel_holds_one_package_with_recipes_and_weights(repository: Path, tmp_path: Path) -> None:
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
    for floor in FLOORS:
        home = "" if floor == "tal_cli" else "tal_cli/"
        wanted = {
            home + str(path.relative_to(repository))
            for path in (repository / floor).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert wanted <= names
    assert any(name.startswith("tal_cli/models/recipe/published/") for name in names)
    assert any(name.startswith("tal_cli/models/weights/camera/") for name in names)
    others = {name.partition("/")[0] for name in names} - {"tal_cli"}
    assert all(name.endswith((".dist-info", ".data")) for name in others)
    assert any(name.endswith("/share/man/man1/tal.1") for name in names)
