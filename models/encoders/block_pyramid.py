"""Base of encoders made of blocks: a stem at full length, then one halving block per further level."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import Tensor, nn


class BlockPyramid(nn.Module):
    """An encoder of blocks, each called with its input and the mask of its output.

    stem: blocks at full length; branch: one block per further level, which halves the length.
    """

    def __init__(self, stem: Iterable[nn.Module], branch: Iterable[nn.Module]) -> None:
        super().__init__()
        self.stem = nn.ModuleList(stem)
        self.branch = nn.ModuleList(branch)

    def forward(self, x: Tensor, masks: Sequence[Tensor | None]) -> list[Tensor]:
        """x rows [B, T, D], masks per level (bool [B, T_l, 1], None: all valid) -> rows [B, T_l, D] per level."""
        for block in self.stem:
            x = block(x, masks[0])
        levels = [x]
        for block, mask in zip(self.branch, masks[1:], strict=True):
            levels.append(block(levels[-1], mask))
        return levels


class PairedPyramid(BlockPyramid):
    """An encoder of blocks that are each called with the masks of both their input and their output."""

    def forward(self, x: Tensor, masks: Sequence[Tensor | None]) -> list[Tensor]:
        """As `BlockPyramid.forward`."""
        for block in self.stem:
            x = block(x, masks[0], masks[0])
        levels = [x]
        for level, block in enumerate(self.branch):
            levels.append(block(levels[-1], masks[level], masks[level + 1]))
        return levels
