"""docs/tal.1, for `man tal`."""

from __future__ import annotations

from tal_cli import __version__

from .commands import ENVIRONMENT, EXIT_CODES, commands, explanation, paragraphs, shown, spelling


def write() -> str:
    """The page, in roff."""
    lines = [
        f'.TH TAL 1 "" "tal {__version__}" "User Commands"',
        ".SH NAME",
        "tal \\- temporal action localization: find labelled segments in videos",
        ".SH SYNOPSIS",
        ".B tal",
        "COMMAND [OPTIONS] [ARGUMENTS]",
        ".SH DESCRIPTION",
        roff("tal turns video files into labelled time segments. Results go to standard output, all else to standard")
        + " error.",
        ".SH COMMANDS",
    ]
    for path, command in commands():
        lines += [f".SS {roff(path)}", *(line for text in paragraphs(command) for line in (roff(text), ".PP"))]
        if command.epilog:
            lines += [roff(command.epilog), ".PP"]
        for parameter in shown(command):
            lines += [".TP", f".B {roff(spelling(parameter))}", roff(explanation(parameter))]
    lines += [".SH EXIT STATUS", *(f".TP\n.B {code}\n{roff(meaning)}" for code, meaning in EXIT_CODES)]
    lines += [".SH ENVIRONMENT", *(f".TP\n.B {name}\n{roff(meaning)}" for name, meaning in ENVIRONMENT)]
    return "\n".join(lines) + "\n"


def roff(text: str) -> str:
    """Text with roff's control characters escaped."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{text}" if text.startswith((".", "'")) else text
