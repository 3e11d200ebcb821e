"""Options shared by several commands."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

import typer

from tal_cli import console
from tal_cli.commands.completion import label_names, model_names
from tal_cli.extractors.errors import UsageError

ResultFormat = Literal["table", "json"]
LARGEST_SEED = 2**64 - 1  # largest that torch accepts
# Former option names and their current names, without dashes: still accepted, hidden from help.
OLD_SPELLINGS = {"out": "output", "batch": "batch-size", "best": "top-k", "overlap": "tiou", "video": "videos"}


def current_spelling(name: str) -> str:
    """The current name of an option; click calls this for every option that it defines or parses."""
    return OLD_SPELLINGS.get(name, name)


def _be_quiet(quiet: bool) -> bool:
    console.set_quiet(quiet)
    return quiet


def finite(value: float | None) -> float | None:
    """Callback of numeric options: click's range checks let `nan` and `inf` through."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


Format = Annotated[ResultFormat, typer.Option("--format", "-f", metavar="table|json", help="Output format.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Hide progress bars and notes.", callback=_be_quiet, is_eager=True),
]
Device = Annotated[
    str,
    typer.Option(
        envvar="TAL_DEVICE",
        metavar="auto|cpu|cuda|cuda:N|mps",
        help="Compute device; auto picks CUDA, then MPS, then CPU.",
    ),
]
Precision = Annotated[
    Literal["auto", "fp32", "bf16", "fp16"],
    typer.Option(metavar="auto|fp32|bf16|fp16", help="Precision of the forward pass; auto is fp32."),
]
Seed = Annotated[int, typer.Option(min=0, max=LARGEST_SEED, metavar="N", help="Random seed.")]
SET = typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe value by dotted path (repeatable).")
Overrides = Annotated[list[str] | None, SET]
Models = Annotated[
    list[str] | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|PATH",
        autocompletion=model_names,
        help="Name from `tal models list`, model folder or run folder (repeatable).  [env var: TAL_MODEL; default: "
        "camera]",
    ),
]
InputPaths = Annotated[
    list[str] | None,
    typer.Argument(metavar="INPUT...", help="Video files, folders, glob patterns, or - for paths on standard input."),
]
NullSeparated = Annotated[
    bool, typer.Option("--null", "-0", help="Paths on standard input are separated by NUL, not newline.")
]
Decoder = Annotated[
    Literal["auto", "pyav", "decord", "torchcodec"],
    typer.Option(metavar="auto|pyav|decord|torchcodec", help="Video decoder (decord and torchcodec where installed)."),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(
        "--time-limit",
        min=0.1,
        metavar="SECONDS",
        callback=finite,
        help="Seconds that decoding one video may take in total. Default: 600, and 10 per second of the video.",
    ),
]
BatchSize = Annotated[str, typer.Option(metavar="auto|N", help="Windows per forward pass.")]
Workers = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Number of videos processed in parallel. Default: by the number of cores."),
]
WeightsFile = Annotated[Path | None, typer.Option("--weights", metavar="FILE", help="Weights file of an extractor.")]
FeaturesPath = Annotated[
    Path | None,
    typer.Option(
        "--features",
        metavar="DIR|FILE",
        help="Folder of feature files, or one file with all. Default: beside the annotations.",
    ),
]
SubjectNames = Annotated[
    list[str] | None,
    typer.Option("--subject", metavar="NAME", help="Subject that counts; '' is no subject (repeatable)."),
]
LabelNames = Annotated[
    list[str] | None, typer.Option("--label", metavar="LABEL", help="Label that counts (repeatable).")
]
MinScore = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=1,
        metavar="X",
        callback=finite,
        help="Score from which segments count. Default: where a model is known its display scores, per label, else 0; "
        "detect with 0 before tal eval.",
    ),
]
TopK = Annotated[int | None, typer.Option(min=1, metavar="N", help="Keep at most N segments per video, best first.")]
Labels = Annotated[
    list[str] | None,
    typer.Option(
        "--label",
        metavar="L",
        autocompletion=label_names,
        help="Keep only this label (repeatable).",
    ),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]


def batch_size_of(text: str) -> int | Literal["auto"]:
    """The value of `--batch-size auto|N`.

    Raises:
        UsageError: neither `auto` nor a positive whole number.
    """
    if text == "auto":
        return "auto"
    if not text.isdecimal() or int(text) < 1:
        raise UsageError(f"--batch-size {text}: neither auto nor a positive whole number")
    return int(text)
