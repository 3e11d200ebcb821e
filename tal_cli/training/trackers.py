"""Experiment trackers for training metrics, besides `metrics.jsonl`; a new one is a class and a line in `TRACKERS`.

A tracker is constructed with the run folder and whether the run is resumed.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol
from uuid import uuid4

from tal_cli.extractors.errors import MissingError
from tal_cli.extractors.files.atomic import write_atomically
from tal_cli.training.state import FOLDER

WANDB_FILE = "wandb.txt"


class Tracker(Protocol):
    """A tracker of training metrics."""

    def add(self, name: str, value: float, step: int) -> None:
        """Record one metric of a step."""

    def close(self) -> None:
        """Flush and close; nothing is recorded afterwards."""


class TensorBoard:
    """TensorBoard scalars in `tensorboard/` of the run folder.

    Raises:
        MissingError: the package is not installed.
    """

    def __init__(self, run: Path, resume: bool) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingError(
                "the package tensorboard is not installed", "pip install 'tal-cli[tensorboard]'"
            ) from error
        self._writer = SummaryWriter(str(run / "tensorboard"))

    def add(self, name: str, value: float, step: int) -> None:
        """Record one metric of a step."""
        self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()


class WeightsAndBiases:
    """Weights & Biases, configured by its environment variables (WANDB_PROJECT, WANDB_MODE=offline, ...).

    The W&B run id is stored in `state/`, so that a resumed run continues the same W&B run.

    Raises:
        MissingError: the package is not installed.
    """

    def __init__(self, run: Path, resume: bool) -> None:
        try:
            import wandb
        except ImportError as error:
            raise MissingError("the package wandb is not installed", "pip install 'tal-cli[wandb]'") from error
        place = run / FOLDER / WANDB_FILE
        known = place.read_text(encoding="utf-8") if resume and place.is_file() else ""
        identity = known or uuid4().hex[:8]
        write_atomically(place, identity.encode())
        self._run = wandb.init(name=run.name, id=identity, dir=str(run), resume="allow")

    def add(self, name: str, value: float, step: int) -> None:
        """Record one metric of a step."""
        self._run.log({name: value}, step=step)

    def close(self) -> None:
        """Flush and close."""
        self._run.finish()


TRACKERS: dict[str, Callable[[Path, bool], Tracker]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


def open_tracker(name: str, run: Path, resume: bool) -> Tracker | None:
    """The tracker of a name; None for `none`."""
    return TRACKERS[name](run, resume) if name != "none" else None
