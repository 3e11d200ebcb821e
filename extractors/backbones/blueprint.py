"""From an entry of the catalog, and the weights it names, to a backbone that runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn

from tal_cli.extractors.backbones.interface import Backbone, Resolved
from tal_cli.extractors.backbones.windowed import DenseBackbone, WindowedBackbone
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.files.weights import load_state, read_state

State: TypeAlias = "Mapping[str, Tensor]"


class Blueprint(Protocol):
    """How a backbone is put together.

    ignored: prefixes of names in the weights that its networks do not use: mostly heads.
    """

    @property
    def ignored(self) -> tuple[str, ...]: ...

    def networks(self, contract: FeatureContract) -> Sequence[nn.Module]:
        """One network per weights file, whose `state_dict` has the released names; called with torch's default device
        `meta`, so tensors that are not in the file are made with an explicit device. Raises ValueError for contract
        fields that this network does not support."""
        ...

    def released(self, state: State) -> State:
        """Maps the names of any published file of this network to those of `networks`."""
        ...

    def assemble(self, contract: FeatureContract, networks: Sequence[nn.Module]) -> Backbone:
        """The backbone with its networks loaded, in evaluation mode and without gradients."""
        ...


def as_released(state: State) -> State:
    """Returns the names unchanged: for networks whose published files all use the same names."""
    return state


@dataclass(frozen=True)
class WindowBlueprint:
    """One network on windows, [B, C, window, H, W] -> [B, channels].

    network: builds it. window_bytes: approximate memory of one window in a forward pass. finish: applied to the network
    after loading, such as folding its norms.
    """

    network: Callable[[FeatureContract], nn.Module]
    window_bytes: int
    ignored: tuple[str, ...] = ()
    released: Callable[[State], State] = as_released
    finish: Callable[[nn.Module], nn.Module] = lambda network: network

    def networks(self, contract: FeatureContract) -> Sequence[nn.Module]:
        return (self.network(contract),)

    def assemble(self, contract: FeatureContract, networks: Sequence[nn.Module]) -> Backbone:
        (network,) = networks
        return WindowedBackbone(contract, self.finish(network), window_bytes=self.window_bytes)


@dataclass(frozen=True)
class DenseBlueprint:
    """One network over chunks, [1, C, N, h, w] -> [1, channels, N / step]. step: frames per row of the network.

    network, ignored, released: as in `WindowBlueprint`. window_bytes: approximate memory of one row in a forward pass.
    finish: makes the module of that shape of the loaded network.
    """

    network: Callable[[FeatureContract], nn.Module]
    step: int
    window_bytes: int
    ignored: tuple[str, ...] = ()
    released: Callable[[State], State] = as_released
    finish: Callable[[nn.Module, FeatureContract], nn.Module] = lambda network, contract: network

    def networks(self, contract: FeatureContract) -> Sequence[nn.Module]:
        check_chunks(contract, self.step)
        return (self.network(contract),)

    def assemble(self, contract: FeatureContract, networks: Sequence[nn.Module]) -> Backbone:
        (network,) = networks
        return DenseBackbone(contract, self.finish(network, contract), step=self.step, window_bytes=self.window_bytes)


def check_chunks(contract: FeatureContract, step: int) -> None:
    """Raises ValueError for chunks that a network with a row per `step` frames cannot be computed in."""
    stride, window, overlap = contract.stride, contract.window, contract.overlap or 0
    if contract.chunk is None or contract.rows is None:
        raise ValueError(f"{contract.extractor} computes chunks, and its contract has none")
    if stride % step and step % stride:
        raise ValueError(f"stride={stride}: one pass gives a row per {step} frames: a multiple of them, or a part")
    if (window - stride) % (2 * stride):
        raise ValueError(f"window={window}: the stride's {stride} frames, and as many more of them on either side")
    if overlap % (2 * stride):
        raise ValueError(f"overlap={overlap}: must be a multiple of {2 * stride}, whole rows on either side")
    if overlap < window - stride:
        raise ValueError(f"overlap={overlap}: a window of {window} frames needs at least {window - stride}")
    if contract.chunk % max(stride, step) or not contract.rows:
        raise ValueError(
            f"chunk={contract.chunk}: must be a multiple of the stride, {max(stride, step)}, beyond the overlap"
        )


@dataclass(frozen=True)
class Measured:
    """A backbone without weights."""

    make: Callable[[FeatureContract], Backbone]
    ignored: tuple[str, ...] = ()
    released: Callable[[State], State] = as_released

    def networks(self, contract: FeatureContract) -> Sequence[nn.Module]:
        return ()

    def assemble(self, contract: FeatureContract, networks: Sequence[nn.Module]) -> Backbone:
        return self.make(contract)


def build(resolved: Resolved, blueprint: Blueprint) -> Backbone:
    """A backbone with its weights. Raises ValueError for a contract that it does not support, WeightsError."""
    return blueprint.assemble(resolved.contract, load_networks(resolved, blueprint))


def load_networks(resolved: Resolved, blueprint: Blueprint) -> Sequence[nn.Module]:
    """The networks of a backbone with their weights; raises as `build`."""
    with torch.device("meta"):
        networks = blueprint.networks(resolved.contract)
    for network, weights in zip(networks, resolved.weights, strict=True):
        origin, state = (weights, read_state(weights)) if isinstance(weights, Path) else (resolved.entry.name, weights)
        load_state(network, blueprint.released(state), origin, ignored=blueprint.ignored)
        network.eval().requires_grad_(False)
    return networks
