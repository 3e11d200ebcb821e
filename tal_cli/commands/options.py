"""Options that several commands share, spelt and explained once."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from tal_cli import console


class PrecisionChoice(str, Enum):
    auto = "auto"
    fp32 = "fp32"
    bf16 = "bf16"
    fp16 = "fp16"


class DecoderChoice(str, Enum):
    auto = "auto"
    pyav = "pyav"
    decord = "decord"
    torchcodec = "torchcodec"


def _be_quiet(quiet: bool) -> bool:
    console.set_quiet(quiet)
    return quiet


Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="No progress, no notes.", callback=_be_quiet, is_eager=True),
]
Device = Annotated[
    str,
    typer.Option(envvar="TAL_DEVICE", metavar="auto|cpu|cuda|cuda:N|mps", help="Where to compute; auto: the best there is."),
]
Precision = Annotated[PrecisionChoice, typer.Option(help="Arithmetic of the forward pass; auto: what the device does well.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of everything random.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe value by dotted path (repeatable)."),
]
Model = Annotated[
    str,
    typer.Option(
        "--model", "-m", envvar="TAL_MODEL", metavar="NAME|PATH", help="A name from `tal models list`, a model folder or a run."
    ),
]
Inputs = Annotated[
    list[str] | None,
    typer.Argument(metavar="INPUT...", help="Video files, folders, glob patterns, or - for paths on standard input."),
]
NullSeparated = Annotated[bool, typer.Option("--null", "-0", help="Paths on standard input end in NUL, not newline.")]
Decoder = Annotated[DecoderChoice, typer.Option(help="Who decodes (decord and torchcodec where installed).")]
OutputPath = Path
