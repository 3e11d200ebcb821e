"""Backbones with seeded weights, for measuring speed and memory only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tal_cli.extractors.backbones import create_backbone
from tal_cli.extractors.backbones.interface import Backbone
from tal_cli.extractors.catalog import find
from tal_cli.extractors.plugins import load_object


def networks(name: str, settings: Mapping[str, object] | None = None) -> Sequence[nn.Module]:
    """A backbone's networks without weights, on the meta device."""
    entry = find(name)
    blueprint = load_object(entry.blueprint)
    with torch.device("meta"):
        found: Sequence[nn.Module] = blueprint.networks(entry.contract_with(settings or {}))
    return found


def weights(network: nn.Module, seed: int) -> dict[str, Tensor]:
    """Random weights under which values neither vanish nor explode."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, tensor in network.state_dict().items():
        leaf = name.rpartition(".")[2]
        if not tensor.is_floating_point():
            state[name] = torch.zeros(tensor.shape, dtype=tensor.dtype)
        elif tensor.dim() > 1:
            spread = math.sqrt(2 / max(1, tensor[0].numel()))
            state[name] = torch.empty(tensor.shape).normal_(0.0, spread, generator=generator)
        else:
            state[name] = torch.full(tensor.shape, float(leaf in ("weight", "gamma", "running_var")))
    return state


def seeded_backbone(name: str, settings: Mapping[str, object] | None = None) -> Backbone:
    """A backbone with random weights, for measuring speed and memory only."""
    made = [weights(network, seed) for seed, network in enumerate(networks(name, settings))]
    return create_backbone(name, made or None, settings)
