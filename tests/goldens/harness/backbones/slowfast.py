"""SlowFast under the names of PySlowFast, of pytorchvideo, and of Caffe2."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from harness.backbones.case import Case
from tal_cli.extractors.backbones.preprocessing import Preparation
from tal_cli.extractors.backbones.slowfast import R50, Layout, SlowFast, released, translate
from tal_cli.extractors.catalog import find

# pytorchvideo's blocks fill in the same list, so what was recorded of one is what the next one made of it.
BLOCKS = {"blocks.0": "s2", "blocks.2": "s4", "blocks.4": "", "blocks.5": ""}


def check(case: Case) -> None:
    """Input of both pathways, activations, features in both poolings, logits of all heads."""
    names = case.facts.get("caffe2_blob_to_key", {})
    state = case.state()
    given = {blob: state[key] for blob, key in names.items()} or state
    layout = Layout(
        frames=case.facts["clip_length"],
        alpha=case.facts["alpha"],
        fusion=case.facts["fusion_kernel"],
        blocks=R50,
    )
    network = case.load(lambda: SlowFast(layout), released, given, ignored=("head.",))
    windows = prepared(case)
    case.compare_input(windows[:, :, network.slow], 0)
    case.compare_input(windows, 1)
    with case.watching(network, lambda name: BLOCKS.get(name, name)):
        features = network(windows)
    case.compare("feature", features)
    for key in case.tensors:
        if key.endswith("feature_head_windows"):
            network.windows = True
            case.compare("feature_head_windows", network(windows))
    compare_heads(case, features, {translate(name): tensor for name, tensor in state.items()})


def prepared(case: Case) -> Tensor:
    """The clip as the published features (256 pixels) or the Kinetics weights (224) have it, [1, 3, T, H, W]."""
    published = {256: "slowfast-epic", 224: "slowfast-r50-8x8"}[case.inputs[0]["shape"][-1]]
    return Preparation.of(find(published).contract)(case.clip()).transpose(0, 1)[None]


HEADS = {
    "projection": "logits",
    "projection_verb": "verb_logits_of_feature",
    "projection_noun": "noun_logits_of_feature",
}


def compare_heads(case: Case, features: Tensor, state: dict[str, Tensor]) -> None:
    """The classifiers on the features; at 224 pixels they see nothing else."""
    for head, recorded in HEADS.items():
        if f"head.{head}.weight" in state:
            weight, bias = (state[f"head.{head}.{leaf}"].to(features.device) for leaf in ("weight", "bias"))
            case.compare(recorded, F.linear(features, weight, bias))
