"""Tables, lists of facts, paths and JSON on standard output, with control characters escaped."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Iterable, Sequence

from tal_cli.safe_text import printable

FITTED_ROWS = 500  # rich takes half a millisecond for a row; more than is read on a terminal


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows in columns: coloured and fitted to the width of a terminal; in a pipe, or if there are more than
    FITTED_ROWS, as aligned lines of any length."""
    rows = list(rows)
    if not sys.stdout.isatty() or len(rows) > FITTED_ROWS:
        _print_aligned([header, *rows])
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in header:
        table.add_column(name)
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    _print(table)


def _print_aligned(rows: Iterable[Sequence[str]]) -> None:
    from rich.cells import cell_len

    table = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    for row in table:
        padded = (cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write("  ".join(padded).rstrip() + "\n")
    sys.stdout.flush()


def print_facts(facts: Iterable[tuple[str, object]]) -> None:
    """Print one `name  value` per line; None appears as a dash."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    for name, value in facts:
        table.add_row(Text(name), Text("-" if value is None else printable(str(value))))
    _print(table)


def print_json(document: object) -> None:
    """Print JSON with unprintable characters escaped."""
    text = json.dumps(document, ensure_ascii=False, indent=1)
    if not text.isascii():
        text = "".join(item if item.isprintable() or item == "\n" else json.dumps(item)[1:-1] for item in text)
    print(text)


def print_path(path: object) -> None:
    """Print the path of a written file."""
    print(printable(str(path)), flush=True)


def _print(renderable: object) -> None:
    from rich.console import Console

    terminal = sys.stdout.isatty()
    text = io.StringIO()
    # Lines in a pipe are neither cut nor wrapped, so that they can be searched.
    width = shutil.get_terminal_size().columns if terminal else 10_000
    Console(file=text, force_terminal=terminal, width=width).print(renderable)
    # rich's own print turns a closed pipe into a failure.
    sys.stdout.write("\n".join(line.rstrip() for line in text.getvalue().splitlines()) + "\n")
    sys.stdout.flush()
