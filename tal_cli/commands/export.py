"""`tal export`: writes a model or an extractor's network to a file that runs without `tal`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from tal_cli import console
from tal_cli.commands.completion import model_and_extractor_names
from tal_cli.commands.options import Quiet, WeightsFile
from tal_cli.commands.printing import print_path
from tal_cli.extractors.errors import UsageError

EXAMPLE = "Example: tal export camera --format onnx -o camera.onnx"


def export(
    model: Annotated[
        str,
        typer.Argument(
            metavar="MODEL",
            autocompletion=model_and_extractor_names,
            help="A model's name or folder, or an extractor's name.",
        ),
    ],
    format: Annotated[
        Literal["onnx", "torch-export"],
        typer.Option("--format", "-f", metavar="onnx|torch-export", help="File format."),
    ] = "onnx",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Output file. Default: the model's name with the format's suffix."
        ),
    ] = None,
    length: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="N", help="Input length of a detector, in grid cells. Default: the recipe's padded length."
        ),
    ] = None,
    weights: WeightsFile = None,
    quiet: Quiet = False,
) -> None:
    """Write a model for other programs: ONNX or torch.export.

    An exported detector takes features [1, C, N], padded with zeros, and the number of cells that are not padding; it
    returns scores, starts and ends (grid cells) of all proposals. Thresholding and Soft-NMS are left to the caller. An
    exported extractor takes preprocessed windows [B, C, frames, H, W], or frames [B, C, H, W] for an image model. The
    output of the file is compared with that of the model before the file is kept.
    """
    from tal_cli.extractors.backbones import create_backbone
    from tal_cli.extractors.catalog import find
    from tal_cli.extractors.errors import UnknownExtractor, UnknownModel
    from tal_cli.model_files.export_formats import FORMATS, of_backbone, of_detector
    from tal_cli.model_files.export_formats import export as write
    from tal_cli.model_files.pull import unknown_name
    from tal_cli.models.store.checkpoint import load_model
    from tal_cli.models.store.zoo import resolve_model

    try:
        folder = resolve_model(model)
    except UnknownModel:
        try:
            find(model)
        except UnknownExtractor:
            raise unknown_name(model) from None
        if length is not None:
            raise UsageError("--length is for detectors; an extractor's windows have a fixed length") from None
        exportable = of_backbone(model, create_backbone(model, weights))
    else:
        if weights is not None:
            raise UsageError(f"--weights is for extractors; the model {model} has its own weights")
        exportable = of_detector(load_model(folder), length)
    path = output or Path(Path(exportable.name).name + FORMATS[format].suffix)
    with console.progress("exporting", unit="steps"):
        difference = write(exportable, format, path)
    if difference is None:
        console.note("not compared with the model: onnxruntime is not installed (pip install 'tal-cli[export]')")
    else:
        console.note(f"compared with the model: differences of at most {difference:.1g}")
    print_path(path)
