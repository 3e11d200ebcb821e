"""Tables of behaviour programs: a header somewhere, lines of other things above it, and columns found by name."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice, pairwise
from pathlib import Path

from tal_cli.datasets.formats.values import finite, seconds
from tal_cli.extractors.errors import AnnotationError
from tal_cli.spreadsheets import lines, records, separator, with_point

MOST_ABOVE = 200  # lines above a header
ABSENT = ("", "NA", "NaN", "nan", "None")


@dataclass(frozen=True)
class Sheet:
    """A table: comment lines without their `#`, rows above the header, the header, and rows with their line numbers."""

    path: Path
    separator: str
    comments: tuple[str, ...]
    above: tuple[tuple[str, ...], ...]
    header: tuple[str, ...]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def cells(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Line number and cells of each row, by the column's name in lower case; what a short row lacks is empty.

        Of equal names the last counts: BORIS writes independent variables, which people name, before its own columns.
        """
        names = [name.lower() for name in self.header]
        for line, row in self.rows:
            yield line, dict(zip(names, (*row, *[""] * (len(names) - len(row))), strict=False))

    def number(self, cell: str) -> float | None:
        """A number with a decimal point or comma; None for an absent one, or anything else."""
        return None if cell.strip() in ABSENT else finite(with_point(cell.strip(), self.separator))

    def time(self, line: int, cell: str) -> float:
        """Seconds from a number or a clock time, nan where it is absent. Raises AnnotationError for anything else."""
        text = with_point(cell.strip(), self.separator)
        clock = seconds(text.removeprefix("-")) if ":" in text else self.number(cell)
        if clock is None and cell.strip() not in ABSENT:
            raise AnnotationError(self.path, f"line {line}: not a time: {cell!r}"[:200])
        if clock is None:
            return math.nan
        return -clock if ":" in text and text.startswith("-") else clock


def header_in(head: str, needed: Collection[str]) -> tuple[str, ...] | None:
    """The first row among the first lines that has all these columns (in lower case); None if there is none."""
    found = _header(head, needed)
    return found and found[1]


def first_row(head: str) -> tuple[str, ...]:
    """The cells of the first line that is neither empty nor a comment."""
    return next((names for _, names in _rows(head)), ())


def _header(head: str, needed: Collection[str]) -> tuple[str, tuple[str, ...]] | None:
    """The separator, and the cells of the first row among the first lines that has all these columns."""
    rows = islice(_rows(head), MOST_ABOVE)
    return next((found for found in rows if set(needed) <= {name.lower() for name in found[1]}), None)


def _rows(head: str) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Separator and cells of the lines that are neither empty nor a comment."""
    told = (line for line in records(head) if line.strip() and not line.startswith("#"))
    for line, following in pairwise(chain(told, [""])):
        between = separator(line, following)
        yield between, _split(line, between)


def read_sheet(path: Path, text: str, needed: Collection[str]) -> Sheet:
    """Parse a table whose header has these columns (in lower case).

    Raises:
        AnnotationError: there is no such header, or a row is damaged.
    """
    found = _header(text, needed)
    if found is None:
        raise AnnotationError(path, f"no line has the columns {', '.join(sorted(needed))}")
    delimiter, header = found
    comments: list[str] = []
    table = csv.reader(_without_comments(text, header, delimiter, comments), delimiter=delimiter)
    above: list[tuple[str, ...]] = []
    rows: list[tuple[int, tuple[str, ...]]] = []
    begun = False
    try:
        for row in table:
            if not begun and tuple(cell.strip() for cell in row) == header:
                begun = True
            elif begun and any(cell.strip() for cell in row):
                rows.append((table.line_num, tuple(row)))
            elif not begun:
                above.append(tuple(cell.strip() for cell in row))
    except csv.Error as error:
        raise AnnotationError(path, f"line {table.line_num}: not a row of the table ({error})") from error
    return Sheet(path, delimiter, tuple(comments), tuple(above), header, tuple(rows))


def _without_comments(text: str, header: tuple[str, ...], delimiter: str, comments: list[str]) -> Iterator[str]:
    """Lines of a text; those above the header that begin with # are collected, and empty, so that line numbers stay."""
    begun = False
    for line in records(text):
        if not begun and line.startswith("#"):
            comments.append(line[1:].strip())
            yield "\n"
        else:
            begun = begun or _split(line, delimiter) == header
            yield from lines(line)


def _split(line: str, delimiter: str) -> tuple[str, ...]:
    try:
        row: Sequence[str] = next(csv.reader(lines(line), delimiter=delimiter), [])
    except csv.Error:
        return ()
    return tuple(cell.strip() for cell in row)
