"""Tables, lists of facts, paths and JSON on standard output, with control characters escaped."""

from __future__ import annotations

import io
import json
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from tal_cli.extractors.errors import UsageError
from tal_cli.extractors.files.atomic import is_device
from tal_cli.safe_text import printable

FITTED_ROWS = 500  # rich takes half a millisecond for a row; more than is read on a terminal
LAST_WIDTH = 24  # columns of a terminal that a table's last column, its text, is folded to
GAP = 2


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]], optional: Sequence[str] = ()) -> None:
    """Print rows in columns: coloured and fitted to the width of a terminal; in a pipe, or if there are more than
    FITTED_ROWS, as aligned lines of any length.

    On a terminal too narrow for the others, and LAST_WIDTH of the last one, `optional` columns are left out, the last
    one of them first. The first column is never cut.
    """
    rows = list(rows)
    if not sys.stdout.isatty() or len(rows) > FITTED_ROWS:
        _print_aligned([header, *rows])
        return
    from rich.table import Table
    from rich.text import Text

    cells = [[printable(cell) for cell in row] for row in (header, *rows)]
    kept = _fitting(cells, shutil.get_terminal_size().columns, optional)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for index in kept:
        table.add_column(header[index], no_wrap=index == 0)
    for row in cells[1:]:
        table.add_row(*(Text(row[index]) for index in kept))
    _print(table)


def _fitting(cells: Sequence[Sequence[str]], width: int, optional: Sequence[str]) -> list[int]:
    """The columns of a table, header first, that a terminal has room for."""
    from rich.cells import cell_len

    widths = [max(map(cell_len, column)) for column in zip(*cells, strict=True)]
    widths[-1] = min(widths[-1], LAST_WIDTH)
    kept = list(range(len(widths)))
    for name in reversed(optional):
        if sum(widths[index] + GAP for index in kept) - GAP > width:
            kept.remove(list(cells[0]).index(name))
    return kept


def _print_aligned(rows: Iterable[Sequence[str]]) -> None:
    sys.stdout.write(table_text(rows))
    sys.stdout.flush()


def table_text(rows: Iterable[Sequence[str]]) -> str:
    """Rows as aligned lines."""
    return "".join(f"{line}\n" for line in aligned(rows))


def aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Rows as lines whose columns begin below one another."""
    from rich.cells import cell_len

    table = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]


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


def form_for(output: Path | None, by_suffix: Mapping[str, str]) -> str:
    """The format that the suffix of an output file names; `table` on standard output.

    Raises:
        UsageError: no format has that suffix.
    """
    if output is None or is_device(output):
        return "table"
    if (suffix := output.suffix.lower()) not in by_suffix:
        known = ", ".join(by_suffix)
        raise UsageError(
            f"{output}: no format has the suffix {output.suffix!r}", f"use one of {known}, or name one with --format"
        )
    return by_suffix[suffix]


def print_or_write(content: bytes, output: Path | None) -> None:
    """Print bytes, or write them to a file and print its path."""
    if output is None:
        sys.stdout.buffer.write(content)
        sys.stdout.flush()
        return
    from tal_cli.extractors.files.atomic import write_atomically

    write_atomically(output, content)
    print_path(output)


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
