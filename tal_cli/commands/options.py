"""Options that several commands share, each with one spelling and one explanation."""

from __future__ import annotations

import math
from enum import Enum
from pathlib import Path
from typing import Annotated, Literal

import typer

from tal_cli import console
from tal_cli.extractors.errors import UsageError

LARGEST_SEED = 2**64 - 1  # that torch takes
# Earlier names of options, without dashes, and the names they have now: still read, and not shown in help.
OLD_SPELLINGS = {"out": "output", "batch": "batch-size", "best": "top-k", "overlap": "tiou", "video": "videos"}


def current_spelling(name: str) -> str:
    """The name that an option has now; click asks for it with every option that it defines or reads."""
    return OLD_SPELLINGS.get(name, name)


class ResultFormat(str, Enum):
    table = "table"
    json = "json"


def _be_quiet(quiet: bool) -> bool:
    console.set_quiet(quiet)
    return quiet


def finite(value: float | None) -> float | None:
    """Callback of options that are numbers: `nan` and `inf` are within no range and pass as if they were."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number")
    return value


Format = Annotated[ResultFormat, typer.Option("--format", "-f", metavar="table|json", help="How to print the result.")]
Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress, no notes.", callback=_be_quiet, is_eager=True),
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
    typer.Option(metavar="auto|fp32|bf16|fp16", help="Precision of the forward pass; auto: fp32."),
]
Seed = Annotated[int, typer.Option(min=0, max=LARGEST_SEED, metavar="N", help="Seed of all random numbers.")]
SET = typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe value by dotted path (repeatable).")
Overrides = Annotated[list[str] | None, SET]
Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        envvar="TAL_MODEL",
        metavar="NAME|PATH",
        help="A name from `tal models list`, a model folder or a run.",
    ),
]
InputPaths = Annotated[
    list[str] | None,
    typer.Argument(metavar="INPUT...", help="Video files, folders, glob patterns, or - for paths on standard input."),
]
NullSeparated = Annotated[bool, typer.Option("--null", "-0", help="Paths on standard input end in NUL, not newline.")]
Decoder = Annotated[
    Literal["auto", "pyav", "decord", "torchcodec"],
    typer.Option(metavar="auto|pyav|decord|torchcodec", help="Video decoder (decord and torchcodec where installed)."),
]
BatchSize = Annotated[str, typer.Option(metavar="auto|N", help="Windows per forward pass.")]
Workers = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Number of videos processed in parallel. Default: by the cores.")
]
WeightsFile = Annotated[Path | None, typer.Option("--weights", metavar="FILE", help="Weights file of an extractor.")]
FeaturesPath = Annotated[
    Path | None,
    typer.Option(
        "--features", metavar="DIR|FILE", help="Feature files, or one file with all. Default: beside the annotations."
    ),
]
TopK = Annotated[int | None, typer.Option(min=1, metavar="N", help="Keep at most N segments per video, best first.")]
Labels = Annotated[list[str] | None, typer.Option("--label", metavar="L", help="Keep only this label (repeatable).")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]


def extractor_names() -> list[str]:
    """Names that the shell completes, those of installed packages too."""
    from tal_cli.extractors.catalog import BACKBONES

    return list(BACKBONES)


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
