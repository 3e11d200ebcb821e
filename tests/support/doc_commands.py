"""Whether commands that are shown somewhere exist: the command line's own parser reads them, and nothing runs."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import typer

from tal_cli.app import app

ROOT = Path(__file__).resolve().parents[2]


def check_words(words: list[str]) -> None:
    """Fails where a command has options or names that do not exist."""
    if words[0] == "tal" or words[:3] == ["python", "-m", "tal_cli"]:
        parse([word for word in words[1:] if word not in ("-m", "tal_cli")])
    elif words[0] == "torchrun":
        parse(words[words.index("tal_cli") + 1 :])
    elif words[0].startswith("scripts/"):
        assert os.access(ROOT / words[0], os.X_OK), f"{words[0]} is no script of this project"
    elif words[0] in ("pip", "uv"):
        for extra in re.findall(r"\[([\w,]+)\]", " ".join(words)):
            text = (ROOT / "pyproject.toml").read_text("utf-8")
            assert all(re.search(rf"^{name} = \[", text, re.M) for name in extra.split(",")), f"no extra {extra}"


def check_names(words: list[str]) -> None:
    """Fails where text names a command or an option that does not exist; values are left open."""
    if words[:1] != ["tal"]:
        return
    command: Any = typer.main.get_command(app)
    for word in words[1:]:
        if word.startswith("--"):
            known = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
            assert word.partition("=")[0] in known | {"--help"}, f"{' '.join(words)}: no option {word}"
        elif hasattr(command, "commands") and re.fullmatch("[a-z-]+", word):
            assert word in command.commands, f"{' '.join(words)}: no command {word}"
            command = command.commands[word]


def parse(words: list[str]) -> None:
    """Let the command's own parser read a command line; nothing runs."""
    command: Any = typer.main.get_command(app)
    context = None
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        assert words[0] in command.commands, f"there is no command {words[0]}"
        context, command, words = context, command.commands[words[0]], words[1:]
    if any(word == "--version" or word.endswith("-completion") for word in words):
        return  # acts as soon as it is read
    command.make_context("tal", list(words), parent=context)
    for parameter in command.params:
        if re.fullmatch(r"[a-z-]+(\|[a-z-]+)+", parameter.metavar or ""):
            given = [words[at + 1] for at, word in enumerate(words) if word in parameter.opts]
            assert set(given) <= set(parameter.metavar.split("|")), f"{given}: there are {parameter.metavar}"
