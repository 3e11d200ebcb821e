"""Positions of overlapping windows, in frames and in seconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class WindowGrid:
    """Windows of `window` frames that start `stride` frames apart; grid position g is the centre of window g."""

    window: int
    stride: int

    def count(self, frames: int) -> int:
        """Number of complete windows in that many frames; one (padded) for a video shorter than a window."""
        return max(0, frames - self.window) // self.stride + 1

    def frames(self, windows: int) -> int:
        """Number of frames covered by that many windows."""
        return self.window + (windows - 1) * self.stride

    def positions(self, grid: NDArray[np.float64]) -> NDArray[np.float64]:
        """Grid positions -> frame positions: frame i is shown from i to i + 1."""
        return np.asarray(grid, np.float64) * self.stride + 0.5 * self.window

    def seconds(self, grid: NDArray[np.float64], fps: float) -> NDArray[np.float64]:
        """Grid positions -> seconds at a constant rate, the released code's formula."""
        return self.positions(grid) / fps

    def grid(self, seconds: NDArray[np.float64], fps: float) -> NDArray[np.float64]:
        """The inverse of `seconds`."""
        return (np.asarray(seconds, np.float64) * fps - 0.5 * self.window) / self.stride
