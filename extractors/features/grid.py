"""Positions of overlapping windows, in frames and in seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal_cli.extractors.features.contract import FeatureContract


@dataclass(frozen=True)
class WindowGrid:
    """Windows of `window` frames that start `stride` frames apart; grid position g is the centre of window g.

    origin: frames from a window's first to its grid position; None: half of them.
    """

    window: int
    stride: int
    origin: float | None = None

    @classmethod
    def of(cls, contract: FeatureContract, context: int = 0) -> WindowGrid:
        """The windows of a contract, with so many frames on either side."""
        origin = None if contract.alignment == "center" else float(context)
        return cls(contract.window + 2 * context, contract.stride, origin)

    @property
    def offset(self) -> float:
        """Frames from a window's first to its grid position."""
        return 0.5 * self.window if self.origin is None else self.origin

    def count(self, frames: int) -> int:
        """Number of complete windows in that many frames; one (padded) for a video shorter than a window."""
        return max(0, frames - self.window) // self.stride + 1

    def frames(self, windows: int) -> int:
        """Number of frames covered by that many windows."""
        return self.window + (windows - 1) * self.stride

    def positions(self, grid: NDArray[np.float64]) -> NDArray[np.float64]:
        """Grid positions -> frame positions: frame i is shown from i to i + 1."""
        return np.asarray(grid, np.float64) * self.stride + self.offset

    def seconds(self, grid: NDArray[np.float64], fps: float) -> NDArray[np.float64]:
        """Grid positions -> seconds at a constant rate, the released code's formula."""
        return self.positions(grid) / fps

    def grid(self, seconds: NDArray[np.float64], fps: float) -> NDArray[np.float64]:
        """The inverse of `seconds`."""
        return (np.asarray(seconds, np.float64) * fps - self.offset) / self.stride
