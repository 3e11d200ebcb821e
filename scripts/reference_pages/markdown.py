"""Pieces of Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A table's lines, with characters that would end a cell escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return ["| " + " | ".join(map(_cell, line)) + " |" for line in lines]


def _cell(text: str) -> str:
    """One line without bars. MkDocs shows the backslash of an escaped one in code, and no entity: hence the tag."""
    line = " ".join(text.split())
    coded = re.sub(r"`([^`]*[|][^`]*)`", lambda found: f"<code>{escape(found[1], quote=False)}</code>", line)
    return coded.replace("|", "&#124;")


def page(title: str, intro: str, lines: Iterable[str]) -> str:
    """A whole page."""
    return "\n".join([f"# {title}", "", intro, "", *lines]).rstrip() + "\n"


def plain(text: str) -> str:
    """Docstrings' double backticks as Markdown has them."""
    return re.sub(r"``([^`]+)``", r"`\1`", text)
