"""InternVideo2 (Wang et al. 2024, arXiv 2403.15377): vision transformers on single-frame patches with a class token.

RMS norms in the blocks, also over all channels of queries and keys before these are split into heads; a learned scale
per channel on both branches; learned positions, of which only the number of frames differs between files. Nothing
normalises the last block's output. The published features are means over the tokens of one of the last blocks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal_cli.extractors.backbones.blueprint import WindowBlueprint
from tal_cli.extractors.backbones.vit.layers import (
    Mlp,
    PatchEmbed,
    attend,
    picture_side,
    transformer_bytes,
    without_prefixes,
)
from tal_cli.extractors.features.contract import FeatureContract

EPS = 1e-6
PATCH = 14
SIDE = 224  # pixels; the position table is for this image size and FRAMES frames
FRAMES = 16
POOL_HEADS = 16
# Parts of the published files that features do not use: blocks behind the layer that is read, heads, and parts for
# pre-training only. A required block that is missing is still an error.
UNUSED = ("blocks.", "clip_projector.", "fc_norm.", "head.", "clip_decoder.", "final_clip_decoder.", "clip_pos_embed")

Gelu = Literal["tanh", "none"]
Pooling = Literal["patches", "all tokens"]


@dataclass(frozen=True)
class InternVideo2Shape:
    """Sizes of one of the published networks: channels, blocks, heads, hidden channels."""

    width: int
    depth: int
    heads: int
    hidden: int


class RMSNorm(nn.Module):
    """Division by the root mean square over the channels, times a learned factor per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        return F.rms_norm(tokens, self.weight.shape, self.weight.to(tokens.dtype), EPS)


class LayerScale(nn.Module):
    """A learned factor per channel."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, tokens: Tensor) -> Tensor:
        return tokens * self.gamma


class Attention(nn.Module):
    """Self-attention without query, key and value biases; queries and keys are normalised over all heads together."""

    def __init__(self, shape: InternVideo2Shape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width, bias=False)
        self.q_norm = RMSNorm(shape.width)
        self.k_norm = RMSNorm(shape.width)
        self.proj = nn.Linear(shape.width, shape.width)

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = self.qkv(tokens).chunk(3, -1)
        return self.proj(attend(self.q_norm(q), self.k_norm(k), v, self.heads))


class Block(nn.Module):
    """Attention and MLP, each after a norm, scaled, and added to its input."""

    def __init__(self, shape: InternVideo2Shape, gelu: Gelu) -> None:
        super().__init__()
        self.norm1 = RMSNorm(shape.width)
        self.attn = Attention(shape)
        self.ls1 = LayerScale(shape.width)
        self.norm2 = RMSNorm(shape.width)
        self.mlp = Mlp(shape.width, shape.hidden, gelu)
        self.ls2 = LayerScale(shape.width)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.ls1(self.attn(self.norm1(tokens)))
        return tokens + self.ls2(self.mlp(self.norm2(tokens)))


class CrossAttention(nn.Module):
    """Attention of a few queries over many tokens."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.q, self.k, self.v = (nn.Linear(width, width, bias=False) for _ in range(3))
        self.q_bias, self.k_bias, self.v_bias = (nn.Parameter(torch.zeros(width)) for _ in range(3))
        self.proj = nn.Linear(width, out)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        q = F.linear(query, self.q.weight, self.q_bias)
        k = F.linear(key, self.k.weight, self.k_bias)
        v = F.linear(value, self.v.weight, self.v_bias)
        return self.proj(attend(q, k, v, POOL_HEADS))


class AttentionPool(nn.Module):
    """[B, N, width] -> [B, out]: the mean of the tokens is the query over all tokens."""

    def __init__(self, width: int, out: int) -> None:
        super().__init__()
        self.norm1_q, self.norm1_k, self.norm1_v = (nn.LayerNorm(width, eps=1e-5) for _ in range(3))
        self.cross_attn = CrossAttention(width, out)

    def forward(self, tokens: Tensor) -> Tensor:
        query = self.norm1_q(tokens.mean(1, keepdim=True))
        return self.cross_attn(query, self.norm1_k(tokens), self.norm1_v(tokens))[:, 0]


class InternVideo2(nn.Module):
    """[B, 3, frames, size, size], normalised -> [B, width]: the mean over one block's tokens.

    layer: that block, counted from the end (-1: the last). Blocks behind it are neither computed nor held.
    pooling: mean over the patches' tokens, or over these and the class token.
    """

    def __init__(
        self,
        shape: InternVideo2Shape,
        *,
        layer: int = -1,
        pooling: Pooling = "patches",
        gelu: Gelu = "tanh",
        frames: int = 16,
        size: int = 224,
    ) -> None:
        super().__init__()
        if not -shape.depth <= layer <= -1:
            raise ValueError(f"layer {layer}: expected a block from -{shape.depth} to -1")
        if size % PATCH:
            raise ValueError(f"image sides must be multiples of {PATCH}")
        self.first_token = 1 if pooling == "patches" else 0
        self.patches_per_frame = (size // PATCH) ** 2
        self.patch_embed = PatchEmbed(shape.width, PATCH, tubelet=1)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + frames * self.patches_per_frame, shape.width))
        self.blocks = nn.ModuleList(Block(shape, gelu) for _ in range(shape.depth + 1 + layer))

    def forward(self, windows: Tensor) -> Tensor:
        return self.tokens(windows)[:, self.first_token :].mean(1)

    def tokens(self, windows: Tensor) -> Tensor:
        """[B, 1 + frames * patches, width]: the last block's output, the class token first."""
        patches = self.patch_embed(windows)
        tokens = torch.cat([self.cls_token.expand(patches.shape[0], -1, -1), patches], 1) + self.pos_embed
        for block in self.blocks:
            tokens = block(tokens)
        return tokens


class InternVideo2Classifier(InternVideo2):
    """The published network to its class scores: attention pooling over the last block's tokens, norm, linear head."""

    def __init__(
        self, shape: InternVideo2Shape, *, pooled: int, classes: int, gelu: Gelu, frames: int, size: int
    ) -> None:
        super().__init__(shape, gelu=gelu, frames=frames, size=size)
        self.clip_projector = AttentionPool(shape.width, pooled)
        self.fc_norm = nn.LayerNorm(pooled, eps=1e-5)
        self.head = nn.Linear(pooled, classes)

    def classify(self, windows: Tensor) -> tuple[Tensor, Tensor]:
        """The pooled vector [B, pooled] and class scores [B, classes]."""
        pooled = self.clip_projector(self.tokens(windows))
        return pooled, self.head(self.fc_norm(pooled))


def stretch_positions(table: Tensor, frames: int, patches: int) -> Tensor:
    """[1, 1 + F * patches, width] -> [1, 1 + frames * patches, width]; the class token's row stays."""
    token, rest = table[:, :1], table[:, 1:]
    if rest.shape[1] == frames * patches or rest.shape[1] % patches:
        return table
    over_time = rest.unflatten(1, (-1, patches)).flatten(2).transpose(1, 2).float()  # [1, patches * width, F]
    stretched = F.interpolate(over_time, size=frames, mode="linear", align_corners=False)
    return torch.cat([token, stretched.transpose(1, 2).unflatten(2, (patches, -1)).flatten(1, 2).to(token.dtype)], 1)


def released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names and positions of a published file in this network's layout."""
    found = without_prefixes(state)
    if "pos_embed" in found:
        found["pos_embed"] = stretch_positions(found["pos_embed"], FRAMES, (SIDE // PATCH) ** 2)
    return found


def blueprint(shape: InternVideo2Shape) -> WindowBlueprint:
    """The network of that shape up to the block that the contract reads."""

    def network(contract: FeatureContract) -> nn.Module:
        if picture_side(contract) != SIDE or contract.window != FRAMES:
            raise ValueError(f"{contract.extractor} takes {FRAMES} frames of {SIDE}x{SIDE} pixels")
        block, gelu = contract.layer.removeprefix("block ").removesuffix(" GELU").split(", ")
        return InternVideo2(
            shape,
            layer=int(block),
            pooling="patches" if contract.pooling == "mean over patches" else "all tokens",
            gelu="tanh" if gelu == "tanh" else "none",
        )

    tokens = 1 + FRAMES * (SIDE // PATCH) ** 2
    return WindowBlueprint(
        network=network,
        window_bytes=transformer_bytes(tokens, shape.width, shape.hidden),
        ignored=UNUSED,
        released=released,
    )


ONE_BILLION = blueprint(InternVideo2Shape(1408, 40, 16, 6144))
SIX_BILLION = blueprint(InternVideo2Shape(3200, 48, 25, 12800))
