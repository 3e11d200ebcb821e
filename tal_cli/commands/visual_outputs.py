"""Options for what people look at, `--report`, `--clips`, `--overlay`, and the steps that make it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tal_cli.extractors.errors import UsageError
from tal_cli.extractors.files.atomic import is_device
from tal_cli.results.output_paths import check_folder, check_writable
from tal_cli.results.segments import Detections
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
class VisualOutputs:
    """What is asked for besides the results themselves.

    report: the page, with the videos in it if `embed`, beside ground truth from `annotations`.
    clips, overlay: folders for the videos that are made.
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

    @contextmanager
    def steps(self, run: RunInfo) -> Iterator[list[Callable[[Detections], None]]]:
        """What is done with each video once its results are out; the page is written when all went well."""
        steps: list[Callable[[Detections], None]] = []
        page = None
        if self.report is not None:
            from tal_cli.datasets.formats import load_annotations
            from tal_cli.results.report.builder import Report

            truth = load_annotations(self.annotations) if self.annotations else None
            page = Report(self.report, run, annotations=truth, embed=self.embed)
            steps.append(page.add)
        if self.clips is not None:
            from tal_cli.results.clips import cut_clips

            steps.append(partial(cut_clips, folder=self.clips))
        if self.overlay is not None:
            from tal_cli.results.clips import draw_overlay

            steps.append(partial(draw_overlay, folder=self.overlay, run=run))
        yield steps
        if page is not None:
            page.finish()


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
