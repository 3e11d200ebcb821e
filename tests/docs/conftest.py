"""A shell in which `tal` starts quickly, and the files that the pages speak of."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from doc_material import write_material
from tal_server import serving

ROOT = Path(__file__).resolve().parents[2]
Shell = Callable[[str, Path], "subprocess.CompletedProcess[str]"]

# The command line of DuckDB, which is not a Python package as its library is.
DUCKDB = """\
#!{python}
import sys, duckdb
print(duckdb.sql(sys.argv[sys.argv.index("-c") + 1]))
"""


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where `tal` starts quickly, downloads nothing, and finds nothing of the user's."""
    with serving(tmp_path_factory.mktemp("server")) as commands:
        duckdb = commands / "duckdb"
        duckdb.write_text(DUCKDB.format(python=sys.executable))
        duckdb.chmod(0o755)
        home = tmp_path_factory.mktemp("home")
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("TAL_", "_TAL_"))}
        yield kept | {
            "PATH": os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]]),
            "HOME": str(home),
            "XDG_STATE_HOME": str(home / "state"),
            "TAL_OFFLINE": "1",
            "TAL_DEVICE": "cpu",
        }


@pytest.fixture(scope="session")
def shell(environment: dict[str, str]) -> Shell:
    """Runs a script in a folder, with a TAL_HOME beside it."""

    def call(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", script],
            cwd=folder,
            env=environment | {"TAL_HOME": str(folder.parent / "home")},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    return call


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that the pages speak of; not to be written to."""
    folder = tmp_path_factory.mktemp("material")
    write_material(folder)
    return folder


@pytest.fixture
def material(prepared: Path, tmp_path: Path, environment: dict[str, str]) -> Path:
    """The same files in a folder of one's own, which also stands for a checkout that has been set up."""
    folder = Path(shutil.copytree(prepared, tmp_path / "work"))
    shutil.copytree(ROOT / "scripts", folder / "scripts")
    shutil.copy(ROOT / "pyproject.toml", folder)
    programs = folder / ".venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "python").symlink_to(sys.executable)
    (programs / "tal").symlink_to(str(shutil.which("tal", path=environment["PATH"])))
    shutil.copy(ROOT / "pyproject.toml", folder / ".venv" / "installed-dev")
    return folder
