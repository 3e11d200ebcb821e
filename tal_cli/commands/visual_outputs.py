"""Options for what people look at, `--report`, `--clips`, `--overlay`, and the sinks behind them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from tal_cli.extractors.errors import UsageError
from tal_cli.results.output_files import Sink, check_folder, check_writable, is_device
from tal_cli.results.writers import RunInfo

PAGE_SUFFIXES = (".html", ".htm")

ReportFile = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE.html", help="One self-contained page: player, timeline, filter, table."),
]
Embed = Annotated[bool, typer.Option("--embed", help="Put the videos themselves into the page.")]
AnnotationsFile = Annotated[
    Path | None,
    typer.Option("--annotations", metavar="FILE", help="Ground truth to show on the page beside what was found."),
]
ClipsFolder = Annotated[
    Path | None, typer.Option("--clips", metavar="DIR", help="Cut one file per segment out of the videos.")
]
OverlayFolder = Annotated[
    Path | None, typer.Option("--overlay", metavar="DIR", help="The videos with labels and a timeline drawn on them.")
]


@dataclass(frozen=True)
class Pictures:
    """What is asked for besides the results themselves.

    report: the page, with the videos in it if `embed`, beside ground truth from `annotations`.
    clips, overlay: folders for films.
    """

    report: Path | None = None
    embed: bool = False
    annotations: Path | None = None
    clips: Path | None = None
    overlay: Path | None = None

    def check(self) -> None:
        """Find out before hours of work what could not be written.

        Raises:
            UsageError: an option without the one it belongs to, or a place that cannot be written to.
        """
        if self.report is None and (self.embed or self.annotations):
            name = "--embed" if self.embed else "--annotations"
            raise UsageError(f"{name}: there is no page to put it on", "add --report FILE.html")
        if self.report is not None:
            check_page(self.report)
        for folder in (self.clips, self.overlay):
            if folder is not None:
                check_folder(folder)

    def sinks(self, run: RunInfo) -> list[Sink]:
        """What makes them, one video at a time."""
        sinks: list[Sink] = []
        if self.report is not None:
            from tal_cli.datasets.formats import load_annotations
            from tal_cli.results.report.sink import Report

            truth = load_annotations(self.annotations) if self.annotations else None
            sinks.append(Report(self.report, run, annotations=truth, embed=self.embed))
        if self.clips is not None:
            from tal_cli.results.clips import Clips

            sinks.append(Clips(self.clips))
        if self.overlay is not None:
            from tal_cli.results.clips import Overlays

            sinks.append(Overlays(self.overlay, run))
        return sinks


def check_page(path: Path) -> Path:
    """The path of a page that can be written.

    Raises:
        UsageError: its name is not that of a page, or the place cannot be written to.
    """
    if path.suffix.lower() not in PAGE_SUFFIXES and not is_device(path):
        raise UsageError(f"{path}: not the name of a page", "its name ends in .html")
    if path.is_dir():
        raise UsageError(f"{path}: this is a folder", "name a file: all videos go into one page")
    check_writable(path)
    return path
