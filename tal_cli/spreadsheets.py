"""Tables as spreadsheets save them: comma, semicolon or tab; any line end; a first line `sep=;`; decimal commas."""

from __future__ import annotations

import re
from collections.abc import Iterator

SEPARATORS = ",;\t"
SEPARATOR_LINE = re.compile(r"\s*sep=[,;\t]\s*", re.IGNORECASE)
LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
THOUSANDS = re.compile(r"-?\d{1,3}(,\d{3})+")


def lines(text: str) -> Iterator[str]:
    """Lines with their ends. Unlike `splitlines`, only what ends a line of a file does so. The line that names the
    separator is empty, so that line numbers stay those of the file."""
    found = False
    for match in LINE.finditer(text):
        line = match[0]
        if not found and line.strip():
            found = True
            if SEPARATOR_LINE.fullmatch(line):
                line = "\n"
        yield line


def header(text: str) -> str:
    """The first line that is not empty, without its end."""
    return next((line.rstrip("\r\n") for line in lines(text) if line.strip()), "")


def separator(line: str) -> str:
    """What separates the cells of a line."""
    return max(SEPARATORS, key=line.count)


def with_point(cell: str, separator: str) -> str:
    """A number with a decimal point for its decimal comma. Where commas separate columns, `1,234` may as well be a
    thousand and more; it stays as it is, which is no number."""
    return cell if separator == "," and THOUSANDS.fullmatch(cell) else cell.replace(",", ".")
