"""Feature sequences brought to one length, as the published settings for ActivityNet do."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F

from tal_cli.models.recipe.schema import Recipe


@dataclass(frozen=True)
class Resampling:
    """A sequence of `cells` windows, `window` frames each and `stride` frames apart, as `length` cells.

    The new cells divide the frames that the windows cover into equal parts; cell g stands for the middle of part g
    (ActionFormer's `force_upsampling`).
    """

    cells: int
    length: int
    window: int
    stride: int

    @classmethod
    def of(cls, recipe: Recipe, cells: int) -> Resampling:
        """The resampling of a sequence of that many windows in a recipe with `model.resample`."""
        spec = recipe.features
        return cls(cells, recipe.model.pad_length, spec.window, spec.stride)

    @property
    def step(self) -> float:
        """Frames per new cell."""
        return ((self.cells - 1) * self.stride + self.window) / self.length

    def features(self, features: Tensor) -> Tensor:
        """Rows [cells, C] -> [length, C], linear between neighbours."""
        if self.cells == self.length:
            return features
        columns = features.t()[None]
        return F.interpolate(columns, size=self.length, mode="linear", align_corners=False)[0].t()

    def to_new(self, grid: ArrayLike) -> NDArray[np.float64]:
        """Positions on the original grid -> on the new one."""
        return (np.asarray(grid, np.float64) * self.stride + 0.5 * self.window) / self.step - 0.5

    def to_original(self, grid: ArrayLike) -> NDArray[np.float64]:
        """Positions on the new grid -> on the original one."""
        return ((np.asarray(grid, np.float64) + 0.5) * self.step - 0.5 * self.window) / self.stride
