"""What is generated is fresh, what is linked is there, and the site builds without a warning."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from doc_blocks import FENCE

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    *sorted((ROOT / "benchmarks").glob("*.md")),
]
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


@pytest.fixture
def generator(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """scripts/write_reference."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    loader = SourceFileLoader("write_reference", str(ROOT / "scripts" / "write_reference"))
    spec = importlib.util.spec_from_loader("write_reference", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_generated_reference_is_fresh(
    generator: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["write_reference", "--check"])
    assert generator.main() == 0, capsys.readouterr().err


def test_a_stale_reference_is_noticed(
    generator: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generator, "DOCS", tmp_path)
    monkeypatch.setattr(sys, "argv", ["write_reference"])
    assert generator.main() == 0
    page = tmp_path / "reference" / "commands.md"
    page.write_text(page.read_text("utf-8").replace("--min-score", "--least-score"), encoding="utf-8")
    monkeypatch.setattr(sys, "argv", ["write_reference", "--check"])
    assert generator.main() == 1
    assert capsys.readouterr().err.splitlines() == ["docs/reference/commands.md is stale: run scripts/write_reference"]


def test_the_reference_tells_all(generator: ModuleType) -> None:
    from tal_cli.extractors.catalog import ENTRIES
    from tal_cli.models.recipe.loading import list_recipes

    models, recipe = generator.PAGES["reference/models.md"](), generator.PAGES["reference/recipe.md"]()
    extractors, manual = generator.PAGES["reference/extractors.md"](), generator.PAGES["tal.1"]()
    assert all(f"\n## {name}\n" in models for name in list_recipes())
    assert all(f"\n## {entry.name}\n" in extractors for entry in ENTRIES)
    assert "| `sigma` | `float`, above 0 | `0.5` |" in recipe
    assert "| `radius` | `float or null` | `1.5` | strides; None: every point inside the segment |" in recipe
    commands = generator.PAGES["reference/commands.md"]()
    assert "\\" not in commands and "<code>-f, --format table&#124;json</code>" in commands
    assert ".SS tal datasets convert\n" in manual and "\\-\\-min\\-score" in manual


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    for target in LINK.findall(FENCE.sub("", page.read_text("utf-8"))):
        if "://" in target or target.startswith("mailto:"):
            continue
        place, _, anchor = target.partition("#")
        file = (page.parent / place).resolve() if place else page
        assert file.exists(), f"{page.relative_to(ROOT)}: {target} is not there"
        if anchor:
            assert anchor in anchors(file), f"{page.relative_to(ROOT)}: {target}: no such heading"


def test_the_map_names_what_is_there() -> None:
    spans = re.findall(r"`([^`\s]+)`", FENCE.sub("", (ROOT / "ARCHITECTURE.md").read_text("utf-8")))
    paths = [span for span in spans if re.match(r"(extractors|models|tal_cli|scripts|tests|docs)/", span)]
    assert len(paths) > 50
    assert [path for path in paths if "NAME" not in path and not (ROOT / path).exists()] == []


def anchors(page: Path) -> set[str]:
    """What the headings of a page are called in links."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text("utf-8")), re.M)
    return {re.sub(r"[-\s]+", "-", re.sub(r"[^\w\s-]", "", heading).strip().lower()) for heading in headings}


@pytest.mark.slow
def test_the_site_builds_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "reference" / "models" / "index.html").is_file()
    # The site is to work without a network.
    index = (tmp_path / "site" / "index.html").read_text("utf-8")
    assert not re.findall(r'(?:src|href)="(https?://(?!squidfunk)[^"]+\.(?:js|css|woff2?))"', index)
