"""docs/reference/commands.md: what `--help` says."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from tal_cli.app import app

from .markdown import page, table

EXIT_CODES = (
    (0, "Success."),
    (1, "Internal error (a bug in tal); the traceback is in a log file whose path is printed."),
    (2, "Usage error; the message contains the remedy."),
    (3, "Some or all inputs could not be processed; results of the others are written."),
    (4, "Weights, a data set or an optional package is missing; the message says how to get it."),
    (130, "Interrupted; no partial file is left."),
)
ENVIRONMENT = (
    ("TAL_MODEL", "Default of --model."),
    ("TAL_DEVICE", "Default of --device."),
    ("TAL_HOME", "Downloaded and imported weights; by default the platform's cache folder."),
    ("TAL_DATA", "Folder of the built-in data sets; by default data in the current folder."),
    ("TAL_OFFLINE", "1 disables downloads."),
)


def commands() -> Iterator[tuple[str, Any]]:
    """Every command with the words that call it."""
    yield from _below(typer.main.get_command(app), "tal")


def _below(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if not children:
        yield path, command
        return
    for name, child in children.items():
        yield from _below(child, f"{path} {name}")


def shown(command: Any) -> list[Any]:
    """The parameters that help shows."""
    return [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]


def spelling(parameter: Any) -> str:
    """`-m, --model NAME|PATH` of an option, `INPUT...` of an argument."""
    metavar = parameter.metavar or ""
    if parameter.param_type_name == "argument":
        return metavar or parameter.name.upper()
    names = ", ".join(sorted(parameter.opts, key=len))
    return names if getattr(parameter, "is_flag", False) else f"{names} {metavar or parameter.name.upper()}"


def explanation(parameter: Any) -> str:
    """Help text, default and environment variable."""
    text = (parameter.help or "").strip()
    default = parameter.default
    if not (default in (None, "", False, True, ()) or callable(default) or "default" in text.lower()):
        text = f"{text} Default: {getattr(default, 'value', default)}."
    variable = getattr(parameter, "envvar", None)
    return f"{text} Environment: {variable}." if variable else text


def paragraphs(command: Any) -> list[str]:
    """What a command's help says, as paragraphs."""
    return [" ".join(part.split()) for part in (command.help or "").split("\n\n")]


def write() -> str:
    """The page."""
    lines: list[str] = []
    for path, command in commands():
        lines += [f"## {path}", "", "\n\n".join(paragraphs(command)), ""]
        if command.epilog:
            lines += ["```text", command.epilog.removeprefix("Example: "), "```", ""]
        rows = [(f"`{spelling(parameter)}`", explanation(parameter)) for parameter in shown(command)]
        lines += [*table(("", ""), rows), ""] if rows else []
    lines += [
        "## Exit codes",
        "",
        *table(("code", "means"), [(str(code), meaning) for code, meaning in EXIT_CODES]),
        "",
    ]
    lines += ["## Environment", "", *table(("variable", "means"), [(f"`{name}`", what) for name, what in ENVIRONMENT])]
    return page("Commands", "What `tal COMMAND --help` says.", lines)
