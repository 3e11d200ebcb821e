"""SlowFast networks (Feichtenhofer et al. 2019): few frames with many channels (slow), all frames with few (fast).

Names as in PySlowFast's files; `released` also maps those of pytorchvideo and Caffe2, which hold the same network.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal_cli.extractors.backbones.blueprint import WindowBlueprint
from tal_cli.extractors.features.contract import FeatureContract

Pathways = list[Tensor]

HEAD_WINDOWS = "mean over the head's windows"
HEAD_CELLS = 7  # of the classifier's pool, trained at 224 pixels
WIDTHS = (256, 512, 1024, 2048)  # of the slow pathway's stages; the fast one has an eighth
TEMPORAL_KERNELS = ((1, 1, 3, 3), (3, 3, 3, 3))  # per pathway and stage


@dataclass(frozen=True, kw_only=True)
class Layout:
    """frames: of a window. alpha: fast frames per slow frame. fusion: temporal kernel of fast-to-slow connections.
    blocks: per stage."""

    frames: int
    alpha: int
    fusion: int
    blocks: tuple[int, int, int, int]

    def slow_frames(self) -> list[int]:
        """Indices of the slow pathway's frames: evenly spaced from the first to the last, rounded down."""
        indices: list[int] = torch.linspace(0, self.frames - 1, self.frames // self.alpha, device="cpu").long().tolist()
        return indices


class Stem(nn.Module):
    """[B, 3, T, H, W] -> [B, C, T, H / 4, W / 4]."""

    def __init__(self, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(3, outputs, (kernel, 7, 7), (1, 2, 2), (kernel // 2, 3, 3), bias=False)
        self.bn = nn.BatchNorm3d(outputs)

    def forward(self, frames: Tensor) -> Tensor:
        return F.max_pool3d(F.relu_(self.bn(self.conv(frames))), (1, 3, 3), (1, 2, 2), (0, 1, 1))


class Stems(nn.Module):
    """Both pathways' first layers."""

    def __init__(self) -> None:
        super().__init__()
        self.pathway0_stem, self.pathway1_stem = Stem(64, 1), Stem(8, 5)

    def forward(self, pathways: Pathways) -> Pathways:
        return [self.pathway0_stem(pathways[0]), self.pathway1_stem(pathways[1])]


class Fuse(nn.Module):
    """The fast pathway's features, one time step of alpha, beside the slow pathway's."""

    def __init__(self, fast: int, layout: Layout) -> None:
        super().__init__()
        kernel, step = (layout.fusion, 1, 1), (layout.alpha, 1, 1)
        self.conv_f2s = nn.Conv3d(fast, 2 * fast, kernel, step, (layout.fusion // 2, 0, 0), bias=False)
        self.bn = nn.BatchNorm3d(2 * fast)

    def forward(self, pathways: Pathways) -> Pathways:
        slow, fast = pathways
        return [torch.cat((slow, F.relu_(self.bn(self.conv_f2s(fast)))), 1), fast]


class Bottleneck(nn.Module):
    """The residual branch: over time, over space, to the full width."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        inner = outputs // 4
        self.a = nn.Conv3d(inputs, inner, (kernel, 1, 1), padding=(kernel // 2, 0, 0), bias=False)
        self.a_bn = nn.BatchNorm3d(inner)
        self.b = nn.Conv3d(inner, inner, (1, 3, 3), (1, stride, stride), (0, 1, 1), bias=False)
        self.b_bn = nn.BatchNorm3d(inner)
        self.c = nn.Conv3d(inner, outputs, 1, bias=False)
        self.c_bn = nn.BatchNorm3d(outputs)

    def forward(self, features: Tensor) -> Tensor:
        features = F.relu_(self.a_bn(self.a(features)))
        features = F.relu_(self.b_bn(self.b(features)))
        branch: Tensor = self.c_bn(self.c(features))
        return branch


class Residual(nn.Module):
    """A residual block; a projection of its input where the shape changes."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.projects = inputs != outputs or stride > 1
        if self.projects:
            self.branch1 = nn.Conv3d(inputs, outputs, 1, (1, stride, stride), bias=False)
            self.branch1_bn = nn.BatchNorm3d(outputs)
        self.branch2 = Bottleneck(inputs, outputs, kernel, stride)

    def forward(self, features: Tensor) -> Tensor:
        base = self.branch1_bn(self.branch1(features)) if self.projects else features
        return F.relu_(base + self.branch2(features))


class Stage(nn.Module):
    """One stage of both pathways."""

    def __init__(self, inputs: tuple[int, int], index: int, blocks: int) -> None:
        super().__init__()
        self.blocks = blocks
        for pathway, width in enumerate((WIDTHS[index], WIDTHS[index] // 8)):
            channels, kernel = inputs[pathway], TEMPORAL_KERNELS[pathway][index]
            for block in range(blocks):
                stride = 2 if index and not block else 1
                self.add_module(f"pathway{pathway}_res{block}", Residual(channels, width, kernel, stride))
                channels = width

    def forward(self, pathways: Pathways) -> Pathways:
        results = []
        for pathway, features in enumerate(pathways):
            for block in range(self.blocks):
                features = self.get_submodule(f"pathway{pathway}_res{block}")(features)
            results.append(features)
        return results


class SlowFast(nn.Module):
    """[B, 3, frames, H, W] -> [B, 2304]: 2048 channels of the slow pathway, then 256 of the fast one.

    windows: pool as the classifier does, over windows of 7 x 7 cells and all frames, then over the windows; at
    224 x 224 pixels there is one window, and the result is the global mean.
    """

    def __init__(self, layout: Layout, *, windows: bool = False) -> None:
        super().__init__()
        self.windows = windows
        self.slow = layout.slow_frames()
        self.s1 = Stems()
        self.s1_fuse = Fuse(8, layout)
        slow, fast = 64 + 16, 8
        for index, (width, blocks) in enumerate(zip(WIDTHS, layout.blocks, strict=True)):
            self.add_module(f"s{index + 2}", Stage((slow, fast), index, blocks))
            fast = width // 8
            slow = width + 2 * fast
            if index < 3:
                self.add_module(f"s{index + 2}_fuse", Fuse(fast, layout))

    def forward(self, windows: Tensor) -> Tensor:
        pathways = [windows[:, :, self.slow], windows]
        for stage in self.children():
            pathways = stage(pathways)
        return torch.cat([self.pool(features) for features in pathways], 1)

    def pool(self, features: Tensor) -> Tensor:
        """[B, C, T, H, W] -> [B, C]."""
        if not self.windows:
            return features.mean((2, 3, 4))
        cells = (min(HEAD_CELLS, features.shape[3]), min(HEAD_CELLS, features.shape[4]))
        return F.avg_pool3d(features, (features.shape[2], *cells), 1).mean((2, 3, 4))


# pytorchvideo's names and Caffe2's, as (pattern, replacement) applied in this order.
PYTORCHVIDEO = (
    (r"^blocks\.0\.multipathway_blocks\.(\d)\.conv\.", r"s1.pathway\1_stem.conv."),
    (r"^blocks\.0\.multipathway_blocks\.(\d)\.norm\.", r"s1.pathway\1_stem.bn."),
    (r"^blocks\.6\.proj\.", r"head.projection."),
    (r"\.multipathway_fusion\.conv_fast_to_slow\.", r"_fuse.conv_f2s."),
    (r"\.multipathway_fusion\.norm\.", r"_fuse.bn."),
    (r"\.multipathway_blocks\.(\d)\.res_blocks\.(\d+)\.", r".pathway\1_res\2."),
    (r"\.branch1_conv\.", r".branch1."),
    (r"\.branch1_norm\.", r".branch1_bn."),
    (r"\.branch2\.conv_([abc])\.", r".branch2.\1."),
    (r"\.branch2\.norm_([abc])\.", r".branch2.\1_bn."),
)
CAFFE2 = (
    (r"_bn_s$", r"_bn.weight"),
    (r"_bn_b$", r"_bn.bias"),
    (r"_bn_rm$", r"_bn.running_mean"),
    (r"_bn_riv$", r"_bn.running_var"),
    (r"_w$", r".weight"),
    (r"^pred_b$", r"pred.bias"),
    (r"^pred\.", r"head.projection."),
    (r"^conv1\.", r"s1.pathway0_stem.conv."),
    (r"^res_conv1_bn\.", r"s1.pathway0_stem.bn."),
    (r"^t_conv1\.", r"s1.pathway1_stem.conv."),
    (r"^t_res_conv1_bn\.", r"s1.pathway1_stem.bn."),
    (r"^t_pool1_subsample\.", r"s1_fuse.conv_f2s."),
    (r"^t_pool1_subsample_bn\.", r"s1_fuse.bn."),
    (r"^t_res(\d)_\d+_branch2c_bn_subsample\.", r"s\1_fuse.conv_f2s."),
    (r"^t_res(\d)_\d+_branch2c_bn_subsample_bn\.", r"s\1_fuse.bn."),
    (r"^res(\d)_(\d+)_", r"s\1.pathway0_res\2_"),
    (r"^t_res(\d)_(\d+)_", r"s\1.pathway1_res\2_"),
    (r"_branch1(_bn)?\.", r".branch1\1."),
    (r"_branch2([abc])(_bn)?\.", r".branch2.\1\2."),
)


def released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Maps the names of pytorchvideo's and of Caffe2's files to PySlowFast's; the latter stay."""
    return {translate(name): tensor for name, tensor in state.items()}


def translate(name: str) -> str:
    """One name, as `released`."""
    if re.match(r"s\d(_fuse)?\.|head\.", name):
        return name
    rules = PYTORCHVIDEO if name.startswith("blocks.") else CAFFE2
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return re.sub(r"^blocks\.(\d)", lambda match: f"s{int(match[1]) + 1}", name)


R50 = (3, 4, 6, 3)
R101 = (3, 4, 23, 3)


def blueprint(layout: Layout) -> WindowBlueprint:
    """A network of that layout; the window length may be any multiple of alpha."""

    def network(contract: FeatureContract) -> nn.Module:
        if contract.window % layout.alpha:
            raise ValueError(f"window={contract.window}: this network takes a multiple of {layout.alpha} frames")
        return SlowFast(replace(layout, frames=contract.window), windows=contract.pooling == HEAD_WINDOWS)

    return WindowBlueprint(network, ignored=("head.",), released=released, window_bytes=400 << 20)


R50_8X8 = Layout(frames=32, alpha=4, fusion=7, blocks=R50)
R50_4X16 = Layout(frames=32, alpha=8, fusion=5, blocks=R50)
R101_8X8 = Layout(frames=32, alpha=4, fusion=7, blocks=R101)
SLOWFAST_R50_8X8 = blueprint(R50_8X8)
SLOWFAST_R50_4X16 = blueprint(R50_4X16)
SLOWFAST_R101_8X8 = blueprint(R101_8X8)
