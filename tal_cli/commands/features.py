"""`tal extract-features`: videos in, feature files out."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tal_cli import console
from tal_cli.commands.options import (
    BatchSize,
    Decoder,
    DecoderChoice,
    Device,
    InputPaths,
    NullSeparated,
    Precision,
    PrecisionChoice,
    Quiet,
    Seed,
    WeightsFile,
    Workers,
    batch_size_of,
)
from tal_cli.errors import InputProblem, UsageProblem
from tal_cli.inputs import Inputs, Source, gather
from tal_cli.output.files import file_for
from tal_cli.text import counted

if TYPE_CHECKING:
    from models.recipe import FeatureSpec
    from tal_cli.backbones import Framing

EXAMPLE = "Example: tal extract-features videos/ --out features --shard 1/4"
FORMATS = ("npy", "npz", "safetensors", "pt")


def extract_features(
    inputs: InputPaths = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder for one feature file and one VIDEO.json per video.")
    ] = Path("features"),
    extractor: Annotated[
        str | None, typer.Option("--extractor", "-x", metavar="NAME", help="Which backbone: see `tal extractors`.")
    ] = None,
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", metavar="NAME|PATH", help="The backbone that this model needs. Default: camera."),
    ] = None,
    frames: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Window length, frames. Default: the extractor's.")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Step between windows, frames. Default: the extractor's.")
    ] = None,
    fps: Annotated[
        float | None, typer.Option(min=0.001, metavar="X", help="Resample to this many frames per second first.")
    ] = None,
    weights: WeightsFile = None,
    format: Annotated[str, typer.Option("--format", "-f", metavar="|".join(FORMATS), help="File format.")] = "npy",
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Redo finished files too; without it they are kept.")
    ] = False,
    shard: Annotated[
        str, typer.Option(metavar="I/N", help="Only the I-th of N shares of the inputs (from 1).")
    ] = "1/1",
    decoder: Decoder = DecoderChoice.auto,
    batch_size: BatchSize = "auto",
    workers: Workers = None,
    null: NullSeparated = False,
    device: Device = "auto",
    precision: Precision = PrecisionChoice.auto,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Turn videos into feature files.

    Each holds one row per window; VIDEO.json beside it says under which contract it was made. A run that was
    interrupted goes on where it stopped: finished files are kept, those of another contract are redone.
    """
    if format not in FORMATS:
        raise UsageProblem(f"--format {format}: no such format", f"use one of {', '.join(FORMATS)}")
    if extractor is not None and model is not None:
        raise UsageProblem("--extractor and --model exclude each other")
    found = gather(inputs or [], null_separated=null).share(*shard_of(shard))
    size = batch_size_of(batch_size)

    from extractors.corpus import Job, run_job
    from tal_cli.backbones import make_backbone
    from tal_cli.devices import arithmetic, resolve_device, seed_everything

    seed_everything(seed)
    where = resolve_device(device)
    name, framing = choose(extractor, model, frames, stride, fps)
    backbone = make_backbone(name, framing, weights)

    def work(source: Source) -> bool:
        target = file_for(out, source.name, f".{format}")
        with console.progress(source.name, unit="frames") as progress, arithmetic(where, precision.value):
            outcome = run_job(
                Job(source.path, target),
                backbone,
                device=where,
                batch_size=size,
                decoder=decoder.value,
                overwrite=overwrite,
                progress=progress,
            )
        if isinstance(outcome.error, OSError):
            raise InputProblem(target, f"cannot be written: {outcome.error.strerror}") from outcome.error
        if outcome.error is not None:
            raise outcome.error
        if outcome.sequence is not None and outcome.sequence.lost_frames:
            console.warn(f"{source.path}: {counted(outcome.sequence.lost_frames, 'frame')} could not be decoded")
        return outcome.sequence is not None

    raise typer.Exit(run_all(found, work, out, workers))


def choose(
    extractor: str | None, model: str | None, frames: int | None, stride: int | None, fps: float | None
) -> tuple[str, Framing]:
    """The backbone's name and framing: as asked for, or else as the model has it."""
    from tal_cli.backbones import Framing

    if extractor is not None:
        return extractor, Framing(window=frames, stride=stride, sampling_rate=fps)
    spec = feature_spec(model or os.environ.get("TAL_MODEL") or "camera")
    framing = Framing(
        window=frames or spec.window,
        stride=stride or spec.stride,
        sampling_rate=fps or spec.sampling_rate,
        max_rate=spec.max_rate,
    )
    return spec.extractor, framing


def feature_spec(model: str) -> FeatureSpec:
    """What features a model takes; a shipped recipe is enough, so features can be made before there are weights."""
    from models.recipe import list_recipes, load_recipe
    from models.zoo import resolve_model

    recipe = load_recipe(model) if model in list_recipes() else load_recipe(resolve_model(model) / "recipe.yaml")
    return recipe.features


def shard_of(text: str) -> tuple[int, int]:
    """`I/N` as (index from 0, count).

    Raises:
        UsageProblem: not two whole numbers with 1 <= I <= N.
    """
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if match is None or not 1 <= int(match[1]) <= int(match[2]):
        raise UsageProblem(f"--shard {text}: not a share", "use I/N with I from 1 to N, as in 1/4")
    return int(match[1]) - 1, int(match[2])


def run_all(found: Inputs, work: Callable[[Source], bool], out: Path, workers: int | None) -> int:
    """Do the work on every source and say what came of it; the exit code of it all."""
    from tal_cli.work import Run

    made = kept = 0
    run = Run(found, workers)
    for _, is_new in run.each(work):
        made, kept = made + is_new, kept + (not is_new)
    console.note(f"{counted(made, 'feature file')} written to {out}" + (f", {kept} kept" if kept else ""))
    return run.exit_code
