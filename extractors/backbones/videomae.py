"""VideoMAE V2 (Wang et al. 2023, arXiv 2303.16727): plain vision transformers on tubes of two frames.

The feature is the layer norm of the mean over all tokens. There is no class token; positions are a fixed sine table
that the published files lack; queries and values have a bias, keys have none.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal_cli.extractors.backbones.blueprint import WindowBlueprint
from tal_cli.extractors.backbones.vit_layers import (
    Mlp,
    PatchEmbed,
    attend,
    picture_side,
    transformer_bytes,
    without_prefixes,
)
from tal_cli.extractors.features.contract import FeatureContract

TUBELET = 2
EPS = 1e-6


@dataclass(frozen=True)
class VideoMAEShape:
    """Sizes of one of the published networks: channels, blocks, heads, hidden channels, pixels of a patch's side."""

    width: int
    depth: int
    heads: int
    hidden: int
    patch: int = 16


class Attention(nn.Module):
    """Self-attention whose keys have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.q_bias = nn.Parameter(torch.zeros(width))
        self.v_bias = nn.Parameter(torch.zeros(width))
        self.proj = nn.Linear(width, width)

    def forward(self, tokens: Tensor) -> Tensor:
        bias = torch.cat([self.q_bias, torch.zeros_like(self.q_bias), self.v_bias])
        q, k, v = F.linear(tokens, self.qkv.weight, bias).chunk(3, -1)
        return self.proj(attend(q, k, v, self.heads))


class Block(nn.Module):
    """Attention and MLP, each after a layer norm and added to its input."""

    def __init__(self, shape: VideoMAEShape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, eps=EPS)
        self.attn = Attention(shape.width, shape.heads)
        self.norm2 = nn.LayerNorm(shape.width, eps=EPS)
        self.mlp = Mlp(shape.width, shape.hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))


class VideoMAE(nn.Module):
    """[B, 3, frames, size, size] in 0..1 -> [B, width].

    `head` (class scores, [B, width] -> [B, classes]) exists only with classes > 0 and is not part of the feature.
    """

    positions: Tensor

    def __init__(self, shape: VideoMAEShape, *, frames: int = 16, size: int = 224, classes: int = 0) -> None:
        super().__init__()
        if frames % TUBELET or size % shape.patch:
            raise ValueError(
                f"VideoMAE V2 takes windows of a multiple of {TUBELET} frames and sides of a multiple of {shape.patch}"
                f" pixels, not {frames} frames of {size}x{size}"
            )
        self.patch_embed = PatchEmbed(shape.width, shape.patch, TUBELET)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.fc_norm = nn.LayerNorm(shape.width, eps=EPS)
        self.head: nn.Module = nn.Linear(shape.width, classes) if classes else nn.Identity()
        tokens = frames // TUBELET * (size // shape.patch) ** 2
        self.register_buffer("positions", sine_table(tokens, shape.width), persistent=False)

    def forward(self, windows: Tensor) -> Tensor:
        tokens = self.patch_embed(windows) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return self.fc_norm(tokens.mean(1))


def sine_table(tokens: int, width: int) -> Tensor:
    """float32 [tokens, width] on the CPU: sine (even channels j) and cosine (odd) of position / 10000^(2 ⌊j/2⌋ / width)
    (Vaswani et al. 2017, section 3.5), computed in double precision."""
    position = torch.arange(tokens, dtype=torch.float64, device="cpu")[:, None]
    channel = torch.arange(width, dtype=torch.float64, device="cpu")
    angle = position / 10000 ** (2 * (channel // 2) / width)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()


def blueprint(shape: VideoMAEShape) -> WindowBlueprint:
    """The network of that shape for features: without class scores, on windows of an even number of frames."""

    def network(contract: FeatureContract) -> nn.Module:
        return VideoMAE(shape, frames=contract.window, size=picture_side(contract))

    return WindowBlueprint(
        network=network,
        window_bytes=transformer_bytes(8 * (224 // shape.patch) ** 2, shape.width, shape.hidden),
        ignored=("head.", "pos_embed"),
        released=without_prefixes,
    )


S = blueprint(VideoMAEShape(384, 12, 6, 1536))
B = blueprint(VideoMAEShape(768, 12, 12, 3072))
L = blueprint(VideoMAEShape(1024, 24, 16, 4096))
H = blueprint(VideoMAEShape(1280, 32, 16, 5120))
G = blueprint(VideoMAEShape(1408, 40, 16, 6144, patch=14))
