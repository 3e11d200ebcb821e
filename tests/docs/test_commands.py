"""Every command that README and docs show does what they say: it is run, or, where a test lacks what it needs, read."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer
from doc_blocks import Block, blocks, commands

from extractors.catalog import ENTRIES
from tal_cli.app import app

ROOT = Path(__file__).resolve().parents[2]
# docs/reference is generated, and shows what `--help` does.
PAGES = [ROOT / "README.md", *sorted(p for p in (ROOT / "docs").rglob("*.md") if "reference" not in p.parts)]
SHELL = [block for page in PAGES for block in blocks(page, ROOT) if block.language == "sh"]
EXPORT = ROOT / "docs" / "how-to" / "export.md"  # has a test of its own
WITH_SHELL = [page for page in PAGES if page != EXPORT and any((ROOT / block.page) == page for block in SHELL)]
COMMANDS = ("tal", "find", "jq", "sort", "duckdb", "cat", "head", "ls", "eval")
# Numbers that only make a run long; of two rendered videos none can be kept apart.
SHORTER = (
    (r"--videos \d+", "--videos 2"),
    (r"(clips/annotations.json .*)--validation [\d.]+", r"\1--validation 0"),
    (r"\btal train\b", "tal train --epochs 1"),
)


@pytest.fixture
def walk(shell: Any, material: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], dict[str, Any]]:
    """Runs a page's blocks from top to bottom in one folder, so that one may use what an earlier one wrote.

    Gives the names that its Python blocks have left.
    """
    monkeypatch.chdir(material)
    monkeypatch.setenv("TAL_HOME", str(material.parent / "home"))

    def through(page: Path) -> dict[str, Any]:
        names: dict[str, Any] = {}
        for block in (block for block in blocks(page, ROOT) if block.runs and not is_fragment(block)):
            if block.language == "python":
                exec(compile(block.text, f"{block.page}:{block.line}", "exec"), names)
            if block.language == "sh":
                script = runnable(block.text)
                done = shell(script, material)
                said = f"{block.page}:{block.line} ended with {done.returncode}, not {block.code}"
                assert done.returncode == block.code, f"{said}:\n{script}\n{done.stderr[-3000:]}"
        return names

    return through


@pytest.mark.parametrize("page", WITH_SHELL, ids=lambda page: str(page.relative_to(ROOT)))
def test_a_page_runs(page: Path, walk: Callable[[Path], dict[str, Any]]) -> None:
    walk(page)


def test_a_few_lines_of_numpy_find_what_tal_finds(
    walk: Callable[[Path], dict[str, Any]], shell: Any, material: Path
) -> None:
    names = walk(EXPORT)
    best = sorted(names["found"], reverse=True)[:10]
    done = shell("tal detect features/holiday.npy --model camera --min-score 0 --top-k 10 --format json", material)
    expected = json.loads(done.stdout)["results"]["holiday"]
    assert [row[1] for row in best] == [item["label"] for item in expected]
    for (score, _, start, end), item in zip(best, expected, strict=True):
        assert [start, end] == pytest.approx(item["segment"], abs=0.01)
        assert score == pytest.approx(item["score"], abs=1e-3)


@pytest.mark.parametrize("block", SHELL, ids=lambda block: f"{block.page}:{block.line}")
def test_the_options_of_a_block_exist(block: Block) -> None:
    for words in commands(block.text):
        check_words(words)


def is_fragment(block: Block) -> bool:
    """Whether Python shows a part of a file, as README does where it extends; `test_extending` runs those."""
    return block.language == "python" and "import " not in block.text


def runnable(script: str) -> str:
    """A script without the lines that need what a test has not, and with shorter numbers."""
    whole = re.sub(r"(\\|\|)\n", r"\1\0", script)
    lines = [line for line in whole.split("\n") if not any(need(words) for words in commands(line.replace("\0", "\n")))]
    text = "\n".join(lines).replace("\0", "\n")
    for pattern, short in SHORTER:
        text = re.sub(pattern, short, text)
    return text


def need(words: list[str]) -> str | None:
    """What a command needs that a test has not."""
    if words[0] not in COMMANDS:
        return f"the command {words[0]}"
    if any("://" in word for word in words) or "pull" in words[:3]:
        return "a network"
    if "ray" in words:
        return "a cluster"
    if any(word.endswith("-completion") for word in words):
        return "a shell that a person is in; test_completion installs it"
    if words[:2] == ["tal", "selftest"]:
        return "a minute; it has tests of its own"
    heavy = [entry.name for entry in ENTRIES if entry.needs_weights]
    if words[:2] == ["tal", "extract-features"] and any(word in heavy or word.startswith("timm:") for word in words):
        return "weights"
    return None


def check_words(words: list[str]) -> None:
    """Fails where a command has options or names that do not exist."""
    if words[0] == "tal" or words[:3] == ["python", "-m", "tal_cli"]:
        parse([word for word in words[1:] if word not in ("-m", "tal_cli")])
    elif words[0] == "torchrun":
        parse(words[words.index("tal_cli") + 1 :])
    elif words[0].startswith("scripts/"):
        assert os.access(ROOT / words[0], os.X_OK), f"{words[0]} is no script of this project"
    elif words[0] == "pip":
        for extra in re.findall(r"\[([\w,]+)\]", " ".join(words)):
            text = (ROOT / "pyproject.toml").read_text("utf-8")
            assert all(re.search(rf"^{name} = \[", text, re.M) for name in extra.split(",")), f"no extra {extra}"


def parse(words: list[str]) -> None:
    """Let the command's own parser read a command line; nothing runs."""
    command: Any = typer.main.get_command(app)
    context = None
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"there is no command {words[0]}"
        context, command, words = context, command.commands[words[0]], words[1:]
    if any(word.endswith("-completion") for word in words):
        return  # acts as soon as it is read
    command.make_context("tal", list(words), parent=context)
    for parameter in command.params:
        if re.fullmatch(r"[a-z-]+(\|[a-z-]+)+", parameter.metavar or ""):
            given = [words[at + 1] for at, word in enumerate(words) if word in parameter.opts]
            assert set(given) <= set(parameter.metavar.split("|")), f"{given}: there are {parameter.metavar}"


def test_a_wrong_option_is_noticed() -> None:
    with pytest.raises(Exception, match="--colour"):
        check_words(["tal", "detect", "a.mp4", "--colour", "red"])
    with pytest.raises(Exception, match="pictures"):
        check_words(["tal", "detect", "a.mp4", "--format", "pictures"])
    with pytest.raises(AssertionError, match="detekt"):
        check_words(["tal", "detekt"])
    with pytest.raises(AssertionError, match="no extra"):
        check_words(["pip", "install", "tal-cli[rey]"])


def test_lines_that_need_more_than_a_test_has_are_left_out() -> None:
    script = "tal detect a.mp4 |\n  jq .\ntal detect s3://b/a.mp4 |\n  jq .\ntal train --dataset a.json\n"
    assert runnable(script) == "tal detect a.mp4 |\n  jq .\ntal train --epochs 1 --dataset a.json\n"
