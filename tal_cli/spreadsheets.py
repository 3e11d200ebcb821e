"""Tables as saved by spreadsheets: comma, semicolon or tab; any line ending; a first line `sep=;`; decimal commas. And
tables with commas, to write."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from types import SimpleNamespace

SEPARATORS = ",;\t"
MOST_JOINED = 50  # lines
SEPARATOR_LINE = re.compile(r"\s*sep=[,;\t]\s*", re.IGNORECASE)
LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
CELL = re.compile(r'(?:(?<=[,;\t])|^)"(?:[^"]|"")*"(?=[,;\t\r\n]|$)')  # a whole quoted cell
OPEN = re.compile(r'(?:^|[,;\t])"[^"]*(?:""[^"]*)*$')
QUOTED = re.compile(r'"(?:[^"]|"")*"?')
THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+")


def lines(text: str) -> Iterator[str]:
    """Lines with their endings; unlike `splitlines`, only at line endings of text files. The line that declares the
    separator becomes empty, so that line numbers are those of the file."""
    found = False
    for match in LINE.finditer(text):
        line = match[0]
        if not found and line.strip():
            found = True
            if SEPARATOR_LINE.fullmatch(line):
                line = "\n"
        yield line


def header(text: str) -> str:
    """The first line that is not empty, without its ending."""
    return next((line.rstrip("\r\n") for line in lines(text) if line.strip()), "")


def separator(line: str, following: str = "") -> str:
    """The separator of a line's cells: what the following line has as often, else the commonest; what is quoted belongs
    to a cell."""
    plain, other = QUOTED.sub("", line), QUOTED.sub("", following)
    same = [sign for sign in SEPARATORS if plain.count(sign) == other.count(sign) > 0]
    return max(same or SEPARATORS, key=plain.count)


def records(text: str) -> Iterator[str]:
    """Lines with their endings; one that ends inside a quoted cell is joined with those up to the end of the cell,
    unless that is far away, or it is a comment."""
    waiting: list[str] = []
    for line in lines(text):
        if not waiting and line.lstrip().startswith("#"):
            yield line
            continue
        waiting.append(line)
        is_open = ('"' in line or len(waiting) > 1) and OPEN.search(CELL.sub("", "".join(waiting))) is not None
        if is_open and len(waiting) <= MOST_JOINED:
            continue
        if is_open:
            yield from waiting
        else:
            yield "".join(waiting)
        waiting = []
    yield from waiting


def with_point(cell: str, separator: str) -> str:
    """Replace a decimal comma by a point. If commas separate columns, `1,234` may be a thousands separator; it is kept,
    and fails to parse as a number."""
    return cell if separator == "," and THOUSANDS.fullmatch(cell) else cell.replace(",", ".")


def csv_bytes(rows: Iterable[Sequence[object]], *, quoted: bool = False) -> bytes:
    """Rows as CSV; `quoted`: all texts in quotation marks, not only where they have to be."""
    found: list[str] = []
    # Only with this line ending are cells that hold a carriage return put in quotation marks.
    writer = csv.writer(
        SimpleNamespace(write=found.append),
        lineterminator="\r\n",
        quoting=csv.QUOTE_NONNUMERIC if quoted else csv.QUOTE_MINIMAL,
    )
    writer.writerows(rows)
    return "".join(line.removesuffix("\r\n") + "\n" for line in found).encode("utf-8", "backslashreplace")
