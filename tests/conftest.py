"""What all tests share: the folder of real videos and golden files beside a checkout, small defaults, and chance that
comes out the same every time."""

from __future__ import annotations

import gc
import os
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

# Tests run two at a time on small machines: one thread each is faster than four that fight over two cores.
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import settings  # noqa: E402
from plugin_packages import Install, write_package  # noqa: E402

from tal_cli.extractors.cpu import collect_garbage_rarely  # noqa: E402

settings.register_profile("tal", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("tal")

collect_garbage_rarely()  # as `tal` does
REPOSITORY = Path(__file__).resolve().parents[1]


def pytest_collection_finish() -> None:
    """What all test modules have imported stays: it is searched for garbage neither now and then nor at the end."""
    gc.freeze()


@pytest.fixture(autouse=True)
def same_start() -> None:
    """Every test draws the same random numbers and begins without --quiet, whichever tests came before it."""
    random.seed(0)
    np.random.seed(0)
    if "torch" in sys.modules:  # loaded later, it begins with a seed of its own
        sys.modules["torch"].manual_seed(0)
    if "tal_cli.console" in sys.modules:
        sys.modules["tal_cli.console"].set_quiet(False)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real videos and golden files: `$TAL_SHARED`, or `shared` beside the checkout.

    Where it is absent the test skips and says so, unless TAL_TESTS_COMPLETE is set: then nothing may go untested.
    """
    folder = Path(os.environ.get("TAL_SHARED", REPOSITORY.parent / "shared"))
    if not folder.is_dir():
        reason = f"the shared folder is absent: {folder} (set TAL_SHARED to where it is)"
        if os.environ.get("TAL_TESTS_COMPLETE"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts a package on this process's module path, with its metadata: see `write_package`."""
    from tal_cli.extractors import plugins

    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    known = set(sys.modules)

    def call(name: str, entry_points: str, modules: Mapping[str, str] | None = None, **more: str) -> None:
        write_package(folder, name, entry_points, modules or {}, **more)
        plugins.installed.cache_clear()

    yield call
    plugins.installed.cache_clear()
    for module in set(sys.modules) - known:
        if str(getattr(sys.modules[module], "__file__", None)).startswith(str(folder)):
            del sys.modules[module]
