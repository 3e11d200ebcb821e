"""`tal view`: report page of existing results."""

from __future__ import annotations

import glob
import os
import webbrowser
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tal_cli import __version__, console
from tal_cli.commands.options import Labels, MinScore, Quiet, TopK
from tal_cli.commands.printing import print_path
from tal_cli.commands.visual_outputs import AnnotationsFile, Embed, check_page
from tal_cli.extractors.errors import InputError
from tal_cli.inputs import Inputs, find_videos
from tal_cli.results.writers import RunInfo

if TYPE_CHECKING:
    from tal_cli.batch import Run
    from tal_cli.results.parsed import Results
    from tal_cli.results.segments import Detections

RESULT_SUFFIXES = (".json", ".jsonl", ".csv", ".parquet", ".otio")
EXAMPLE = "Example: tal view results.json --videos clips/ --annotations truth.json --open"


def view(
    results: Annotated[
        list[str],
        typer.Argument(
            metavar="RESULTS...",
            help="Result files (json, jsonl, csv, parquet, otio, labelstudio, elan), folders or patterns.",
        ),
    ],
    videos: Annotated[
        Path | None,
        typer.Option(metavar="DIR|FILE", help="Folder of the videos, if they have moved, or one video."),
    ] = None,
    annotations: AnnotationsFile = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            metavar="FILE.html",
            help="Page to write.  [default: RESULTS with the suffix .html; for several files report.html beside them]",
        ),
    ] = None,
    min_score: MinScore = None,
    top_k: TopK = None,
    label: Labels = None,
    embed: Embed = False,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    quiet: Quiet = False,
) -> None:
    """Show results in a browser.

    Writes one self-contained page with player, timeline per label, score filter and table, and prints its path.
    """
    from tal_cli.batch import Run

    files, problems = gather_results(results)
    failures = Run(Inputs((), tuple(problems)))
    page = check_page(output or default_page(files, Path(results[0]))) if files else None
    found = list(load_all(files, failures))
    if page is None or not found:
        raise typer.Exit(failures.exit_code)
    from tal_cli.datasets.formats import load_annotations
    from tal_cli.evaluation.held_out import warn_of_training
    from tal_cli.evaluation.names import unmatched
    from tal_cli.results.report.builder import Report

    ground_truth = load_annotations(annotations) if annotations else None
    if ground_truth is not None:
        told = unmatched((video.video for _, _, videos in found for video in videos), ground_truth.videos)
        if told:
            console.warn(f"{annotations}: {told}")
        for path, made, parts in found:
            warn_of_training(path, made.run_videos, {video.video for video in parts} & ground_truth.videos.keys())
    report = Report(page, run_of([made for _, made, _ in found]), annotations=ground_truth, embed=embed)
    shown = list(placed(found, videos_by_name(videos) if videos else {}))
    with console.progress("videos", total=len(shown), unit="videos") as progress:
        for detections in shown:
            report.add(completed(detections.keep(min_score=min_score, top_k=top_k, labels=label)))
            progress.advance()
    report.finish()
    if not all(os.path.exists(detections.path) for detections in shown):
        console.hint("give the folder of the videos with --videos DIR")
    print_path(page)
    if open_page:
        webbrowser.open(page.resolve().as_uri())
    raise typer.Exit(failures.exit_code)


def load_all(files: Iterable[Path], failures: Run) -> Iterator[tuple[Path, Results, tuple[Detections, ...]]]:
    """Each file with its results and their videos; a file that is not a results file is reported and skipped."""
    from tal_cli.results.readers import read_results

    for path in files:
        try:
            made = read_results(path)
            yield path, made, made.detections()
        except InputError as problem:
            failures.report(problem, path)


def gather_results(arguments: Iterable[str]) -> tuple[list[Path], list[InputError]]:
    """The files given by arguments: files of any suffix, folders (searched for results) and glob patterns."""
    files: dict[Path, None] = {}
    problems = []
    for argument in arguments:
        matches = [argument] if os.path.lexists(argument) else sorted(glob.glob(argument, recursive=True))
        if not matches:
            reason = "no file matches this pattern" if glob.has_magic(argument) else "no such file or folder"
            problems.append(InputError(argument, reason))
        for path in map(Path, matches):
            inside = list(results_in(path)) if path.is_dir() else [path]
            if not inside:
                names = ", ".join(RESULT_SUFFIXES)
                problems.append(InputError(path, "no results in this folder", f"results have the suffixes {names}"))
            files |= dict.fromkeys(inside)
    return list(files), problems


def results_in(folder: Path) -> Iterator[Path]:
    """Files in a folder, at any depth, that have a suffix of results."""
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if not name.startswith(".") and name.lower().removesuffix(".gz").endswith(RESULT_SUFFIXES):
                yield Path(parent, name)


def run_of(results: Iterable[Results]) -> RunInfo:
    """The runs that made the results, for the head of the page."""
    models = dict.fromkeys(made.model for made in results if made.model)
    versions = dict.fromkeys(made.version for made in results if made.version)
    labels = dict.fromkeys(label for made in results for label in made.labels)
    return RunInfo(next(iter(versions), __version__), ", ".join(models) or "results", "", tuple(labels))


def placed(
    results: Iterable[tuple[Path, Results, tuple[Detections, ...]]], places: dict[str, Path]
) -> Iterator[Detections]:
    """Every video with its path; if several files contain the same video, the file's name is added to the video's."""
    names: set[str] = set()
    for path, _, videos in results:
        for detections in videos:
            wanted = (detections.video, f"{detections.video} ({path.name})", f"{detections.video} ({path})")
            name = next((name for name in wanted if name not in names), wanted[-1])
            names.add(name)
            yield replace(detections, video=name, path=place_of(detections, path, places))


def default_page(results: list[Path], first: Path) -> Path:
    """`found.html` beside `found.json`, `found.jsonl.gz`, ...; for several files `report.html` in the first folder."""
    if len(results) > 1:
        return (first if first.is_dir() else results[0].parent) / "report.html"
    return results[0].with_name(Path(results[0].name.removesuffix(".gz")).stem + ".html")


def videos_by_name(folder: Path) -> dict[str, Path]:
    """Videos in a folder by stem, name and path within it, or one file as the video of any name.

    Raises:
        InputError: no such folder or file.
    """
    if folder.is_file():
        return {"": folder}
    if not folder.is_dir():
        raise InputError(folder, "no such file or folder")
    places: dict[str, Path] = {}
    for path in find_videos(folder):
        for key in (path.relative_to(folder).as_posix(), path.name, path.stem):
            places.setdefault(key, path)
    return places


def place_of(detections: Detections, results: Path, places: dict[str, Path]) -> str:
    """Path of a video: in the given folder, else as recorded in the results, also relative to the results file."""
    said = detections.path
    name = detections.video
    for key in (name, Path(said).name, Path(name).name, Path(said).stem, f"v_{name}", ""):
        if key in places:
            return str(places[key])
    beside = results.parent / said
    return str(beside) if said and not os.path.exists(said) and beside.is_file() else said or detections.video


def completed(detections: Detections) -> Detections:
    """Detections with missing duration and frame rate read from the video, and a duration that covers all segments."""
    last = max((segment.end for segment in detections.segments), default=0.0)
    if detections.duration > 0 and detections.fps > 0:
        return replace(detections, duration=max(detections.duration, last))
    from tal_cli.extractors.errors import VideoError
    from tal_cli.extractors.video.stream import probe

    try:
        info = probe(detections.path)
    except VideoError:
        return replace(detections, duration=max(detections.duration, last) or 1.0)
    duration = max(detections.duration or info.duration or 0.0, last)
    return replace(detections, duration=duration or 1.0, fps=info.fps, frames=detections.frames or info.frames or 0)
