"""What is distributed beside the code: the man page and the citation file."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest
import yaml
from hatchling.builders.wheel import WheelBuilder

from tal_cli import __version__

ROOT = Path(__file__).resolve().parents[2]


def test_the_wheel_brings_the_man_page(tmp_path: Path) -> None:
    (wheel,) = WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    with zipfile.ZipFile(wheel) as archive:
        (page,) = [name for name in archive.namelist() if name.endswith(".data/data/share/man/man1/tal.1")]
        assert archive.read(page) == (ROOT / "docs" / "tal.1").read_bytes()


def test_the_man_page_can_be_set() -> None:
    groff = shutil.which("groff")
    if groff is None:
        pytest.skip("groff is not installed")
    command = [groff, "-man", "-Tutf8", "-ww", str(ROOT / "docs" / "tal.1")]
    done = subprocess.run(command, capture_output=True, text=True)
    # Bold letters are struck twice.
    assert done.returncode == 0 and "EXIT STATUS" in re.sub(".\\x08", "", done.stdout) and not done.stderr


def test_the_citation_is_this_version() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert {"cff-version", "message", "title", "authors"} <= set(citation)
    assert citation["version"] == __version__
    readme = (ROOT / "README.md").read_text("utf-8")
    method = citation["preferred-citation"]
    assert method["title"] in readme
    for author in method["authors"]:
        assert f"{author['family-names']}, {author['given-names']}" in readme


def test_badges_are_true() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    shown = dict(re.findall(r"img\.shields\.io/badge/(\w+)-(?:%E2%89%A5%20)?([\w.]+)-", readme))
    (python,) = re.findall(r'^requires-python = ">=([\d.]+)"$', project, re.M)
    (torch,) = re.findall(r'^  "torch>=([\d.]+)",$', project, re.M)
    (licence,) = re.findall(r'^license = "(\w+)"$', project, re.M)
    assert shown == {"Python": python, "PyTorch": torch, "licence": licence}
    assert readme.count("badge/") == len(shown)
