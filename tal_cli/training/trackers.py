"""Where figures go while training runs, beside `metrics.jsonl`; a new place is a class and a line in `BOARDS`.

A board is made from the run's folder and whether the run is resumed.
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


class Board(Protocol):
    """A place where figures are shown."""

    def add(self, name: str, value: float, step: int) -> None:
        """Record one figure of a step."""

    def close(self) -> None:
        """Write what is left; nothing is recorded afterwards."""


class TensorBoard:
    """Scalars for TensorBoard, in `tensorboard/` of the run folder.

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
        """Record one figure of a step."""
        self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()


class WeightsAndBiases:
    """Figures for Weights & Biases, as its own environment variables say (WANDB_PROJECT, WANDB_MODE=offline, ...).

    The run's name there is kept in `state/`, so that a resumed run is the same one.

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
        """Record one figure of a step."""
        self._run.log({name: value}, step=step)

    def close(self) -> None:
        """Write what is left."""
        self._run.finish()


BOARDS: dict[str, Callable[[Path, bool], Board]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


def open_board(name: str, run: Path, resume: bool) -> Board | None:
    """The place of that name, `none` for none."""
    return BOARDS[name](run, resume) if name != "none" else None
