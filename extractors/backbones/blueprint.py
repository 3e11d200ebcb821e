"""From an entry of the catalog, and the weights it names, to a backbone that runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn

from tal_cli.extractors.backbones.interface import Backbone, Resolved
from tal_cli.extractors.backbones.windowed import WindowedBackbone
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.files.weights import load_state, read_state

State: TypeAlias = "Mapping[str, Tensor]"


class Blueprint(Protocol):
    """How a backbone is put together.

    ignored: beginnings of names in the weights that its networks have no use for: heads, mostly.
    """

    ignored: tuple[str, ...]

    def networks(self, contract: FeatureContract) -> Sequence[nn.Module]:
        """One network per weights file, whose `state_dict` has the released names; called with torch's default device
        `meta`, so what is not in the file is made with an explicit device. Raises ValueError for what the contract asks
        and this network cannot do."""
        ...

    def released(self, state: State) -> State:
        """The names of any published file of this network -> those of `networks`."""
        ...

    def assemble(self, contract: FeatureContract, networks: Sequence[nn.Module]) -> Backbone:
        """The backbone, its networks loaded, in evaluation mode and without gradients."""
        ...


def as_released(state: State) -> State:
    """For networks of which all published files have the same names."""
    return state


@dataclass(frozen=True)
class WindowBlueprint:
    """One network on windows, [B, C, window, H, W] -> [B, channels].

    network: makes it. window_bytes: what one window takes in a forward pass, roughly. finish: applied to the network
    when it is loaded, such as folding its norms.
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
class Measured:
    """A backbone that has nothing to load."""

    make: Callable[[FeatureContract], Backbone]
    ignored: tuple[str, ...] = ()
    released: Callable[[State], State] = as_released

    def networks(self, contract: FeatureContract) -> Sequence[nn.Module]:
        return ()

    def assemble(self, contract: FeatureContract, networks: Sequence[nn.Module]) -> Backbone:
        return self.make(contract)


def build(resolved: Resolved, blueprint: Blueprint) -> Backbone:
    """A backbone with its weights. Raises ValueError for a contract that it cannot have, WeightsError."""
    with torch.device("meta"):
        networks = blueprint.networks(resolved.contract)
    for network, weights in zip(networks, resolved.weights, strict=True):
        origin, state = (weights, read_state(weights)) if isinstance(weights, Path) else (resolved.entry.name, weights)
        load_state(network, blueprint.released(state), origin, ignored=blueprint.ignored)
        network.eval().requires_grad_(False)
    return blueprint.assemble(resolved.contract, networks)
