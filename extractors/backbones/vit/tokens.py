"""Rows of dense features from the tokens of one pass over a chunk of frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from tal_cli.extractors.backbones.blueprint import DenseBlueprint
from tal_cli.extractors.backbones.vit.layers import transformer_bytes
from tal_cli.extractors.features.contract import FeatureContract

MEAN, MAX = "mean over places", "maximum over places"
POOLINGS: dict[str, Callable[[Tensor], Tensor]] = {
    MEAN: lambda tokens: tokens.mean(2),
    MAX: lambda tokens: tokens.amax(2),
}


class TokenRows(nn.Module):
    """[1, 3, N, h, w] -> [1, channels, time]: a vector per `step` frames, of chunks one after the other.

    network: [K, 3, chunk, h, w] -> tokens [K, chunk / step, places, channels]. An incomplete chunk, at the end of a
    video, is filled up with the last frame. whole: all frames, a multiple of chunk, are one long chunk.
    """

    def __init__(self, network: nn.Module, *, chunk: int, step: int, pooling: str, whole: bool = False) -> None:
        super().__init__()
        self.whole = whole
        self.network = network
        self.chunk = chunk
        self.step = step
        self.pooling = pooling

    def forward(self, frames: Tensor) -> Tensor:
        return self.pooled(self.network(self.chunks(frames)))

    def chunks(self, frames: Tensor) -> Tensor:
        """What the network reads, [1, 3, N, h, w] -> [K, 3, chunk, h, w]."""
        missing = -frames.shape[2] % self.chunk
        filled = torch.cat([frames[0], frames[0, :, -1:].expand(-1, missing, -1, -1)], 1) if missing else frames[0]
        return filled[None] if self.whole else filled.unflatten(1, (-1, self.chunk)).transpose(0, 1)

    def pooled(self, tokens: Tensor) -> Tensor:
        """The rows [1, channels, time] of complete chunks, of the network's tokens."""
        return POOLINGS.get(self.pooling, POOLINGS[MEAN])(tokens).flatten(0, 1).T[None]


def token_blueprint(
    network: Callable[[FeatureContract], nn.Module],
    released: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]],
    *,
    step: int,
    places: int,
    width: int,
    hidden: int,
    ignored: tuple[str, ...] = (),
) -> DenseBlueprint:
    """A network with `places` tokens per `step` frames; its weights as in `WindowBlueprint`."""

    def rows(loaded: nn.Module, contract: FeatureContract) -> TokenRows:
        assert contract.chunk is not None
        return TokenRows(loaded, chunk=contract.chunk, step=step, pooling=contract.pooling)

    return DenseBlueprint(
        network=network,
        step=step,
        window_bytes=transformer_bytes(places, width, hidden),
        ignored=ignored,
        released=released,
        finish=rows,
    )
