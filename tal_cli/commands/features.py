"""`tal extract-features`: videos in, feature files out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from tal_cli.commands.completion import extractor_names, model_names
from tal_cli.commands.options import (
    BatchSize,
    Decoder,
    Device,
    InputPaths,
    NullSeparated,
    Overwrite,
    Precision,
    Quiet,
    Seed,
    TimeLimit,
    Workers,
    batch_size_of,
    finite,
)
from tal_cli.extractors.errors import UsageError
from tal_cli.extractors.features.formats import WRITTEN
from tal_cli.inputs import gather

EXAMPLE = "Example: tal extract-features videos/ -o features --shard 1/4"
ENGINES = ("local", "ray")


def extract_features(
    inputs: InputPaths = None,
    output: Annotated[
        str,
        typer.Option(
            "--output", "-o", metavar="DIR", help="Folder or URL for one feature file and one VIDEO.json per video."
        ),
    ] = "features",
    extractor: Annotated[
        str | None,
        typer.Option(
            "--extractor",
            "-x",
            metavar="NAME",
            autocompletion=extractor_names,
            help="Extractor from `tal extractors list`.",
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            "-m",
            metavar="NAME|PATH",
            autocompletion=model_names,
            help="Use the extractor of this model. Default: camera.",
        ),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Window length in frames. Default: the extractor's.")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Feature stride in frames. Default: the extractor's.")
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            metavar="X",
            callback=finite,
            help="Resample videos to this frame rate first, by presentation time.",
        ),
    ] = None,
    override: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Override a value of the extractor's contract (repeatable)."),
    ] = None,
    weights: Annotated[
        list[Path] | None,
        typer.Option(
            "--weights", metavar="FILE", help="Weights file of the extractor (repeatable, if it needs several)."
        ),
    ] = None,
    format: Annotated[str, typer.Option("--format", "-f", metavar="|".join(WRITTEN), help="File format.")] = "npy",
    overwrite: Overwrite = False,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Process only the I-th of N shards of the inputs (I from 1).")
    ] = "1/1",
    engine: Annotated[
        str, typer.Option(metavar="|".join(ENGINES), help="Processes on this machine, or a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Address of the Ray cluster. Default: a running one, else a new one."),
    ] = None,
    summary: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON file for the outcome of each video.")
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            min=0.1,
            metavar="SECONDS",
            callback=finite,
            help="Local engine: seconds without progress after which a video fails.",
        ),
    ] = 900.0,
    compiled: Annotated[bool, typer.Option("--compile", help="Compile the network with torch.compile.")] = False,
    decoder: Decoder = "auto",
    time_limit: TimeLimit = None,
    batch_size: BatchSize = "auto",
    workers: Workers = None,
    null: NullSeparated = False,
    device: Device = "auto",
    precision: Precision = "auto",
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Extract features from videos.

    A feature file has one row per window; VIDEO.json beside it is its feature contract. An interrupted run resumes
    when started again: finished files are kept, files with another contract are replaced. Several runs on one folder,
    on one or more machines, share the work. Inputs and DIR may be URLs such as s3://bucket/videos; there are no locks
    on URLs, so give each run a --shard.
    """
    for option, value, known in (("format", format, WRITTEN), ("engine", engine, ENGINES)):
        if value not in known:
            raise UsageError(f"--{option} {value}: no such {option}", f"use one of {', '.join(known)}")
    if extractor is not None and model is not None:
        raise UsageError("--extractor and --model cannot be used together")
    if address is not None and engine != "ray":
        raise UsageError("--address requires --engine ray")
    if engine == "ray" and device != "auto":
        raise UsageError(f"--device {device}: with --engine ray the cluster assigns devices")
    size = batch_size_of(batch_size)
    found = gather(inputs or [], null_separated=null, remote=True).shard(*shard_of(shard))

    from tal_cli.commands import extraction_run
    from tal_cli.extractors.corpus.worker_config import Setup
    from tal_cli.models.recipe.loading import parse_overrides

    framing = {"window": frames, "stride": stride, "sampling_rate": fps}
    asked = {key: value for key, value in framing.items() if value is not None} | parse_overrides(override or ())
    name, settings = extraction_run.choose(extractor, model, asked)
    setup = Setup(
        extractor=name,
        weights=tuple(str(path) for path in weights or ()),
        settings=tuple(settings.items()),
        batch_size=None if size == "auto" else size,
        precision=precision,
        compiled=compiled,
        decoder=decoder,
        time_limit=time_limit,
        seed=seed,
    )
    where = extraction_run.Where(engine=engine, address=address, device=device, workers=workers, patience=timeout)
    run = extraction_run.Corpus(setup, where, output=output, format=format, overwrite=overwrite)
    raise typer.Exit(run.extract(found, summary))


def shard_of(text: str) -> tuple[int, int]:
    """`I/N` as (index from 0, count).

    Raises:
        UsageError: not two whole numbers with 1 <= I <= N.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageError(f"--shard {text}: not a shard", "use I/N with I from 1 to N, as in 1/4")
    return int(match[1]) - 1, int(match[2])
