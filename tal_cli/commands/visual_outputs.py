"""Visual outputs: the options `--report`, `--clips` and `--overlay`, and the steps that write them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from tal_cli.commands.options import finite
from tal_cli.extractors.errors import UsageError
from tal_cli.extractors.files.atomic import is_device
from tal_cli.results.output_paths import check_folder, check_writable
from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo

PAGE_SUFFIXES = (".html", ".htm")

ReportFile = Annotated[
    Path | None,
    typer.Option("--report", metavar="FILE.html", help="Self-contained report page: player, timeline, filter, table."),
]
Embed = Annotated[bool, typer.Option("--embed", help="Embed the videos in the page.")]
AnnotationsFile = Annotated[
    Path | None,
    typer.Option("--annotations", metavar="FILE", help="Ground truth to show on the page beside the predictions."),
]
ClipsFolder = Annotated[Path | None, typer.Option("--clips", metavar="DIR", help="Folder for one clip per segment.")]
Pad = Annotated[
    float,
    typer.Option(
        "--pad",
        min=0,
        metavar="SECONDS",
        callback=finite,
        help="Length added to each clip before and after its segment.",
    ),
]
OverlayFolder = Annotated[
    Path | None,
    typer.Option(
        "--overlay", metavar="DIR", help="Folder for copies of the videos with labels and a timeline drawn on them."
    ),
]


@dataclass(frozen=True)
class VisualOutputs:
    """Outputs besides the results themselves.

    report: the page, with embedded videos if `embed`, and ground truth from `annotations`.
    clips, overlay: folders for clips and for videos with drawn labels.
    pad: seconds added to clips before and after their segments.
    """

    report: Path | None = None
    embed: bool = False
    annotations: Path | None = None
    clips: Path | None = None
    overlay: Path | None = None
    pad: float = 0.0

    def check(self) -> None:
        """Check before the work begins that all outputs can be written.

        Raises:
            UsageError: an option without the one it requires, or a path that cannot be written to.
        """
        if self.report is None and (self.embed or self.annotations):
            name = "--embed" if self.embed else "--annotations"
            raise UsageError(f"{name} requires a report page", "add --report FILE.html")
        if self.pad and self.clips is None:
            raise UsageError("--pad requires a folder of clips", "add --clips DIR")
        if self.report is not None:
            check_page(self.report)
        for folder in (self.clips, self.overlay):
            if folder is not None:
                check_folder(folder)

    def per_video_files(self, name: str) -> list[Path]:
        """The folder of a video's clips, and its overlay, as far as they are asked for."""
        from tal_cli.results.clips import clips_folder, overlay_file

        return [
            *([] if self.clips is None else [clips_folder(self.clips, name)]),
            *([] if self.overlay is None else [overlay_file(self.overlay, name)]),
        ]

    @contextmanager
    def steps(self, run: RunInfo) -> Iterator[list[Callable[[Detections], None]]]:
        """Steps to run on each video after its results are written; the page is written when no exception is raised."""
        steps: list[Callable[[Detections], None]] = []
        page = None
        if self.report is not None:
            from tal_cli.datasets.formats import load_annotations
            from tal_cli.results.report.builder import Report

            ground_truth = load_annotations(self.annotations) if self.annotations else None
            page = Report(self.report, run, annotations=ground_truth, embed=self.embed)
            steps.append(page.add)
        if self.clips is not None:
            from tal_cli.results.clips import cut_clips

            steps.append(partial(cut_clips, folder=self.clips, pad=self.pad))
        if self.overlay is not None:
            from tal_cli.results.clips import draw_overlay

            steps.append(partial(draw_overlay, folder=self.overlay, run=run))
        yield steps
        if page is not None:
            page.finish()


def check_page(path: Path) -> Path:
    """The path of a page that can be written.

    Raises:
        UsageError: its suffix is not .html, or the path cannot be written to.
    """
    if path.suffix.lower() not in PAGE_SUFFIXES and not is_device(path):
        raise UsageError(f"{path}: not the name of a page", "use the suffix .html")
    if path.is_dir():
        raise UsageError(f"{path}: this is a folder", "give a file name: all videos are on one page")
    check_writable(path)
    return path
