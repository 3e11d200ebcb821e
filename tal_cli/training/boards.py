"""Where figures are shown while training runs, beside `metrics.jsonl`."""

from __future__ import annotations

from pathlib import Path

from tal_cli.errors import Missing


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
