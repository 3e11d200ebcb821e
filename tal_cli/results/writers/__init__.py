"""Output formats: a registry of writers, one module per format.

A writer is a function `write(detections, file, run)`: it iterates over the videos as they are done, and writes them to
an open file. It keeps none in memory longer than necessary, and neither closes nor seeks the file. A new format is a
module with such a function and a line in `FORMATS`, or an entry point in the group `tal.formats` with a `Format`.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Protocol

from tal_cli.extractors.errors import MissingError, UsageError
from tal_cli.extractors.plugins import Registry, load_object
from tal_cli.results.run_videos import RunVideos
from tal_cli.results.segments import Detections


@dataclass(frozen=True)
class RunInfo:
    """The run that made an output file.

    Attributes:
        version: tal's version.
        model: the model's name.
        weights_sha256: hex digest of its weights.
        labels: labels of the model, if known.
        run_videos: what the model was trained on, where that is known; formats with a place for it write it.
        terminal: whether the output is a terminal; only then are colours written.
        file: the file that is written; None for standard output.
        points: those of the labels that are points; tables then have a column for the kind.
        frames: whether CSV has frame numbers beside seconds.
        min_score: the score from which segments of each label are listed, where that is known.
        display_score: the score from which the model shows segments of each label to people, where that is known.
    """

    version: str
    model: str
    weights_sha256: str
    labels: tuple[str, ...] = ()
    run_videos: RunVideos | None = None
    terminal: bool = False
    file: Path | None = None
    points: tuple[str, ...] = ()
    frames: bool = False
    min_score: Mapping[str, float] = field(default_factory=dict)
    display_score: Mapping[str, float] = field(default_factory=dict)

    @property
    def threshold(self) -> str:
        """From which score segments are listed, to be read; empty where that is not known."""
        scores = sorted(self.min_score.values())
        if not scores:
            return ""
        least, most = scores[0], scores[-1]
        return f"score ≥ {least:g}" if least == most else f"score ≥ {least:g} to {most:g}, by label"


class Writer(Protocol):
    """Writes detections to an open file, which need not be seekable."""

    def __call__(self, detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None: ...


@dataclass(frozen=True)
class Format:
    """An output format, chosen by its name or by a file's suffix.

    Attributes:
        name: name for `--format`.
        suffix: file suffix, with the dot.
        function: "module:function" of its writer, imported when used.
        single: whether a file of this format can contain only one video.
        live: whether standard output shows each video as soon as it is done; else the output is written at the end,
            since a part of it would be useless.
        needs: required package, installed by the extra of the format's name; None if nothing is needed.
    """

    name: str
    suffix: str
    function: str
    single: bool = False
    live: bool = False
    needs: str | None = None

    def check_installed(self) -> None:
        """Raise MissingError if the required package is not installed."""
        if self.needs is not None and importlib.util.find_spec(self.needs) is None:
            raise MissingError(
                f"the format {self.name} needs the package {self.needs}", f"pip install 'tal-cli[{self.name}]'"
            )

    def writer(self) -> Writer:
        """The writer function. Raises PluginError if a plug-in's writer cannot be imported."""
        function: Writer = load_object(self.function)
        return function


BUILT_IN = (
    Format("table", ".txt", "tal_cli.results.writers.table:write", live=True),
    Format("json", ".json", "tal_cli.results.writers.json:write"),
    Format("jsonl", ".jsonl", "tal_cli.results.writers.jsonl:write", live=True),
    Format("csv", ".csv", "tal_cli.results.writers.csv:write", live=True),
    Format("parquet", ".parquet", "tal_cli.results.writers.parquet:write", needs="pyarrow"),
    Format("srt", ".srt", "tal_cli.results.writers.subtitles:write_srt", single=True),
    Format("vtt", ".vtt", "tal_cli.results.writers.subtitles:write_vtt", single=True),
    Format("elan", ".eaf", "tal_cli.results.writers.elan:write", single=True),
    Format("edl", ".edl", "tal_cli.results.writers.edl:write", single=True),
    Format("otio", ".otio", "tal_cli.results.writers.otio:write", needs="opentimelineio"),
    Format("boris", ".boris", "tal_cli.results.writers.boris:write"),
    Format("frames", ".frames.csv", "tal_cli.results.writers.frames:write"),
    Format("labelstudio", ".labelstudio.json", "tal_cli.results.writers.labelstudio:write"),
)
FORMATS = Registry("tal.formats", Format, {format.name: format for format in BUILT_IN})


def format_for(path: Path) -> Format:
    """The format of a file's suffix.

    Raises:
        UsageError: no format or several formats have this suffix.
    """
    formats = list(FORMATS.usable().values())
    fitting = [format for format in formats if path.name.lower().endswith(format.suffix)]
    # The longest suffix wins: `.labelstudio.json` also ends in `.json`.
    longest = max((len(format.suffix) for format in fitting), default=0)
    chosen = [format for format in fitting if len(format.suffix) == longest]
    if len(chosen) == 1:
        return chosen[0]
    if chosen:
        names = " and ".join(format.name for format in chosen)
        raise UsageError(f"{path}: the formats {names} have the same suffix", "choose one with --format")
    suffixes = ", ".join(format.suffix for format in formats)
    raise UsageError(
        f"{path}: no format has the suffix {path.suffix!r}", f"use one of {suffixes}, or name one with --format"
    )
