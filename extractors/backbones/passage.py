"""A network's forward pass in steps, so that others can act between its blocks: adapters, checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

Step = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Passage:
    """One forward pass over K chunks of frames, whose state is tokens [K, N, width] with time first, or maps [K, width,
    time, H, W].

    blocks: a step each. finish: the last one's output -> tokens [K, time, places, width]. times: time steps of a chunk.
    """

    blocks: Sequence[Step]
    finish: Step
    times: int

    def run(self, state: Tensor) -> Tensor:
        """The pass of what the first block reads: tokens [K, time, places, width]."""
        for block in self.blocks:
            state = block(state)
        return self.finish(state)


class Stepwise(Protocol):
    """A network over chunks [K, 3, chunk, H, W] that can be computed step by step.

    widths: channels of each block. block_modules: the blocks. any_length: whether it sees nearby frames alone, so that
    a window of any length is one chunk. embed: what the first block reads. passage: of chunks of (frames, H, W).
    """

    any_length: bool

    @property
    def widths(self) -> Sequence[int]: ...

    @property
    def block_modules(self) -> Sequence[nn.Module]: ...

    def embed(self, images: Tensor, /) -> Tensor: ...

    def passage(self, size: Sequence[int], /) -> Passage: ...
