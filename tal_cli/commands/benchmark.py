"""`tal benchmark`: size, latency and memory of models, compared on one device in one run."""

from __future__ import annotations

import os
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from tal_cli import console
from tal_cli.commands.completion import model_names
from tal_cli.commands.options import Device, Format, Overrides, Precision, Quiet, ResultFormat, Seed
from tal_cli.commands.printing import print_json, print_table

if TYPE_CHECKING:
    from tal_cli.evaluation.cost import Conditions, Cost
    from tal_cli.models.detector import TemporalDetector
    from tal_cli.models.recipe.schema import Recipe

EXAMPLE = "Example: tal benchmark thumos-i3d tridet-thumos-i3d --device cpu --threads 2"
# The paper's table 15: every model on an input of 2304 x 2048.
TABLE_15 = (
    "actionformer-thumos-i3d",
    "temporalmaxer-thumos-i3d",
    "tridet-thumos-i3d",
    "actionmamba-thumos-internvideo2",
    "thumos-i3d",
)
TABLE_15_CHANNELS = 2048
MEMORY = {"cuda": "torch.cuda.max_memory_allocated", "cpu": "PyTorch's allocations, by its profiler"}


def benchmark(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="MODEL...",
            autocompletion=model_names,
            help="Models, model folders, runs, or recipes (with random weights). Default: the paper's table 15.",
        ),
    ] = None,
    length: Annotated[int, typer.Option(min=1, metavar="N", help="Sequence length, in grid cells.")] = 2304,
    repeat: Annotated[
        int, typer.Option(min=1, metavar="N", help="Number of timed runs after warm-up; the median is shown.")
    ] = 5,
    device: Device = "auto",
    precision: Precision = "auto",
    batch_size: Annotated[int, typer.Option(min=1, metavar="N", help="Sequences per forward pass.")] = 1,
    compile: Annotated[bool, typer.Option("--compile", help="Compile the forward pass with torch.compile.")] = False,
    cuda_graphs: Annotated[
        bool, typer.Option("--cuda-graphs", help="Compile and replay as a CUDA graph (mode reduce-overhead).")
    ] = False,
    threads: Annotated[int | None, typer.Option(min=1, metavar="N", help="CPU threads. Default: PyTorch's.")] = None,
    format: Format = "table",
    override: Overrides = None,
    seed: Seed = 0,
    quiet: Quiet = False,
) -> None:
    """Measure size, latency and memory of detectors.

    Prints parameters, operations, latency and peak memory, measured on one device in one run. Each model processes
    random features. Forward pass, candidate selection and NMS are timed separately after warm-up; the median of
    several runs is shown. Reading features and extracting them from video are not included.
    """
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # PyTorch's profiler logs to standard error
    import torch

    from tal_cli.devices import resolve_device, seed_everything
    from tal_cli.evaluation.cost import Conditions, measure
    from tal_cli.models.recipe.loading import parse_overrides

    if threads:
        torch.set_num_threads(threads)
    conditions = Conditions(
        device=resolve_device(device),
        precision=precision,
        length=length,
        batch=batch_size,
        repeat=repeat,
        compiled="reduce-overhead" if cuda_graphs else "default" if compile else None,
        seed=seed,
    )
    changes = parse_overrides(override or ())
    named = [(name, *_recipe(name, changes, table=not models)) for name in models or TABLE_15]
    costs: list[Cost] = []
    with console.progress("measuring", total=len(named) * (repeat + 2), unit="runs") as bar:
        for name, recipe, weights in named:
            bar.describe(name)
            seed_everything(seed)
            detector = _detector(recipe, weights)
            costs.append(measure(name, detector, recipe, conditions, bar.advance))
    _show(costs, conditions, precision, format)


def _recipe(name: str, overrides: dict[str, object], *, table: bool) -> tuple[Recipe, str | None]:
    """The recipe of a name and its model folder; None for a recipe without weights, which are then random."""
    from tal_cli.extractors.errors import ModelMissing, UnknownModel
    from tal_cli.models.recipe.loading import full_name, list_recipes, load_recipe, override, override_trained
    from tal_cli.models.store.zoo import resolve_model

    try:
        folder = None if table else resolve_model(name)
    except (ModelMissing, UnknownModel):
        if full_name(name) not in list_recipes() and not name.endswith((".yaml", ".yml")):
            raise
        folder = None
    recipe = load_recipe(folder / "recipe.yaml" if folder else name)
    if folder:
        return override_trained(recipe, overrides, name), str(folder)
    channels = {"features.channels": TABLE_15_CHANNELS} if table else {}
    return override(recipe, channels | overrides), None


def _detector(recipe: Recipe, folder: str | None) -> TemporalDetector:
    from tal_cli.models.detector import TemporalDetector
    from tal_cli.models.store.checkpoint import load_model

    return load_model(folder).detector if folder else TemporalDetector.from_recipe(recipe)


def _show(costs: list[Cost], conditions: Conditions, precision: str, format: ResultFormat) -> None:
    import torch

    from tal_cli import __version__

    device = conditions.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    if format == "json":
        document = {
            "version": __version__,
            "torch": torch.__version__,
            "device": name,
            "threads": torch.get_num_threads(),
            "precision": "fp32" if precision == "auto" else precision,
            "compile": conditions.compiled,
            "length": conditions.length,
            "batch": conditions.batch,
            "repeat": conditions.repeat,
            "memory": MEMORY.get(device.type),
            "models": [
                {**asdict(cost), "total": cost.total, "hours_per_second": cost.hours_per_second} for cost in costs
            ],
        }
        print_json(document)
        return
    console.note(
        f"{name}, {torch.get_num_threads()} threads, PyTorch {torch.__version__}; "
        f"{conditions.batch} x {conditions.length} cells; "
        f"median of {conditions.repeat}; memory: {MEMORY.get(device.type, 'not measured here')}"
    )
    stages = ("forward", "candidates", "NMS", "sum", "video hours/s")
    header = ("model", "parameters", "GFLOP", *stages, "peak memory", "input", "segments")
    print_table(header, [_row(cost, conditions) for cost in costs])


def _row(cost: Cost, conditions: Conditions) -> tuple[str, ...]:
    return (
        cost.name,
        f"{cost.parameters / 1e6:.1f} M",
        f"{cost.gflop:.1f}",
        *(f"{1e3 * seconds:.1f} ms" for seconds in (cost.forward, cost.candidates, cost.nms, cost.total)),
        f"{cost.hours_per_second:.2f}",
        "-" if cost.memory is None else f"{cost.memory / 1e6:.0f} MB",
        f"{conditions.length} x {cost.channels}",
        f"{cost.kept} of {cost.found}",
    )
