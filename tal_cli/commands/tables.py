"""Tables and lists of facts on standard output, for people; plain text where nobody looks."""

from __future__ import annotations

import io
import shutil
import sys
from collections.abc import Iterable, Sequence


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows in columns: with colours and within the screen's width on a terminal, else whole lines of aligned text."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    _print(table)


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """One `name  value` per line; a value that is None appears as a dash."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in facts:
        table.add_row(name, Text("-" if value is None else str(value)))
    _print(table)


def _print(renderable: object) -> None:
    from rich.console import Console

    terminal = sys.stdout.isatty()
    text = io.StringIO()
    # Nobody's pipe has a right margin: what is cut or wrapped there cannot be searched.
    width = shutil.get_terminal_size().columns if terminal else 10_000
    Console(file=text, force_terminal=terminal, width=width).print(renderable)
    # Not printed by rich itself, which would turn a closed pipe into a failure.
    sys.stdout.write("\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n")
    sys.stdout.flush()
