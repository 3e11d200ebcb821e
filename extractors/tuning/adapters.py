"""AdaTAD's temporal-informative adapters (Liu et al. 2024, arXiv 2311.17241), for any network that computes in steps.

A window of frames goes through the network in chunks, within which attention stays; adapters see the whole window. An
adapter begins as the identity, so a network with fresh adapters gives the frozen network's rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from tal_cli.extractors.backbones.passage import Step, Stepwise

PIECE = 8  # chunks that a block computes at once
BRANCHES = ("attn", "attention", "mlp")  # the parts of a block that are added to their input


class Adapter(nn.Module):
    """What is added to the tokens of a window, [T, places, width] -> the same; it convolves over T at each place."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(1))
        self.down_proj = nn.Linear(width, hidden)
        self.dwconv = nn.Conv1d(hidden, hidden, 3, padding=1, groups=hidden)
        self.conv = nn.Conv1d(hidden, hidden, 1)
        self.up_proj = nn.Linear(hidden, width)
        self.reset()

    def reset(self) -> None:
        """The published start, at which it adds nothing."""
        nn.init.trunc_normal_(self.down_proj.weight, std=0.02)
        nn.init.normal_(self.dwconv.weight, std=math.sqrt(2 / 3))
        nn.init.normal_(self.conv.weight, std=math.sqrt(2 / self.conv.in_channels))
        nn.init.zeros_(self.up_proj.weight)
        for layer in (self.down_proj, self.dwconv, self.conv, self.up_proj):
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def forward(self, tokens: Tensor) -> Tensor:
        narrow = F.gelu(self.down_proj(tokens))
        mixed = self.conv(self.dwconv(narrow.permute(1, 2, 0))).permute(2, 0, 1)
        return self.gamma * self.up_proj(narrow + mixed)


def over_window(adapter: nn.Module, state: Tensor, times: int) -> Tensor:
    """What an adapter adds to a block's output over K chunks of one window (see `Passage`), in the output's shape."""
    if state.dim() == 5:  # maps of one long chunk
        tokens = state[0].permute(1, 2, 3, 0)
        added = adapter(tokens.flatten(1, 2)).view(tokens.shape)
        return added.permute(3, 0, 1, 2)[None]
    tokens = state.unflatten(1, (times, -1)).flatten(0, 1)
    return adapter(tokens).unflatten(0, (-1, times)).flatten(1, 2)


@dataclass(frozen=True)
class Kept:
    """What the frozen part of a network made of the chunks of a window, and the rest reads; without gradients.

    states: see `Passage`. size: frames, height and width of a chunk.
    """

    states: tuple[Tensor, ...]
    size: tuple[int, int, int]


def in_pieces(step: Step, state: Tensor, checkpointed: bool) -> Tensor:
    """A block over all chunks, some at a time; checkpointed: activations are computed again for the gradient."""
    pieces = state.split(PIECE)
    if not (checkpointed and torch.is_grad_enabled()):
        return torch.cat([step(piece) for piece in pieces]) if len(pieces) > 1 else step(state)
    return torch.cat([checkpoint(step, piece, use_reentrant=False) for piece in pieces])


class TunedNetwork(nn.Module):
    """A network over chunks of one window in time, [K, 3, chunk, H, W] -> tokens [K, time, places, width].

    Everything but `tuned` is frozen, and stays in evaluation mode when the rest is trained. depth: blocks before
    anything is trained; they need no gradients, and what they give can be kept. drop_path: share of chunks without
    a branch of the last block in training, falling to none at the first block.
    """

    depth: int

    def __init__(self, network: nn.Module, *, checkpointed: bool = True, drop_path: float = 0.0) -> None:
        super().__init__()
        self.network = network.requires_grad_(False).eval()
        self.checkpointed = checkpointed
        blocks = self.steps.block_modules if drop_path else ()
        for index, block in enumerate(blocks):
            for name, part in block.named_children():
                if name in BRANCHES:
                    part.register_forward_hook(partial(self._dropped, drop_path * index / max(1, len(blocks) - 1)))

    def _dropped(self, share: float, _: nn.Module, __: object, branch: Tensor) -> Tensor:
        if not (self.training and share):
            return branch
        kept = branch.new_empty(len(branch), *[1] * (branch.dim() - 1)).bernoulli_(1 - share)
        return branch * kept / (1 - share)

    @property
    def steps(self) -> Stepwise:
        """The network as what computes in steps."""
        return self.network  # type: ignore[return-value]

    def forward(self, images: Tensor) -> Tensor:
        return self.finish(self.begin(images))

    def begin(self, images: Tensor) -> Kept:
        """The frozen part of the pass."""
        with torch.no_grad():
            state = self.steps.embed(images)
            for block in self.steps.passage(images.shape[2:]).blocks[: self.depth]:
                state = in_pieces(block, state, checkpointed=False)
        frames, height, width = images.shape[2:]
        return Kept((state,), (frames, height, width))

    def finish(self, kept: Kept) -> Tensor:
        """The rest of it: tokens [K, time, places, width]."""
        raise NotImplementedError

    def tuned(self) -> dict[str, nn.Parameter]:
        """The parameters that are trained, by name."""
        return {name: value for name, value in self.named_parameters() if value.requires_grad}

    def train(self, mode: bool = True) -> TunedNetwork:
        super().train(mode)
        self.network.eval()
        return self


class AdapterNetwork(TunedNetwork):
    """Adapters after some of the blocks, whose output they change for the blocks behind."""

    def __init__(
        self,
        network: nn.Module,
        blocks: Sequence[int],
        *,
        reduction: int = 4,
        checkpointed: bool = True,
        drop_path: float = 0.0,
    ) -> None:
        super().__init__(network, checkpointed=checkpointed, drop_path=drop_path)
        self.adapters = make_adapters(self.steps, blocks, reduction)
        self.depth = min(blocks) + 1

    def finish(self, kept: Kept) -> Tensor:
        passage = self.steps.passage(kept.size)
        (state,) = kept.states
        for index, block in enumerate(passage.blocks):
            if index >= self.depth:
                state = in_pieces(block, state, self.checkpointed)
            if str(index) in self.adapters:
                state = self._adapted(self.adapters[str(index)], state, passage.times)
        return passage.finish(state)

    def _adapted(self, adapter: nn.Module, state: Tensor, times: int) -> Tensor:
        if not (self.checkpointed and torch.is_grad_enabled()):
            return state + over_window(adapter, state, times)
        added: Tensor = checkpoint(over_window, adapter, state, times, use_reentrant=False)
        return state + added


class SideNetwork(TunedNetwork):
    """Adapters beside the network, which read the outputs of some blocks and are added to the last one's.

    No gradient goes through the network, nor are its activations kept. The last of the blocks is the network's last.
    """

    def __init__(
        self, network: nn.Module, blocks: Sequence[int], *, reduction: int = 4, checkpointed: bool = True
    ) -> None:
        super().__init__(network, checkpointed=checkpointed)
        if not blocks or max(blocks) != len(self.steps.widths) - 1:
            raise ValueError("a side network reads the last block")
        if len({self.steps.widths[index] for index in blocks}) > 1:
            raise ValueError("a side network reads blocks of one width")
        self.adapters = make_adapters(self.steps, blocks, reduction)
        self.depth = min(blocks) + 1

    def begin(self, images: Tensor) -> Kept:
        kept = super().begin(images)
        (state,) = kept.states
        outputs = [state]
        with torch.no_grad():
            for index, block in enumerate(self.steps.passage(kept.size).blocks[self.depth :], self.depth):
                state = in_pieces(block, state, checkpointed=False)
                if str(index) in self.adapters:
                    outputs.append(state)
        return replace(kept, states=tuple(outputs))

    def finish(self, kept: Kept) -> Tensor:
        passage = self.steps.passage(kept.size)
        state = kept.states[-1]
        for adapter, output in zip(self.adapters.values(), kept.states, strict=True):
            state = state + over_window(adapter, output, passage.times)
        return passage.finish(state)


class FullNetwork(TunedNetwork):
    """The network itself, from the first of `blocks` to its last block."""

    def __init__(
        self, network: nn.Module, blocks: Sequence[int], *, checkpointed: bool = True, drop_path: float = 0.0
    ) -> None:
        super().__init__(network, checkpointed=checkpointed, drop_path=drop_path)
        self.depth = min(blocks)
        for block in self.steps.block_modules[self.depth :]:
            block.requires_grad_(True)

    def finish(self, kept: Kept) -> Tensor:
        passage = self.steps.passage(kept.size)
        (state,) = kept.states
        for block in passage.blocks[self.depth :]:
            state = in_pieces(block, state, self.checkpointed)
        return passage.finish(state)


def make_adapters(network: Stepwise, blocks: Sequence[int], reduction: int) -> nn.ModuleDict:
    """One adapter per block, by the block's number. Raises ValueError for a block that the network does not have."""
    widths = network.widths
    if any(not 0 <= index < len(widths) for index in blocks):
        raise ValueError(f"blocks {', '.join(map(str, blocks))}: the network has {len(widths)}")
    return nn.ModuleDict({str(index): Adapter(widths[index], max(1, widths[index] // reduction)) for index in blocks})
