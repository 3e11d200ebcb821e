"""From an entry of the catalog, and the weights it names, to a backbone that runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn

from extractors.backbones import Backbone, Weights
from extractors.backbones.windowed import WindowedBackbone
from extractors.catalog import BackboneEntry
from extractors.contract import FeatureContract
from extractors.weights import WeightsMissing, WeightsSource, file_sha256, load_state, locate, read_state, remedy

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


def build(
    entry: BackboneEntry, blueprint: Blueprint, contract: FeatureContract, given: Sequence[Weights | None]
) -> Backbone:
    """A backbone with its weights; raises as `create_backbone`."""
    if len(given) > max(1, len(entry.weights)):
        raise ValueError(f"{entry.name}: {len(given)} weights files given, it takes {len(entry.weights)}")
    with torch.device("meta"):
        networks = blueprint.networks(contract)
    found = [
        find_given(entry, source, given[index] if index < len(given) else None)
        for index, source in enumerate(entry.weights)
    ]
    digests = []
    for network, weights in zip(networks, found, strict=True):
        digests.append(load(entry.name, blueprint, network, weights))
        network.eval().requires_grad_(False)
    known = [digest for digest in digests if digest is not None]
    contract = replace(contract, weights_sha256="+".join(known) or None)
    return blueprint.assemble(contract, networks)


def find_given(entry: BackboneEntry, source: WeightsSource, given: Weights | None) -> Path | State:
    """What was given, else the published file where it has been put. Raises WeightsMissing."""
    if isinstance(given, Mapping):
        return given
    path = locate(source) if given is None else Path(os.fspath(given))
    if path is None or not path.is_file():
        raise WeightsMissing(entry.name, remedy(entry.name, entry.weights))
    return path


def load(name: str, blueprint: Blueprint, network: nn.Module, weights: Path | State) -> str | None:
    """Load one network and give the SHA-256 of its file. Raises WeightsError."""
    state, origin = (read_state(weights), str(weights)) if isinstance(weights, Path) else (weights, name)
    load_state(network, blueprint.released(state), origin, ignored=blueprint.ignored)
    return file_sha256(weights) if isinstance(weights, Path) else None

