"""Starting point of a run: initial weights of a model, or the saved state of an interrupted run."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tal_cli import console
from tal_cli.datasets.training_data import FeatureVideo
from tal_cli.extractors.errors import InputError, UsageError
from tal_cli.extractors.files.atomic import naming, write_atomically
from tal_cli.extractors.files.bounds import load_tensors
from tal_cli.models.detector import TemporalDetector
from tal_cli.models.recipe.loading import dump_recipe
from tal_cli.models.recipe.schema import Recipe
from tal_cli.models.store.checkpoint import load_model
from tal_cli.models.store.zoo import resolve_model
from tal_cli.results.run_videos import read_run_videos

FOLDER = "state"
FILE = "latest.pt"
METRICS = "metrics.jsonl"


@dataclass(frozen=True)
class TrainingState:
    """Everything that changes during training. Batches, crops and noise are determined by the seed and the step.

    Attributes:
        step: number of completed steps.
        fingerprint: hash of recipe, labels and data; a run can only be resumed with the same ones.
        detector, average: weights and their moving average.
        optimizer: `Optimizer.state_dict()`.
        loss_norm: the loss normaliser's running mean.
        result: fields of `TrainingResult`.
        backbone: `Tuner.state()`; None where the backbone is not trained.
    """

    step: int
    fingerprint: str
    detector: dict[str, Any]
    average: dict[str, Any]
    optimizer: dict[str, Any]
    loss_norm: float
    result: dict[str, Any]
    backbone: dict[str, Any] | None = None


def save_state(state: TrainingState, run: Path) -> None:
    """Write the state of a run atomically."""
    buffer = io.BytesIO()
    torch.save(vars(state), buffer)
    write_atomically(run / FOLDER / FILE, buffer.getvalue())


def load_state(run: Path) -> TrainingState | None:
    """The saved state of a run; None if there is none.

    Raises:
        InputError: the file is damaged or not a training state.
    """
    path = run / FOLDER / FILE
    if not path.is_file():
        return None
    try:
        content = load_tensors(path)
        return TrainingState(**content)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise InputError(path, "not the state of a training run") from error


def fingerprint(recipe: Recipe, labels: Sequence[str], videos: Sequence[FeatureVideo], precision: str) -> str:
    """Hash of everything that determines the result: recipe (but its name, which is the folder's), labels, precision,
    videos, lengths, instances, and what was reviewed."""
    digest = hashlib.sha256(dump_recipe(recipe.model_copy(update={"name": ""})).encode())
    digest.update(json.dumps([list(labels), precision]).encode())
    for video in videos:
        digest.update(f"{video.annotation.name}\0{video.length}\0".encode())
        digest.update(video.segments.tobytes() + video.labels.tobytes())
        for ranges in video.reviewed or ():
            digest.update(ranges.tobytes())
    return digest.hexdigest()


class MetricsLog:
    """`metrics.jsonl`: one line per step and per evaluation. Resuming from a step drops the lines after it."""

    def __init__(self, run: Path, step: int) -> None:
        path = run / METRICS
        kept = b""
        if step and path.is_file():
            kept = b"".join(line for line in path.read_bytes().splitlines(keepends=True) if _done_by(line, step))
        write_atomically(path, kept)
        self._file = path.open("a", encoding="utf-8")

    def write(self, **values: Any) -> None:
        """Append one line."""
        with naming(self._file.name):
            self._file.write(json.dumps(values, ensure_ascii=False) + "\n")
            self._file.flush()

    def close(self) -> None:
        self._file.close()


def read_evaluation(run: Path, epoch: int) -> dict[str, Any] | None:
    """The evaluation of an epoch that a run's `metrics.jsonl` has; None if it has none."""
    path = run / METRICS
    lines = (json.loads(line) for line in path.read_bytes().splitlines()) if path.is_file() else ()
    found: Iterator[dict[str, Any]] = (
        line["evaluation"] for line in lines if line["epoch"] == epoch and "evaluation" in line
    )
    return next(found, None)


def _done_by(line: bytes, step: int) -> bool:
    try:
        return line.endswith(b"\n") and int(json.loads(line)["step"]) <= step
    except (ValueError, KeyError, TypeError):
        return False


def initial_weights(name: str | None) -> dict[str, Tensor] | None:
    """Weights of a model in the zoo or in a folder, by parameter name."""
    return None if name is None else load_model(resolve_model(name)).detector.state_dict()


def videos_before(name: str | None, resumed: Path | None) -> tuple[str, ...]:
    """Names of the videos that initial weights were trained on, and those that the record of a resumed run names."""
    folders = [*([] if name is None else [resolve_model(name)]), *([] if resumed is None else [resumed])]
    known = [each.trained_on for each in map(read_run_videos, folders) if each is not None]
    return tuple(dict.fromkeys(video for names in known for video in names))


def load_matching(detector: TemporalDetector, weights: dict[str, Tensor]) -> None:
    """Copy the tensors that match by name and shape, and print how many do not.

    Raises:
        UsageError: no tensor matches.
    """
    own = detector.state_dict()
    fitting = {name: value for name, value in weights.items() if name in own and own[name].shape == value.shape}
    if not fitting:
        raise UsageError("--init: no tensor of these weights matches the model")
    detector.load_state_dict(fitting, strict=False)
    if len(fitting) < len(own):
        console.note(
            f"--init: {len(own) - len(fitting)} of {len(own)} tensors do not match and are initialised from scratch"
        )
