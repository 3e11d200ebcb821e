"""R(2+1)D-34 of TSP."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from harness.backbones.case import Case
from tal_cli.extractors.backbones.preprocessing import Preparation
from tal_cli.extractors.backbones.tsp import CHANNELS, HEADS, Tsp
from tal_cli.extractors.catalog import find
from tal_cli.selftest.formula import unit

GLOBAL_KEY = 99  # of the made-up global video feature


def check(case: Case) -> None:
    """Input, activations, feature, and both heads, the second one on a made-up global feature beside it."""
    windows = Preparation.of(find("tsp").contract)(case.clip()).transpose(0, 1)[None]
    case.compare_input(windows)
    state = case.state()
    network = case.load(Tsp, state=state, ignored=HEADS)
    with case.watching(network):
        feature = network(windows)
    case.compare("feature", feature)
    whole = torch.from_numpy(unit(0, CHANNELS, GLOBAL_KEY + case.seed)).float().to(feature)[None]
    heads = {name: tensor.to(feature.device) for name, tensor in state.items() if name.startswith("fc")}
    case.compare("action_logits", F.linear(feature, heads["fc1.weight"], heads["fc1.bias"]))
    both = torch.cat((feature, whole), 1)
    case.compare("region_logits", F.linear(both, heads["fc2.weight"], heads["fc2.bias"]))
