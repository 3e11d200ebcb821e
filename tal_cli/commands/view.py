"""`tal view`: the page of results that are already there."""

from __future__ import annotations

import os
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tal_cli import __version__, console
from tal_cli.commands.options import Quiet
from tal_cli.commands.pictures import AnnotationsFile, Embed, check_page
from tal_cli.errors import InputProblem
from tal_cli.inputs import VIDEO_SUFFIXES
from tal_cli.output import RunInfo
from tal_cli.text import printable

if TYPE_CHECKING:
    from tal_cli.segments import Detections

EXAMPLE = "Example: tal view results.json --video clips/ --annotations truth.json --open"


def view(
    results: Annotated[
        Path, typer.Argument(metavar="RESULTS", help="What `tal detect` wrote: json, jsonl or csv, gzipped or not.")
    ],
    video: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Where the videos are, if not where the results say; or one video."),
    ] = None,
    annotations: AnnotationsFile = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE.html", help="The page.  [default: RESULTS with the suffix .html]"),
    ] = None,
    min_score: Annotated[
        float | None, typer.Option(min=0, max=1, metavar="X", help="Leave out segments of a lower score.")
    ] = None,
    top_k: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Keep at most this many segments per video, best first.")
    ] = None,
    label: Annotated[list[str] | None, typer.Option(metavar="L", help="Keep only this label (repeatable).")] = None,
    embed: Embed = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    quiet: Quiet = False,
) -> None:
    """Show results in a browser: player, timeline per label, score filter, table.

    Writes one self-contained page and prints its path.
    """
    page = check_page(output or default_page(results))
    from tal_cli.datasets.annotations import load_annotations
    from tal_cli.output.report import Report
    from tal_cli.results import load_results

    found = load_results(results)
    truth = load_annotations(annotations) if annotations else None
    run = RunInfo(found.version or __version__, found.model or "results", "", found.labels)
    report = Report(page, run, annotations=truth, embed=embed)
    places = find_videos(video) if video else {}
    with console.progress("videos", total=len(found.videos), unit="videos") as progress:
        for detections in found.videos:
            kept = detections.keep(min_score=min_score, top_k=top_k, labels=label)
            report.add(completed(replace(kept, path=place_of(kept, results, places))))
            progress.advance()
    report.finish()
    print(printable(str(page)))
    if show:
        webbrowser.open(page.resolve().as_uri())


def default_page(results: Path) -> Path:
    """`found.html` beside `found.json`, `found.jsonl.gz`, ..."""
    name = results.name.removesuffix(".gz")
    return results.with_name(Path(name).stem + ".html")


def find_videos(folder: Path) -> dict[str, Path]:
    """Videos in a folder by stem, name and path within it, or one file as the video of any name.

    Raises:
        InputProblem: there is no such folder or file.
    """
    if folder.is_file():
        return {"": folder}
    if not folder.is_dir():
        raise InputProblem(folder, "no such file or folder")
    places: dict[str, Path] = {}
    for parent, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(parent, name)
            if path.suffix.lower() in VIDEO_SUFFIXES:
                for key in (path.relative_to(folder).as_posix(), name, path.stem):
                    places.setdefault(key, path)
    return places


def place_of(detections: Detections, results: Path, places: dict[str, Path]) -> str:
    """Where a video is: in the folder given, else where the results say, also seen from where they lie."""
    said = detections.path
    for key in (detections.video, Path(said).name, Path(detections.video).name, Path(said).stem, ""):
        if key in places:
            return str(places[key])
    beside = results.parent / said
    return str(beside) if said and not os.path.exists(said) and beside.is_file() else said or detections.video


def completed(detections: Detections) -> Detections:
    """With duration and rate from the file where the results do not tell, or else long enough for what was found."""
    if detections.duration > 0 and detections.fps > 0:
        return detections
    from extractors.video import VideoError, probe

    last = max((segment.end for segment in detections.segments), default=0.0)
    try:
        info = probe(detections.path)
    except VideoError:
        return replace(detections, duration=detections.duration or last or 1.0)
    duration = detections.duration or max(info.duration or 0.0, last)
    return replace(detections, duration=duration or 1.0, fps=info.fps, frames=detections.frames or info.frames or 0)
