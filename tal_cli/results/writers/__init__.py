"""Kinds of output: a registry of writers, one module per kind.

A writer turns detections into the bytes of one file (or of standard output), a video at a time. To add a kind, write a
module with such a class and add one line to `FORMATS`.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tal_cli.extractors.errors import MissingError, UsageError
from tal_cli.results.segments import Detections


@dataclass(frozen=True)
class RunInfo:
    """What an output file says about the run that made it.

    Attributes:
        version: tal's version.
        model: the model's name.
        weights_sha256: hex digest of its weights.
        labels: what the model can find, where that is known.
        terminal: whether a person looks at it: the only case in which colours are written.
        file: the file that is written; None for standard output.
    """

    version: str
    model: str
    weights_sha256: str
    labels: tuple[str, ...] = ()
    terminal: bool = False
    file: Path | None = None


class Writer(Protocol):
    """Makes one output; each method returns the bytes to append to it."""

    def __init__(self, run: RunInfo) -> None: ...

    def start(self) -> bytes: ...

    def add(self, detections: Detections) -> bytes: ...

    def finish(self) -> bytes: ...


@dataclass(frozen=True)
class Format:
    """A kind of output, told from the others by its name or by a file's suffix.

    writer: "module:class", imported when used. single: whether a file of this kind can only speak of one video.
    needs: the package that the extra of the format's name installs; None where nothing is needed.
    """

    name: str
    suffix: str
    writer: str
    single: bool = False
    needs: str | None = None

    def check_installed(self) -> None:
        """Raises Missing where the package is not installed that this format needs."""
        if self.needs is not None and importlib.util.find_spec(self.needs) is None:
            raise MissingError(
                f"the format {self.name} needs the package {self.needs}", f"pip install 'tal-cli[{self.name}]'"
            )

    def create(self, run: RunInfo) -> Writer:
        """A writer for one new output."""
        module, _, name = self.writer.partition(":")
        writer: Writer = getattr(importlib.import_module(module), name)(run)
        return writer


FORMATS = {
    format.name: format
    for format in (
        Format("table", ".txt", "tal_cli.results.writers.table:TableWriter"),
        Format("json", ".json", "tal_cli.results.writers.json:JsonWriter"),
        Format("jsonl", ".jsonl", "tal_cli.results.writers.jsonl:JsonLinesWriter"),
        Format("csv", ".csv", "tal_cli.results.writers.csv:CsvWriter"),
        Format("parquet", ".parquet", "tal_cli.results.writers.parquet:ParquetWriter", needs="pyarrow"),
        Format("srt", ".srt", "tal_cli.results.writers.subtitles:SrtWriter", single=True),
        Format("vtt", ".vtt", "tal_cli.results.writers.subtitles:VttWriter", single=True),
        Format("elan", ".eaf", "tal_cli.results.writers.elan:ElanWriter", single=True),
        Format("edl", ".edl", "tal_cli.results.writers.edl:EdlWriter", single=True),
        Format("otio", ".otio", "tal_cli.results.writers.otio:OtioWriter", needs="opentimelineio"),
        Format("labelstudio", ".labelstudio.json", "tal_cli.results.writers.labelstudio:LabelStudioWriter"),
    )
}


def format_for(path: Path) -> Format:
    """The format that a file's suffix asks for.

    Raises:
        UsageError: no format has this suffix.
    """
    # The longest first, since `.labelstudio.json` is also `.json`.
    for format in sorted(FORMATS.values(), key=lambda format: -len(format.suffix)):
        if path.name.lower().endswith(format.suffix):
            return format
    suffixes = ", ".join(format.suffix for format in FORMATS.values())
    raise UsageError(
        f"{path}: no format has the suffix {path.suffix!r}", f"use one of {suffixes}, or name one with --format"
    )
