"""VideoMAE V2 (Wang et al. 2023, arXiv 2303.16727): plain vision transformers on tubes of two frames.

The feature is the layer norm of the mean over all tokens. There is no class token; positions are a fixed sine table
that the published files lack; queries and values have a bias, keys have none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal_cli.extractors.backbones.blueprint import DenseBlueprint, WindowBlueprint
from tal_cli.extractors.backbones.passage import Passage
from tal_cli.extractors.backbones.vit.layers import (
    Mlp,
    PatchEmbed,
    attend,
    picture_side,
    transformer_bytes,
    without_prefixes,
)
from tal_cli.extractors.backbones.vit.tokens import token_blueprint
from tal_cli.extractors.features.contract import FeatureContract

TUBELET = 2
FRAMES, TRAINED_SIDE = 16, 224  # of the networks as they were trained
EPS = 1e-6
LAST, NORMED = "last block", "last block, layer norm"


UNUSED = ("head.", "fc_norm.", "cls_head.", "data_preprocessor.", "pos_embed")  # in published files


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
    Positions are those of the table for these frames and this size.
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


class DenseVideoMAE(VideoMAE):
    """[B, 3, FRAMES, H, W] -> tokens [B, FRAMES / 2, places, width], of images of `size` (H, W).

    What remains of a side beyond whole patches is left out. Positions are the table that the network was trained with,
    of images of `trained` pixels, resized. normed: each token is normed as the mean over all is in windows; without it,
    tokens are the last block's output.
    """

    any_length = False

    def __init__(
        self, shape: VideoMAEShape, *, size: tuple[int, int], normed: bool, trained: int = TRAINED_SIDE
    ) -> None:
        super().__init__(shape, frames=FRAMES, size=trained)
        if min(size) < shape.patch:
            raise ValueError(f"sides must be {shape.patch} pixels or more, not {size[1]}x{size[0]}")
        if not normed:
            del self.fc_norm
        self.normed = normed
        self.widths = (shape.width,) * shape.depth
        grid = trained // shape.patch
        table = self.positions.unflatten(0, (-1, grid, grid))
        self.positions = resized_table(table, size[0] // shape.patch, size[1] // shape.patch).flatten(0, 2)

    def forward(self, images: Tensor) -> Tensor:
        return self.passage(images.shape[2:]).run(self.embed(images))

    @property
    def block_modules(self) -> list[nn.Module]:
        """The blocks."""
        return list(self.blocks)

    def embed(self, images: Tensor) -> Tensor:
        """Tokens before the first block."""
        return self.patch_embed(images) + self.positions

    def passage(self, size: Sequence[int]) -> Passage:
        """The pass in steps."""
        times = FRAMES // TUBELET

        def finish(tokens: Tensor) -> Tensor:
            return (self.fc_norm(tokens) if self.normed else tokens).unflatten(1, (times, -1))

        return Passage(list(self.blocks), finish, times)


def resized_table(table: Tensor, rows: int, columns: int) -> Tensor:
    """float32 [T, R, C, width] -> [T, rows, columns, width], each time step as a bicubic image."""
    if table.shape[1:3] == (rows, columns):
        return table
    images = table.permute(0, 3, 1, 2)
    return F.interpolate(images, (rows, columns), mode="bicubic", align_corners=False).permute(0, 2, 3, 1)


def sine_table(tokens: int, width: int) -> Tensor:
    """float32 [tokens, width] on the CPU: sine (even channels j) and cosine (odd) of position / 10000^(2 ⌊j/2⌋ / width)
    (Vaswani et al. 2017, section 3.5), computed in double precision."""
    position = torch.arange(tokens, dtype=torch.float64, device="cpu")[:, None]
    channel = torch.arange(width, dtype=torch.float64, device="cpu")
    angle = position / 10000 ** (2 * (channel // 2) / width)
    return torch.where(channel % 2 == 0, angle.sin(), angle.cos()).float()


# Names of MMAction2's files -> those of the authors'.
MMACTION = {
    "patch_embed.projection.": "patch_embed.proj.",
    ".mlp.layers.0.0.": ".mlp.fc1.",
    ".mlp.layers.1.": ".mlp.fc2.",
}


def released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's names, of the authors' files or of MMAction2's."""
    return {original(name): tensor for name, tensor in without_prefixes(state).items()}


def original(name: str) -> str:
    """One name, as `released`."""
    for theirs, ours in MMACTION.items():
        name = name.replace(theirs, ours)
    return name


def blueprint(shape: VideoMAEShape) -> WindowBlueprint:
    """The network of that shape for features: without class scores, on windows of an even number of frames."""

    def network(contract: FeatureContract) -> nn.Module:
        return VideoMAE(shape, frames=contract.window, size=picture_side(contract))

    return WindowBlueprint(
        network=network,
        window_bytes=transformer_bytes(8 * (224 // shape.patch) ** 2, shape.width, shape.hidden),
        ignored=UNUSED,
        released=released,
    )


def dense_blueprint(shape: VideoMAEShape) -> DenseBlueprint:
    """The network of that shape over chunks of 16 frames, a row per time step."""

    def network(contract: FeatureContract) -> nn.Module:
        if contract.chunk != FRAMES:
            raise ValueError(f"chunk={contract.chunk}: {contract.extractor} takes {FRAMES} frames at once")
        side = picture_side(contract)
        return DenseVideoMAE(shape, size=(side, side), normed=contract.layer == NORMED)

    return token_blueprint(
        network,
        released,
        step=TUBELET,
        places=(TRAINED_SIDE // shape.patch) ** 2,
        width=shape.width,
        hidden=shape.hidden,
        ignored=UNUSED,
    )


SHAPES = {
    "S": VideoMAEShape(384, 12, 6, 1536),
    "B": VideoMAEShape(768, 12, 12, 3072),
    "L": VideoMAEShape(1024, 24, 16, 4096),
    "H": VideoMAEShape(1280, 32, 16, 5120),
    "G": VideoMAEShape(1408, 40, 16, 6144, patch=14),
}
S, B, L, H, G = map(blueprint, SHAPES.values())
DENSE_S, DENSE_B, DENSE_L, DENSE_H, DENSE_G = map(dense_blueprint, SHAPES.values())
