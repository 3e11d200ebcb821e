"""The text of the Dockerfile: that what it copies exists, and which user it runs as, needs no Docker daemon."""

from __future__ import annotations

import fnmatch
import json
import re
import shlex
from pathlib import Path

import pytest
from doc_blocks import blocks, commands

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "Dockerfile").read_text("utf-8")


def instructions() -> list[tuple[str, str]]:
    """(instruction, rest) of every line, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", TEXT)
    lines = [line for line in joined.splitlines() if line.strip() and not line.startswith("#")]
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines]


def test_the_base_is_pinned_by_name() -> None:
    arguments = dict(rest.split("=", 1) for name, rest in instructions() if name == "ARG")
    image, _, tag = arguments["BASE"].partition(":")
    assert image == "python" and re.match(r"3\.\d+-slim-\w+$", tag)
    assert all(rest.split()[0] == "${BASE}" for name, rest in instructions() if name == "FROM")


def test_it_runs_as_a_plain_user_and_needs_no_programs() -> None:
    names = [name for name, _ in instructions()]
    last = len(names) - 1 - names[::-1].index("FROM")
    assert ("USER", "1000") in instructions()[last:]
    assert names.index("USER") < names.index("ENTRYPOINT")
    assert ("ENTRYPOINT", '["tal"]') in instructions()
    assert "apt-get" not in TEXT and not re.search(r"\binstall\b[^\n]*ffmpeg", TEXT)


def test_what_is_copied_is_there_and_not_ignored() -> None:
    rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    for name, rest in instructions():
        if name != "COPY" or rest.startswith("--from"):
            continue
        for source in shlex.split(rest)[:-1]:
            assert (ROOT / source).exists(), f"COPY {source}: it is not there"
            assert f"!{source}" in rules, f"COPY {source}: .dockerignore leaves it out"
    assert rules[0] == "*" and any(fnmatch.fnmatch("tal_cli/__pycache__", rule) for rule in rules)


def test_what_the_build_needs_is_copied() -> None:
    """The files that pyproject.toml names, and the folders behind the links."""
    project = (ROOT / "pyproject.toml").read_text("utf-8")
    copied = {word for name, rest in instructions() if name == "COPY" for word in shlex.split(rest)}
    named = re.search(r"^only-include = (\[.*\])$", project, re.M)
    assert named is not None and {*json.loads(named[1]), "models", "extractors"} <= copied
    extras = next(rest for name, rest in instructions() if name == "ARG" and rest.startswith("EXTRAS="))
    for extra in extras.partition("=")[2].split(","):
        assert re.search(rf"^{extra} = \[", project, re.M), f"there is no extra {extra}"


@pytest.mark.parametrize("page", ["docs/how-to/install.md"])
def test_documented_arguments_exist(page: str) -> None:
    shown = [words for block in blocks(ROOT / page, ROOT) if block.language == "sh" for words in commands(block.text)]
    builds = [words for words in shown if words[:2] == ["docker", "build"]]
    given = [words[at + 1] for words in builds for at, word in enumerate(words) if word == "--build-arg"]
    names = {each.partition("=")[0] for each in given}
    known = {rest.partition("=")[0] for name, rest in instructions() if name == "ARG"}
    assert names and names <= known
