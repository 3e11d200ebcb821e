"""I3D as backbones: on RGB, on flow, and on both, in the two published forms of the network."""

from __future__ import annotations

from torch import nn

from tal_cli.extractors.backbones.blueprint import DenseBlueprint, WindowBlueprint
from tal_cli.extractors.backbones.i3d.folded import DenseI3d, folded
from tal_cli.extractors.backbones.i3d.network import InceptionI3d, published, released
from tal_cli.extractors.backbones.motion.flow_windows import FlowBlueprint, TwoStreamBlueprint
from tal_cli.extractors.features.contract import FeatureContract

HEAD = ("logits.",)
WINDOW_BYTES = 110 << 20
STEP = 8  # frames per row of a dense pass

tensorflow = published(eps=1e-3, fixed=False)
fixed = published(eps=1e-5, fixed=True)


def rgb(contract: FeatureContract) -> InceptionI3d:
    return tensorflow(contract, 3)


def fixed_rgb(contract: FeatureContract) -> InceptionI3d:
    return fixed(contract, 3)


def dense(network: nn.Module, contract: FeatureContract) -> DenseI3d:
    return DenseI3d(folded(network))


RGB = WindowBlueprint(rgb, WINDOW_BYTES, HEAD, released, folded)
DENSE_RGB = DenseBlueprint(rgb, STEP, WINDOW_BYTES // 2, HEAD, released, dense)
FLOW = FlowBlueprint(tensorflow, WINDOW_BYTES, HEAD, released, folded)
TWO_STREAM = TwoStreamBlueprint(tensorflow, WINDOW_BYTES, HEAD, released, folded)
FIXED_RGB = WindowBlueprint(fixed_rgb, WINDOW_BYTES, HEAD, released, folded)
FIXED_FLOW = FlowBlueprint(fixed, WINDOW_BYTES, HEAD, released, folded)
FIXED_TWO_STREAM = TwoStreamBlueprint(fixed, WINDOW_BYTES, HEAD, released, folded)
