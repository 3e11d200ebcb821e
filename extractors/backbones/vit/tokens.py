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
    """[B, 3, N, h, w], N <= chunk -> [B, channels, N / step]: a vector per time step of a chunk.

    network: [B, 3, chunk, h, w] -> tokens [B, chunk / step, places, channels]. Fewer frames, at the end of a video, are
    filled up with the last one.
    """

    def __init__(self, network: nn.Module, *, chunk: int, step: int, pooling: str) -> None:
        super().__init__()
        self.network = network
        self.chunk = chunk
        self.step = step
        self.pooling = pooling

    def forward(self, frames: Tensor) -> Tensor:
        count = frames.shape[2]
        whole = torch.cat([frames, frames[:, :, -1:].expand(-1, -1, self.chunk - count, -1, -1)], 2)
        rows = POOLINGS[self.pooling](self.network(whole))
        return rows[:, : count // self.step].transpose(1, 2)


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
