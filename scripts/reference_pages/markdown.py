"""Pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table's lines, with what would end a cell made harmless."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in line) + " |" for line in lines]


def page(title: str, intro: str, lines: Iterable[str]) -> str:
    """A whole page."""
    return "\n".join([f"# {title}", "", intro, "", *lines]).rstrip() + "\n"


def plain(text: str) -> str:
    """Docstrings' double backticks as Markdown has them."""
    return re.sub(r"``([^`]+)``", r"`\1`", text)
