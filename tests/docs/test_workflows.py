"""Workflows and the conda recipe are up to date: commands exist, actions are pinned, requirements are the same."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from doc_blocks import commands
from doc_commands import check_words
from hatchling.metadata.core import ProjectMetadata
from hatchling.plugin.manager import PluginManager
from packaging.requirements import Requirement

from tal_cli import __version__

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
RECIPE = ROOT / "conda" / "recipe.yaml"
PROGRAMS = ("tal", "python", "test")
# Its own manual says that this branch is to be followed.
UNPINNED = "pypa/gh-action-pypi-publish@release/v1"
# What conda calls otherwise, and what it has not for all platforms.
CONDA_NAMES = {"torch": "pytorch", "huggingface-hub": "huggingface_hub"}
CONDA_LACKS = {"decord"}


def steps(workflow: Path) -> list[dict[str, Any]]:
    """All steps of all jobs."""
    jobs = yaml.safe_load(workflow.read_text("utf-8"))["jobs"]
    return [step for job in jobs.values() for step in job["steps"]]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_the_commands_of_a_workflow_exist(workflow: Path) -> None:
    scripts = [step["run"] for step in steps(workflow) if "run" in step]
    assert scripts
    for words in (words for script in scripts for words in commands(script)):
        assert words[0] in PROGRAMS or words[0].startswith("scripts/"), words
        check_words(words)


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_pinned_and_rights_are_few(workflow: Path) -> None:
    text = workflow.read_text("utf-8")
    for used in re.findall(r"uses: (.+)", text):
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v[\d.]+", used) or used == UNPINNED
    assert "permissions" in yaml.safe_load(text), "without it, jobs may write to the repository"
    assert "secrets." not in text


def test_what_is_published_was_installed_before() -> None:
    jobs = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text("utf-8"))["jobs"]
    assert jobs["publish"]["needs"] == "install" and jobs["install"]["needs"] == "build"
    assert jobs["publish"]["permissions"] == {"id-token": "write"}
    (publish,) = (step for step in jobs["publish"]["steps"] if step["uses"] == UNPINNED)
    assert publish["with"]["attestations"] is True


def test_conda_needs_what_pip_needs() -> None:
    recipe = yaml.safe_load(RECIPE.read_text("utf-8"))
    project = ProjectMetadata(str(ROOT), PluginManager()).core
    needed = [Requirement(text) for text in project.dependencies]
    assert {each.name for each in needed if each.marker} == CONDA_LACKS
    expected = {f"{CONDA_NAMES.get(each.name, each.name)} {each.specifier}" for each in needed}
    required = recipe["requirements"]
    assert {*required["run"], *required["run_constraints"]} == expected | {f"python {project.requires_python}"}
    assert {f"{name} " for name in CONDA_LACKS} == {each.partition(">")[0] for each in required["run_constraints"]}
    built_by = ProjectMetadata(str(ROOT), PluginManager()).build.requires
    assert {text.replace(">", " >") for text in built_by} <= set(required["host"])
    assert recipe["context"]["version"] == __version__ and recipe["about"]["license"] == project.license_expression
    scripts = {f"{name} = {target}" for name, target in project.scripts.items()}
    assert set(recipe["build"]["python"]["entry_points"]) == scripts


def test_the_commands_of_the_conda_recipe_exist() -> None:
    tests = yaml.safe_load(RECIPE.read_text("utf-8"))["tests"]
    (lines,) = (test["script"] for test in tests if "script" in test)
    for words in commands("\n".join(lines)):
        check_words(words)
