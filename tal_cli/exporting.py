"""Models as files that run without `tal`. A new format is a function here and a line in `FORMATS`."""

from __future__ import annotations

import io
import json
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from extractors.backbones import Backbone
from extractors.backbones.windowed import WindowedBackbone
from models.checkpoint import LoadedModel
from models.exportable import ExportedDetector
from models.recipe import dump_recipe
from tal_cli.errors import Missing, UsageProblem
from tal_cli.output.files import write_atomically
from tal_cli.text import one_line

OPSET = 20
LARGEST = 1 << 16  # grid cells, or windows in a batch, that an exported graph takes
TOLERANCE = 1e-3  # of a score or a grid cell, beyond which an exported graph is not the model


@dataclass(frozen=True, kw_only=True)
class Exportable:
    """A module with all that an exporter wants to know.

    Attributes:
        name: of the model.
        module: in evaluation mode.
        inputs: name -> example.
        outputs: names.
        open_axis: (input, axis, multiple) of the size that stays open, if one does: a multiple of a number.
        metadata: what a user of the file must know, by key.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: Sequence[str]
    open_axis: tuple[str, int, int] | None
    metadata: Mapping[str, str]


def of_detector(model: LoadedModel, length: int | None) -> Exportable:
    """A detector up to Soft-NMS. `length`: a fixed number of grid cells, None: left open.

    Raises:
        UsageProblem: a length that the pyramid cannot have.
    """
    config, channels = model.recipe.model, model.recipe.features.channels
    multiple = config.length_multiple
    cells = 8 * multiple if length is None else length
    if cells % (1 << (config.levels - 1)):
        raise UsageProblem(f"--length {length}: {config.levels} levels need a multiple of {1 << (config.levels - 1)}")
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(1, channels, cells, generator=generator)
    return Exportable(
        name=model.name,
        module=ExportedDetector(model.detector),
        # A cell of padding, so that tracing meets the arithmetic of masks.
        inputs={"features": features, "length": torch.tensor([cells - 1])},
        outputs=("scores", "starts", "ends"),
        open_axis=("features", 2, multiple) if length is None else None,
        metadata={
            "labels": json.dumps(model.labels),
            "recipe": dump_recipe(model.recipe),
            "weights_sha256": model.sha256,
            "time": "grid cell g is (g * stride + 0.5 * window) / fps seconds; window and stride are in the recipe",
            "padding": f"zeros up to {config.pad_length} cells, or to a multiple of {multiple} where there are more",
        },
    )


def of_backbone(name: str, backbone: Backbone) -> Exportable:
    """The network of a backbone that is one network on windows; its preparation is told in the metadata.

    Raises:
        UsageProblem: the backbone is something else.
    """
    if not isinstance(backbone, WindowedBackbone):
        raise UsageProblem(
            f"{name}: cannot be exported: it is not one network on windows of frames",
            "export the networks that it is made of, where they are extractors of their own",
        )
    width, height = backbone.frame_size(320, 240)
    frames = torch.zeros(1 + backbone.lookahead, height, width, 3, dtype=torch.uint8)
    shape = backbone.prepare(frames).shape
    generator = torch.Generator().manual_seed(0)
    windows = torch.rand(2, shape[1], backbone.contract.window, *shape[2:], generator=generator)
    return Exportable(
        name=name,
        module=backbone.network.eval().requires_grad_(False),
        inputs={"windows": windows},
        outputs=("features",),
        open_axis=("windows", 0, 1),
        metadata={"contract": json.dumps(vars(backbone.contract))},
    )


def export(model: Exportable, format: str, path: Path) -> float | None:
    """Write a file; gives its largest difference from the model, None where no runtime is there to tell.

    Raises:
        UsageProblem: the format cannot hold this model; the message says why.
        Missing: a package is not installed.
        InputProblem: the place cannot be written to.
    """
    data = FORMATS[format].write(model)
    difference = FORMATS[format].compare(model, data)
    if difference is not None and not difference < TOLERANCE:
        raise UsageProblem(f"{model.name}: {format} gives other numbers, by {difference:.2g}; nothing was written")
    write_atomically(path, data)
    return difference


def to_program(model: Exportable) -> torch.export.ExportedProgram:
    """The graph of a model, with its open size open.

    Raises:
        UsageProblem: something in it depends on what a graph cannot know.
    """
    shapes: dict[str, dict[int, object] | None] = dict.fromkeys(model.inputs)
    if model.open_axis is not None:
        name, axis, multiple = model.open_axis
        count = torch.export.Dim("count", min=1, max=LARGEST // multiple)
        shapes[name] = {axis: count * multiple if multiple > 1 else count}
    try:
        with torch.no_grad():
            arguments = tuple(model.inputs.values())
            return torch.export.export(model.module, arguments, dynamic_shapes=tuple(shapes.values()))
    except Exception as error:  # the exporter raises many kinds, whose first line says most
        reason = one_line(str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__)
        raise UsageProblem(
            f"{model.name}: cannot be exported with an open length: {reason}", "fix the length with --length"
        ) from error


def write_onnx(model: Exportable) -> bytes:
    """One file with weights and metadata inside."""
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise Missing("the packages onnx and onnxscript are not installed", "pip install 'tal-cli[export]'") from error
    program = torch.onnx.export(
        to_program(model),
        dynamo=True,
        opset_version=OPSET,
        input_names=list(model.inputs),
        output_names=list(model.outputs),
        verbose=False,
    )
    assert program is not None
    program.model.metadata_props.update(model.metadata)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        program.save(str(path), external_data=False)
        return path.read_bytes()


def write_program(model: Exportable) -> bytes:
    """What `torch.export.load` reads; metadata are its extra files."""
    buffer = io.BytesIO()
    torch.export.save(to_program(model), buffer, extra_files=dict(model.metadata))
    return buffer.getvalue()


def write_torchscript(model: Exportable) -> bytes:
    """What `torch.jit.load` reads, in C++ too; it has the example's sizes for good."""
    if model.open_axis is not None and model.open_axis[2] > 1:
        raise UsageProblem(f"{model.name}: torchscript cannot leave the length open", "fix it with --length")
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(model.module, tuple(model.inputs.values()), check_trace=False)
        buffer = io.BytesIO()
        torch.jit.save(traced, buffer, _extra_files=dict(model.metadata))
    return buffer.getvalue()


def compare_onnx(model: Exportable, data: bytes) -> float | None:
    """By onnxruntime, where it is installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return _largest(model, lambda inputs: session.run(None, {key: value.numpy() for key, value in inputs.items()}))


def compare_program(model: Exportable, data: bytes) -> float | None:
    """By torch itself."""
    run = torch.export.load(io.BytesIO(data)).module()
    return _largest(model, lambda inputs: _arrays(run(*inputs.values())))


def compare_torchscript(model: Exportable, data: bytes) -> float | None:
    """By torch itself."""
    run = torch.jit.load(io.BytesIO(data))
    return _largest(model, lambda inputs: _arrays(run(*inputs.values())))


def _largest(model: Exportable, run: Callable[[Mapping[str, Tensor]], Sequence[np.ndarray]]) -> float:
    """The largest difference over the example and, where a size is open, a longer and a shorter one."""
    worst = 0.0
    for count in (1, 3, 2) if model.open_axis is not None else (None,):
        inputs = dict(model.inputs)
        if count is not None and model.open_axis is not None:
            name, axis, multiple = model.open_axis
            sizes = list(inputs[name].shape)
            sizes[axis] = count * multiple
            inputs[name] = torch.rand(*sizes, generator=torch.Generator().manual_seed(count))
        if "length" in inputs:
            inputs["length"] = torch.tensor([inputs["features"].shape[2] - 1])
        with torch.no_grad():
            expected = _arrays(model.module(*inputs.values()))
        pairs = zip(expected, run(inputs), strict=True)
        worst = max(worst, *(float(np.abs(a - b).max()) if a.shape == b.shape else float("inf") for a, b in pairs))
    return worst


def _arrays(outputs: Tensor | Sequence[Tensor]) -> list[np.ndarray]:
    return [each.detach().numpy() for each in ([outputs] if isinstance(outputs, Tensor) else outputs)]


@dataclass(frozen=True)
class Format:
    """A file format: what it is called, its suffix, how it is written and how it is compared with the model."""

    suffix: str
    write: Callable[[Exportable], bytes]
    compare: Callable[[Exportable, bytes], float | None]


FORMATS = {
    "onnx": Format(".onnx", write_onnx, compare_onnx),
    "torch-export": Format(".pt2", write_program, compare_program),
    "torchscript": Format(".ts", write_torchscript, compare_torchscript),
}
