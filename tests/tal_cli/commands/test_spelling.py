"""One spelling per meaning in all commands; earlier spellings are read and not shown."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from small_runs import Tal

from tal_cli.app import app
from tal_cli.commands.options import OLD_SPELLINGS

TOP: Any = typer.main.get_command(app)
FROM_CLICK = {"--help", "--install-completion", "--show-completion"}
# What `--out` was in the first contract of the command line.
WRITERS = ("extract-features", "train", "diagnose", "datasets make")


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command with the words that call it."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(commands(TOP))
OPTIONS = [
    (command, option)
    for command, found in COMMANDS.items()
    for option in found.params
    if option.param_type_name == "option" and not FROM_CLICK & set(option.opts)
]


def parsed(command: str, *words: str) -> dict[str, Any]:
    """What a command reads from words, without running it."""
    context = TOP.make_context("tal", [command], resilient_parsing=True)
    read = COMMANDS[command].make_context(command, list(words), parent=context, resilient_parsing=True)
    return {name: value for name, value in read.params.items() if value is not None}


@pytest.mark.parametrize(("command", "option"), OPTIONS, ids=lambda value: getattr(value, "name", value))
def test_an_option_has_one_long_name(command: str, option: Any) -> None:
    assert len([name for name in option.opts if name.startswith("--")]) == 1


def test_a_meaning_has_one_spelling() -> None:
    for meaning in (lambda option: option.name, lambda option: option.help, lambda option: min(option.opts, key=len)):
        spellings: dict[str, set[tuple[str, ...]]] = {}
        for _, option in OPTIONS:
            spellings.setdefault(meaning(option), set()).add(tuple(sorted(option.opts)))
        assert {what: found for what, found in spellings.items() if len(found) > 1} == {}


def test_earlier_spellings_are_not_shown() -> None:
    shown = {name.lstrip("-") for _, option in OPTIONS for name in option.opts}
    assert OLD_SPELLINGS.keys() & shown == {"video"}  # of `tal diagnose`: one video's name, not where videos are
    assert set(OLD_SPELLINGS.values()) <= shown


@pytest.mark.parametrize(("old", "new"), OLD_SPELLINGS.items())
def test_earlier_spellings_are_read(old: str, new: str) -> None:
    users = [command for command, option in OPTIONS if f"--{new}" in option.opts]
    assert users
    value = "0.75" if new == "tiou" else "7"
    for command in users:
        read = parsed(command, f"--{old}", value)
        assert read == parsed(command, f"--{new}", value) == parsed(command, f"--{old}={value}")
        assert read != parsed(command)


@pytest.mark.parametrize("command", WRITERS)
def test_what_is_written_goes_to_output_or_as_ever_to_out(command: str) -> None:
    assert str(parsed(command, "--out", "there")["output"]) == "there"
    assert parsed(command, "-o", "there") == parsed(command, "--output", "there") == parsed(command, "--out", "there")


@pytest.mark.parametrize(
    "command",
    [
        ("detect", "first.mp4", "--model", "small"),
        ("extract-features", "first.mp4", "-x", "tiny"),
        ("train", "--dataset", "absent.json"),
        ("benchmark", "small"),
    ],
    ids=lambda command: command[0],
)
def test_set_is_one_language(run: Tal, clips: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    monkeypatch.chdir(clips)
    for words, reason in (
        (("--set", "a.b"), "error: --set a.b: expected KEY=VALUE\n"),
        (("--set", "a=["), "error: --set a=[: '[' is not a value\n"),
        (("--set", "a=1", "--set", "a=2"), "error: --set a=2: a is given twice\n"),
    ):
        done = run(*command, *words)
        assert (done.code, done.out) == (2, "") and reason in done.err


def test_commands_that_take_set() -> None:
    takers = {command for command, option in OPTIONS if "--set" in option.opts}
    assert takers == {"detect", "extract-features", "train", "benchmark"}


def test_a_video_of_the_diagnosis_is_named_as_ever() -> None:
    assert parsed("diagnose", "--video", "one")["video"] == "one"
