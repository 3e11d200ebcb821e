"""Exports models to files that run without `tal`. A new format is a function here and a line in `FORMATS`."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tal_cli.extractors.backbones.interface import Backbone
from tal_cli.extractors.backbones.windowed import WindowedBackbone
from tal_cli.extractors.errors import MissingError, UsageError
from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.loading import dump_recipe
from tal_cli.models.store.checkpoint import LoadedModel
from tal_cli.models.store.export import DECOMPOSITIONS, ExportedDetector
from tal_cli.safe_text import one_line

OPSET = 20
LARGEST_BATCH = 1 << 16
TOLERANCE = 1e-3  # of a score, a grid cell or a value (of large ones a share), beyond which a graph is not the model
LARGEST_ONNX = 2_000_000_000  # bytes of weights that fit into the one message that an ONNX file is


@dataclass(frozen=True, kw_only=True)
class Exportable:
    """A module with the information for an exporter.

    Attributes:
        name: of the model.
        module: in evaluation mode.
        inputs: name -> example.
        outputs: names.
        any_batch: whether the first axis of the inputs may have any size, and not the example's alone.
        metadata: what a user of the file must know, by key.
    """

    name: str
    module: nn.Module
    inputs: Mapping[str, Tensor]
    outputs: Sequence[str]
    any_batch: bool
    metadata: Mapping[str, str]


def of_detector(model: LoadedModel, length: int | None = None) -> Exportable:
    """A detector up to Soft-NMS, for sequences of `length` grid cells with their padding; None: the recipe's length.

    Raises:
        UsageError: a length that the recipe does not have.
    """
    config, channels = model.recipe.model, model.recipe.features.channels
    cells = config.pad_length if length is None else length
    if config.resample and cells != config.pad_length:
        raise UsageError(f"--length {length}: {model.name} brings every sequence to {config.pad_length} cells")
    if cells % (top := 1 << (config.levels - 1)):
        raise UsageError(f"--length {length}: {config.levels} levels need a multiple of {top}")
    features = torch.randn(1, channels, cells, generator=torch.Generator().manual_seed(0))
    return Exportable(
        name=model.name,
        module=ExportedDetector(model.detector),
        # A cell of padding, so that tracing meets the arithmetic of masks.
        inputs={"features": features, "length": torch.tensor([cells - 1])},
        outputs=("scores", "starts", "ends"),
        any_batch=False,
        metadata={
            "labels": json.dumps(model.labels),
            "recipe": dump_recipe(model.recipe),
            "weights_sha256": model.sha256,
            **_length_metadata(config, cells),
        },
    )


def _length_metadata(config: ModelConfig, cells: int) -> dict[str, str]:
    """Metadata: preprocessing of input sequences, and conversion of grid cells to seconds."""
    if config.resample:
        return {
            "padding": f"none: sequences of N windows are interpolated linearly to {cells} cells, as parts of equal "
            "length whose values stand in their middles",
            "time": "grid cell g is (g + 0.5) * ((N - 1) * stride + window) / "
            f"({cells} * fps) seconds; window and stride are in the recipe",
        }
    return {
        "padding": f"zeros up to {cells} cells",
        "time": "grid cell g is (g * stride + 0.5 * window) / fps seconds; window and stride are in the recipe",
        "pad_length": str(cells),
    }


def of_backbone(name: str, backbone: Backbone) -> Exportable:
    """The network of a backbone, on windows or, for image models, on images; the metadata has its preprocessing.

    Raises:
        UsageError: the backbone has no network.
    """
    from tal_cli.extractors.backbones.timm_frames import FrameBackbone

    if not isinstance(backbone, WindowedBackbone | FrameBackbone):
        raise UsageError(f"{name}: cannot be exported: it is not a network: its features are measurements")
    width, height = backbone.frame_size(320, 240)
    frames = torch.zeros(1 + backbone.lookahead, height, width, 3, dtype=torch.uint8)
    if isinstance(backbone, FrameBackbone):
        kind, shape = "frames", backbone.preparation(frames).shape[1:]
    else:
        channels, *sides = backbone.prepare(frames).shape[1:]
        kind, shape = "windows", torch.Size((channels, backbone.contract.window, *sides))
    return Exportable(
        name=name,
        module=backbone.network.eval().requires_grad_(False),
        inputs={kind: torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))},
        outputs=("features",),
        any_batch=True,
        metadata={"contract": json.dumps(vars(backbone.contract))},
    )


def export(model: Exportable, format: str, path: Path) -> float | None:
    """Write a file; returns its largest difference from the model, None if the runtime is not installed.

    Raises:
        UsageError: the format cannot hold this model; the message says why.
        MissingError: a package is not installed.
        InputError: the place cannot be written to.
    """
    data = FORMATS[format].write(model)
    difference = FORMATS[format].compare(model, data)
    if difference is not None and not difference < TOLERANCE:
        raise UsageError(f"{model.name}: {format} gives other numbers, by {difference:.2g}; nothing was written")
    write_atomically(path, data)
    return difference


def to_program(model: Exportable) -> torch.export.ExportedProgram:
    """The graph of a model, in operators of PyTorch alone.

    Raises:
        UsageError: something in it depends on what a graph cannot know.
    """
    shape = {0: torch.export.Dim("batch", min=1, max=LARGEST_BATCH)} if model.any_batch else None
    try:
        with torch.no_grad():
            arguments = tuple(model.inputs.values())
            program = torch.export.export(model.module, arguments, dynamic_shapes=(shape,) * len(arguments))
            if any(node.target in DECOMPOSITIONS for node in program.graph.nodes):
                program = program.run_decompositions(DECOMPOSITIONS)
            return program
    except Exception as error:  # the exporter raises many kinds; what it found stands first, or in a list
        said = str(error).strip() or type(error).__name__
        _, _, listed = said.partition("\n  - ")
        reason = one_line((listed or said).splitlines()[0])
        raise UsageError(f"{model.name}: cannot be exported: {reason}") from error


def write_onnx(model: Exportable) -> bytes:
    """An ONNX file with weights and metadata."""
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingError(
            "the packages onnx and onnxscript are not installed", "pip install 'tal-cli[export]'"
        ) from error
    size = sum(each.nbytes for each in (*model.module.parameters(), *model.module.buffers()))
    if size > LARGEST_ONNX:
        raise UsageError(
            f"{model.name}: cannot be exported: an ONNX file holds 2 GB, its weights take {size / 1e9:.1f}",
            "--format torch-export",
        )
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
    content: bytes = program.model_proto.SerializeToString()
    return content


def write_program(model: Exportable) -> bytes:
    """A file for `torch.export.load`, with the metadata as extra files."""
    buffer = io.BytesIO()
    torch.export.save(to_program(model), buffer, extra_files=dict(model.metadata))
    return buffer.getvalue()


def compare_onnx(model: Exportable, data: bytes) -> float | None:
    """Compare with onnxruntime, if it is installed."""
    try:
        import onnxruntime
    except ImportError:
        return None
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    return _largest(model, lambda inputs: session.run(None, {key: value.numpy() for key, value in inputs.items()}))


def compare_program(model: Exportable, data: bytes) -> float | None:
    """Compare with torch."""
    run = torch.export.load(io.BytesIO(data)).module()
    return _largest(model, lambda inputs: _arrays(run(*inputs.values())))


def _largest(model: Exportable, run: Callable[[Mapping[str, Tensor]], Sequence[np.ndarray]]) -> float:
    """The largest difference, on batches of one to three entries where any size will do."""
    worst = 0.0
    for count in (1, 2, 3) if model.any_batch else (1,):
        inputs = {name: torch.cat([value] * count)[:count] for name, value in model.inputs.items()}
        with torch.no_grad():
            expected = _arrays(model.module(*inputs.values()))
        pairs = zip(expected, run(inputs), strict=True)
        worst = max(worst, *(_distance(a, b) for a, b in pairs))
    return worst


def _distance(expected: np.ndarray, found: np.ndarray) -> float:
    """The largest difference, relative for values above 1; infinite for different shapes and for NaN."""
    if expected.shape != found.shape or not np.isfinite(found).all():
        return float("inf")
    return float((np.abs(expected - found) / np.maximum(1, np.abs(expected))).max(initial=0))


def _arrays(outputs: Tensor | Sequence[Tensor]) -> list[np.ndarray]:
    return [each.detach().numpy() for each in ([outputs] if isinstance(outputs, Tensor) else outputs)]


@dataclass(frozen=True)
class Format:
    """A file format: its suffix, its writer and its comparison with the model."""

    suffix: str
    write: Callable[[Exportable], bytes]
    compare: Callable[[Exportable, bytes], float | None]


FORMATS = {
    "onnx": Format(".onnx", write_onnx, compare_onnx),
    "torch-export": Format(".pt2", write_program, compare_program),
}
