"""Kinds of output: a registry of writers, one module per kind.

A writer turns detections into the bytes of one file (or of standard output), a video at a time. To add a kind, write a
module with such a class and add one line to `FORMATS`.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tal_cli.errors import UsageProblem
from tal_cli.segments import Detections


@dataclass(frozen=True)
class RunInfo:
    """What an output file says about the run that made it.

    Attributes:
        version: tal's version.
        model: the model's name.
        weights_sha256: hex digest of its weights.
        terminal: whether a person looks at it: the only case in which colours are written.
    """

    version: str
    model: str
    weights_sha256: str
    terminal: bool = False


class Writer(Protocol):
    """Makes one output; each method returns the bytes to append to it."""

    def __init__(self, run: RunInfo) -> None: ...

    def start(self) -> bytes: ...

    def add(self, detections: Detections) -> bytes: ...

    def finish(self) -> bytes: ...


@dataclass(frozen=True)
class Format:
    """A kind of output, told from the others by its name or by a file's suffix."""

    name: str
    suffix: str
    writer: str  # "module:class", imported when used

    def create(self, run: RunInfo) -> Writer:
        """A writer for one new output."""
        module, _, name = self.writer.partition(":")
        writer: Writer = getattr(importlib.import_module(module), name)(run)
        return writer


FORMATS = {
    format.name: format
    for format in (
        Format("table", ".txt", "tal_cli.output.table:TableWriter"),
        Format("json", ".json", "tal_cli.output.activitynet:JsonWriter"),
        Format("jsonl", ".jsonl", "tal_cli.output.lines:JsonLinesWriter"),
        Format("csv", ".csv", "tal_cli.output.rows:CsvWriter"),
    )
}


def format_for(path: Path) -> Format:
    """The format that a file's suffix asks for.

    Raises:
        UsageProblem: no format has this suffix.
    """
    for format in FORMATS.values():
        if format.suffix == path.suffix.lower():
            return format
    suffixes = ", ".join(format.suffix for format in FORMATS.values())
    raise UsageProblem(
        f"{path}: no format has the suffix {path.suffix!r}", f"use one of {suffixes}, or name one with --format"
    )
