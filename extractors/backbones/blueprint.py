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

    ignored: tuple[str, ...]

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
    """One network over chunks, [1, C, N, h, w] -> [1, channels, N / step]. step: frames per row.

    network, ignored, released, finish: as in `WindowBlueprint`. windows_per_pass, window_bytes, context: see
    `Backbone`.
    """

    network: Callable[[FeatureContract], nn.Module]
    step: int
    windows_per_pass: int
    window_bytes: int
    ignored: tuple[str, ...] = ()
    released: Callable[[State], State] = as_released
    finish: Callable[[nn.Module], nn.Module] = lambda network: network
    context: int = 0

    def networks(self, contract: FeatureContract) -> Sequence[nn.Module]:
        if contract.stride != self.step:
            raise ValueError(f"stride={contract.stride}: one pass gives a row per {self.step} frames")
        if (contract.window - self.step) % (2 * self.step):
            raise ValueError(f"window={contract.window}: {self.step} frames, and as many more of them on either side")
        return (self.network(contract),)

    def assemble(self, contract: FeatureContract, networks: Sequence[nn.Module]) -> Backbone:
        (network,) = networks
        return DenseBackbone(
            contract,
            self.finish(network),
            windows_per_pass=self.windows_per_pass,
            window_bytes=self.window_bytes,
            context=self.context,
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
    with torch.device("meta"):
        networks = blueprint.networks(resolved.contract)
    for network, weights in zip(networks, resolved.weights, strict=True):
        origin, state = (weights, read_state(weights)) if isinstance(weights, Path) else (resolved.entry.name, weights)
        load_state(network, blueprint.released(state), origin, ignored=blueprint.ignored)
        network.eval().requires_grad_(False)
    return blueprint.assemble(resolved.contract, networks)
