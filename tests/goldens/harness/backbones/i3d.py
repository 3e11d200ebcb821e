"""I3D, RGB and flow, in its two published forms."""

from __future__ import annotations

from torch import Tensor

from harness.backbones.case import Case
from tal_cli.extractors.backbones.i3d.folded import folded
from tal_cli.extractors.backbones.i3d.network import InceptionI3d, released, translate
from tal_cli.extractors.backbones.motion.optical_flow import quantise
from tal_cli.extractors.backbones.preprocessing import Preparation, channels_first, crop, scale
from tal_cli.extractors.catalog import find
from tal_cli.extractors.features.preprocessing_spec import Flow


def check(case: Case) -> None:
    """As pytorch-i3d has it."""
    colours = case.inputs[0]["shape"][1] == 3
    preparation = Preparation.of(find("i3d-rgb" if colours else "i3d-flow").contract)
    # Recorded flow is pictures already.
    prepared = scale(crop(channels_first(case.clip()), preparation.crop), preparation.values)
    compare(case, prepared.transpose(0, 1)[None], eps=1e-3, fixed=False)


def check_fixed(case: Case) -> None:
    """As video_features has it; recorded flow is (value - 128) / 4 pixels."""
    frames = case.clip()
    if case.inputs[0]["shape"][1] == 3:
        prepared = Preparation.of(find("i3d-vf-rgb").contract)(frames)
    else:
        contract = find("i3d-vf-flow").contract
        preparation = Preparation.of(contract)
        levels = quantise((channels_first(frames).float() - 128) / 4, Flow.parse(contract.flow or ""))
        prepared = scale(crop(levels, preparation.crop), preparation.values)
    compare(case, prepared.transpose(0, 1)[None], eps=1e-5, fixed=True)


def compare(case: Case, windows: Tensor, *, eps: float, fixed: bool) -> None:
    """Input, activations, features (also of the folded network) and logits."""
    case.compare_input(windows)
    network = case.load(lambda: InceptionI3d(windows.shape[1], eps=eps, fixed=fixed, classes=400), released)
    with case.watching(network, translate_name):
        case.compare("feature", network(windows))
    case.compare("logits", network.classify(windows))
    case.compare("feature (folded)", folded(network)(windows), recorded="out.feature")


def translate_name(name: str) -> str:
    """A block's recorded name -> ours."""
    return translate(f"{name}.").removesuffix(".")
