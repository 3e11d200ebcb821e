"""`tal detect`: videos in, labelled segments out."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperCommand

from tal_cli import __version__, console
from tal_cli.commands.options import (
    BatchSize,
    Decoder,
    Device,
    InputPaths,
    Labels,
    MinScore,
    Models,
    NullSeparated,
    Overrides,
    Precision,
    Quiet,
    Seed,
    TimeLimit,
    TopK,
    Workers,
    batch_size_of,
    finite,
)
from tal_cli.commands.visual_outputs import (
    AnnotationsFile,
    ClipsFolder,
    Embed,
    OverlayFolder,
    Pad,
    ReportFile,
    VisualOutputs,
)
from tal_cli.error_report import exit_code_of
from tal_cli.extractors.errors import EXIT_MISSING, UsageError
from tal_cli.extractors.files.atomic import is_device
from tal_cli.inputs import VIDEO_SUFFIXES, Inputs, Source, gather
from tal_cli.results.output_paths import check_folder, check_origin, check_writable, file_for, is_folder
from tal_cli.results.outputs import STANDARD_OUTPUT, Output, write_results
from tal_cli.results.writers import FORMATS, Format, RunInfo, format_for

if TYPE_CHECKING:
    from tal_cli.results.segments import Detections

EXAMPLE = "Example: tal detect clips/ --label cut --format csv > cuts.csv"


def _format_names() -> list[str]:
    return list(FORMATS)


class DetectCommand(TyperCommand):
    """Lists the formats of installed plug-in packages in its help; they are looked up only when help is shown."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        for option in self.params:
            if option.name == "format":
                option.metavar = "|".join(FORMATS)
        super().format_help(ctx, formatter)


def detect(
    inputs: InputPaths = None,
    model: Models = None,
    output: Annotated[
        list[str] | None,
        typer.Option(
            "--output",
            "-o",
            metavar="PATH",
            help="Output file, - for standard output, or a folder for one file per video (repeatable).  [default: -]",
        ),
    ] = None,
    format: Annotated[
        str | None,
        typer.Option(
            "--format",
            "-f",
            metavar="|".join(FORMATS.built_in),
            autocompletion=_format_names,
            help="Output format. Default: by the file's suffix; else table on a terminal, json elsewhere.",
        ),
    ] = None,
    min_score: MinScore = None,
    top_k: TopK = None,
    label: Labels = None,
    decoder: Decoder = "auto",
    time_limit: TimeLimit = None,
    batch_size: BatchSize = "auto",
    workers: Workers = None,
    report: ReportFile = None,
    embed: Embed = False,
    annotations: AnnotationsFile = None,
    clips: ClipsFolder = None,
    pad: Pad = 0.0,
    overlay: OverlayFolder = None,
    override: Overrides = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            metavar="X",
            callback=finite,
            help="Frame rate of the videos of feature files that have no VIDEO.json.",
        ),
    ] = None,
    frames: Annotated[bool, typer.Option("--frames", help="Frame numbers beside seconds in CSV.")] = False,
    null: NullSeparated = False,
    force: Annotated[
        bool, typer.Option("--force", help="Use features that differ from those the model was trained on.")
    ] = False,
    device: Device = "auto",
    precision: Precision = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Find labelled segments in videos.

    Reads videos, folders of videos, glob patterns, paths on standard input (-), and feature files of
    `tal extract-features`. Existing output files are overwritten. Labels of EPIC-KITCHENS can also be given by class
    number.
    """
    paths = dict.fromkeys(output or [STANDARD_OUTPUT])
    outputs = [Output(path, choose_format(path, format)) for path in paths]
    found = gather(inputs or [], null_separated=null)
    for each in outputs:
        check_output(each, len(found.sources))
    visuals = VisualOutputs(report, embed, annotations, clips, overlay, pad)
    visuals.check()

    from tal_cli.api import VideoDetector
    from tal_cli.devices import seed_everything
    from tal_cli.models.recipe.loading import parse_overrides
    from tal_cli.several_models import SeveralModels

    seed_everything(seed)
    names = model or [os.environ.get("TAL_MODEL") or "camera"]  # one path, which may have blanks
    with console.progress(f"loading {', '.join(names)}"):
        detectors = [
            VideoDetector.load(
                name,
                device=device,
                precision=precision,
                batch_size=batch_size_of(batch_size),
                overrides=parse_overrides(override or ()),
                force=force,
            )
            for name in names
        ]
    detector = detectors[0] if len(detectors) == 1 else SeveralModels(detectors)
    label = detector.names_of(label or ())

    def work(source: Source) -> Detections:
        for path in (*per_video_files(outputs, source.name), *visuals.per_video_files(source.name)):
            check_origin(path, str(source.path))
        with console.progress(source.name, unit="frames", waiting=f"opening {source.name}") as progress:
            return detector.detect(
                source.path,
                name=source.name,
                min_score=min_score,
                top_k=top_k,
                labels=label,
                decoder=decoder,
                time_limit=time_limit,
                fps=fps,
                progress=progress,
            )

    run = RunInfo(
        __version__,
        detector.name,
        detector.weights_sha256,
        detector.labels,
        detector.run_videos,
        points=detector.points,
        frames=frames,
        display_score=detector.display_scores,
        min_score=detector.display_scores if min_score is None else dict.fromkeys(detector.labels, min_score),
    )
    with visuals.steps(run) as steps:
        code = run_all(found, work, outputs, run, steps, workers)
    raise typer.Exit(code)


def choose_format(output: str, name: str | None) -> Format:
    """The format given by name or by the output's suffix; by default table on a terminal, json elsewhere.

    Raises:
        UsageError: an unknown format or suffix, or an output that is a video's name.
    """
    if Path(output).suffix.lower() in VIDEO_SUFFIXES and not is_folder(output):
        # The shell expands `-o *.mp4` to video files: writing results would destroy a recording.
        raise UsageError(
            f"--output {output}: results cannot be written to a video file", "give the inputs first and the output last"
        )
    if name is not None:
        if name not in FORMATS:
            raise UsageError(f"--format {name}: no such format", f"use one of {', '.join(FORMATS)}")
        return FORMATS[name]
    if output == STANDARD_OUTPUT:
        return FORMATS["table" if sys.stdout.isatty() else "json"]
    if is_folder(output) or is_device(Path(output)):
        return FORMATS["json"]
    return format_for(Path(output))


def check_output(output: Output, videos: int) -> None:
    """Check before the work begins that an output can hold the result.

    Raises:
        UsageError: several videos for a file that can hold only one, or a path that cannot be written to.
        MissingError: the format's package is not installed.
    """
    output.format.check_installed()
    if output.format.single and videos > 1 and not output.is_folder:
        name = output.format.name
        raise UsageError(
            f"--output {output.path}: a file of the format {name} holds one video, and there are {videos}",
            "name a folder for one file per video: --output DIR/",
        )
    if not output.is_standard:
        (check_folder if output.is_folder else check_writable)(Path(output.path))


def per_video_files(outputs: Sequence[Output], name: str) -> list[Path]:
    """Where the results of one video are written in the folders among the outputs."""
    return [file_for(Path(each.path), name, each.format.suffix) for each in outputs if each.is_folder]


def run_all(
    found: Inputs,
    work: Callable[[Source], Detections],
    outputs: Sequence[Output],
    about: RunInfo,
    steps: Sequence[Callable[[Detections], None]],
    workers: int | None,
) -> int:
    """Process every source, write the results and return the exit code of the run.

    The steps run after a video's results are written; a step that fails does so for that video only.
    """
    from tal_cli.batch import Run

    run = Run(found, workers)

    def results() -> Iterator[Detections]:
        for source, detections in run.each(work):
            yield detections
            for step in steps:
                try:
                    step(detections)
                except Exception as error:
                    if exit_code_of(error) == EXIT_MISSING:
                        raise
                    run.report(error, source.path)

    write_results(results(), outputs, about)
    return run.exit_code
