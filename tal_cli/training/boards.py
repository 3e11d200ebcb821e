"""Where figures go while training runs, beside `metrics.jsonl`; a new place is a class and a line in `BOARDS`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from tal_cli.errors import Missing


class Board(Protocol):
    """A place where figures are shown."""

    def add(self, name: str, value: float, step: int) -> None:
        """Record one figure of a step."""


class TensorBoard:
    """Scalars for TensorBoard, in `tensorboard/` of the run folder.

    Raises:
        Missing: the package is not installed.
    """

    def __init__(self, run: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise Missing("the package tensorboard is not installed", "pip install 'tal-cli[tensorboard]'") from error
        self._writer = SummaryWriter(str(run / "tensorboard"))

    def add(self, name: str, value: float, step: int) -> None:
        """Record one figure of a step."""
        self._writer.add_scalar(name, value, step)


class WeightsAndBiases:
    """Figures for Weights & Biases, as its own environment variables say (WANDB_PROJECT, WANDB_MODE=offline, ...).

    Raises:
        Missing: the package is not installed.
    """

    def __init__(self, run: Path) -> None:
        try:
            import wandb
        except ImportError as error:
            raise Missing("the package wandb is not installed", "pip install 'tal-cli[wandb]'") from error
        self._run = wandb.init(name=run.name, dir=str(run), resume="allow")

    def add(self, name: str, value: float, step: int) -> None:
        """Record one figure of a step."""
        self._run.log({name: value}, step=step)


BOARDS: dict[str, Callable[[Path], Board]] = {"tensorboard": TensorBoard, "wandb": WeightsAndBiases}


def open_board(name: str, run: Path) -> Board | None:
    """The place of that name, `none` for none."""
    return BOARDS[name](run) if name != "none" else None
