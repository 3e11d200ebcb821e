"""V-JEPA 2 (Assran et al. 2025, arXiv 2506.09985) and V-JEPA 2.1: encoders on tubes of two frames, placed by rotation.

Queries and keys are rotated by their token's time, row and column; there is no class token and no position table. The
two differ in how: in V-JEPA 2 the angles of a slice of channels are laid out one after the other and repeated as a
block, so that the two members of a pair turn by different angles, and the weights were trained so; in 2.1 a pair has
one angle, and rows and columns are stretched to a grid of 16 whatever the image size. 2.1 also adds a vector per kind
of input, video or image, and has four norms, for the outputs of four blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import Tensor, nn

from tal_cli.extractors.backbones.blueprint import DenseBlueprint
from tal_cli.extractors.backbones.passage import Passage
from tal_cli.extractors.backbones.vit.layers import Mlp, PatchEmbed, attend, picture_side, without_prefixes
from tal_cli.extractors.backbones.vit.tokens import token_blueprint
from tal_cli.extractors.features.contract import FeatureContract

TUBELET, PATCH = 2, 16
SIDE = 256  # pixels, of the images that memory is reckoned for
EPS = 1e-6
BASE = 10000.0  # of the frequencies of rotation
GRID = 16  # rows and columns to which V-JEPA 2.1 stretches positions
LAST, FOUR = "last block, layer norm", "four blocks, layer norms"
# Blocks whose outputs have a norm in V-JEPA 2.1, by depth.
LEVELS = {12: (2, 5, 8, 11), 24: (5, 11, 17, 23), 40: (9, 19, 29, 39), 48: (11, 23, 37, 47)}
# In published files, and read by nothing here.
UNUSED = ("predictor.", "pos_embed")


@dataclass(frozen=True)
class VJepaShape:
    """Sizes of one of the published networks: channels, blocks, heads, hidden channels."""

    width: int
    depth: int
    heads: int
    hidden: int


@dataclass(frozen=True)
class Turn:
    """Cosines and sines [N, head width] by which N tokens are rotated."""

    cos: Tensor
    sin: Tensor

    def __call__(self, vectors: Tensor, heads: int) -> Tensor:
        """Queries or keys [B, N, D], rotated in each head; computed in float32 whatever their type."""
        parts = vectors.unflatten(-1, (heads, -1)).float()
        pairs = parts.unflatten(-1, (-1, 2))
        crossed = torch.stack([-pairs[..., 1], pairs[..., 0]], -1).flatten(-2)
        turned = parts * self.cos[:, None] + crossed * self.sin[:, None]
        return turned.flatten(-2).to(vectors.dtype)


@lru_cache(maxsize=8)
@torch.inference_mode(False)
def turn(grid: tuple[int, int, int], width: int, *, paired: bool, device: torch.device) -> Turn:
    """The rotation of tokens on a grid of (time, rows, columns), in heads of `width` channels; of float64 angles.

    Each axis turns a slice of channels, 2 ⌊⌊width / 3⌋ / 2⌋ of them; those left over stay. paired: as in V-JEPA 2.1.
    """
    slice_width = 2 * (width // 3 // 2)
    half = slice_width // 2
    channel = torch.arange(slice_width, dtype=torch.float64)
    frequency = BASE ** -((channel // 2 if paired else channel % half) / half)
    axes = []
    for axis, count in enumerate(grid):
        position = torch.arange(count, dtype=torch.float64)
        if paired and axis:
            position = position * ((GRID - 1) / max(1, count - 1))
        axes.append(position)
    angles = [position.flatten()[:, None] * frequency for position in torch.meshgrid(*axes, indexing="ij")]
    rest = frequency.new_zeros(len(angles[0]), width - 3 * slice_width)
    whole = torch.cat([*angles, rest], 1)
    return Turn(whole.cos().float().to(device), whole.sin().float().to(device))


class Attention(nn.Module):
    """Self-attention with rotated queries and keys."""

    def __init__(self, shape: VJepaShape) -> None:
        super().__init__()
        self.heads = shape.heads
        self.qkv = nn.Linear(shape.width, 3 * shape.width)
        self.proj = nn.Linear(shape.width, shape.width)

    def forward(self, tokens: Tensor, turned: Turn) -> Tensor:
        q, k, v = self.qkv(tokens).chunk(3, -1)
        return self.proj(attend(turned(q, self.heads), turned(k, self.heads), v, self.heads))


class Block(nn.Module):
    """Attention and MLP, each after a layer norm and added to its input."""

    def __init__(self, shape: VJepaShape) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(shape.width, eps=EPS)
        self.attn = Attention(shape)
        self.norm2 = nn.LayerNorm(shape.width, eps=EPS)
        self.mlp = Mlp(shape.width, shape.hidden)

    def forward(self, tokens: Tensor, turned: Turn) -> Tensor:
        tokens = tokens + self.attn(self.norm1(tokens), turned)
        return tokens + self.mlp(self.norm2(tokens))


class VJepa2(nn.Module):
    """[B, 3, T, H, W], normalised, T even, H and W multiples of 16 -> [B, T / 2, places, width]."""

    any_length = False
    paired = False

    def __init__(self, shape: VJepaShape) -> None:
        super().__init__()
        self.shape = shape
        self.patch_embed = PatchEmbed(shape.width, PATCH, TUBELET)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width, eps=EPS)

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each block."""
        return (self.shape.width,) * self.shape.depth

    def forward(self, images: Tensor) -> Tensor:
        return self.passage(images.shape[2:]).run(self.embed(images))

    def embed(self, images: Tensor) -> Tensor:
        """Tokens [B, N, width] before the first block."""
        return self.patch_embed(images)

    def final(self, tokens: Tensor) -> Tensor:
        """The last block's output, normed."""
        return self.norm(tokens)

    @property
    def block_modules(self) -> list[nn.Module]:
        """The blocks."""
        return list(self.blocks)

    def passage(self, size: Sequence[int]) -> Passage:
        """The pass in steps."""
        times, height, width = -(-size[0] // TUBELET), size[1] // PATCH, size[2] // PATCH
        head_width = self.shape.width // self.shape.heads
        device = self.patch_embed.proj.weight.device
        turned = turn((times, height, width), head_width, paired=self.paired, device=device)
        blocks = [partial(block, turned=turned) for block in self.blocks]
        return Passage(blocks, lambda last: self.final(last).unflatten(1, (times, -1)), times)


class VJepa21(VJepa2):
    """As VJepa2; a single frame takes a path of its own: [B, 3, 1, H, W] -> [B, 1, places, width].

    levels: the outputs of four blocks side by side, shallow first, [B, T / 2, places, 4 width].
    """

    paired = True

    def __init__(self, shape: VJepaShape, *, levels: bool = False) -> None:
        super().__init__(shape)
        del self.norm
        self.levels = levels
        self.norms_block = nn.ModuleList(nn.LayerNorm(shape.width, eps=EPS) for _ in range(4))
        self.patch_embed_img = PatchEmbed(shape.width, PATCH, 1)
        self.video_mod_embed = nn.Parameter(torch.zeros(1, 1, shape.width))
        self.img_mod_embed = nn.Parameter(torch.zeros(1, 1, shape.width))

    def embed(self, images: Tensor) -> Tensor:
        if images.shape[2] == 1:
            return self.patch_embed_img(images) + self.img_mod_embed
        return self.patch_embed(images) + self.video_mod_embed

    def final(self, tokens: Tensor) -> Tensor:
        return self.norms_block[-1](tokens)

    def forward(self, images: Tensor) -> Tensor:
        passage, state = self.passage(images.shape[2:]), self.embed(images)
        if not self.levels:
            return passage.run(state)
        outputs: list[Tensor] = []
        for index, block in enumerate(passage.blocks):
            state = block(state)
            if index in LEVELS[self.shape.depth]:
                outputs.append(self.norms_block[len(outputs)](state))
        return torch.cat(outputs, -1).unflatten(1, (passage.times, -1))


# Names of transformers' files -> those of the original ones; queries, keys and values are joined.
TRANSFORMERS = {
    "encoder.embeddings.patch_embeddings.": "patch_embed.",
    "encoder.layernorm.": "norm.",
    "encoder.layer.": "blocks.",
    ".attention.proj.": ".attn.proj.",
}


def released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names of any published file in the network's layout, transformers' included."""
    if not any("encoder.layer." in name for name in state):
        return without_prefixes(state)
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        name = name.removeprefix("vjepa2.")
        for theirs, ours in TRANSFORMERS.items():
            name = name.replace(theirs, ours)
        found[name] = tensor
    for name in [name for name in found if ".attention.query." in name]:
        parts = [found.pop(name.replace("query", part)) for part in ("query", "key", "value")]
        found[name.replace("attention.query", "attn.qkv")] = torch.cat(parts)
    return found


def blueprint(shape: VJepaShape, *, second: bool) -> DenseBlueprint:
    """The network of that shape over chunks of an even number of frames; second: V-JEPA 2.1."""

    def network(contract: FeatureContract) -> nn.Module:
        side = picture_side(contract)
        if side % PATCH or side < 2 * PATCH:
            raise ValueError(
                f"{contract.extractor} takes images of a multiple of {PATCH} pixels, at least {2 * PATCH}, not"
                f" {side}x{side}"
            )
        return VJepa21(shape, levels=contract.layer == FOUR) if second else VJepa2(shape)

    return token_blueprint(
        network,
        released,
        step=TUBELET,
        places=(SIDE // PATCH) ** 2,
        width=shape.width,
        hidden=shape.hidden,
        ignored=UNUSED,
    )


B = VJepaShape(768, 12, 12, 3072)
L = VJepaShape(1024, 24, 16, 4096)
H = VJepaShape(1280, 32, 16, 5120)
G = VJepaShape(1408, 40, 22, 6144)
GIGANTIC = VJepaShape(1664, 48, 26, 8192)

VJEPA2_L, VJEPA2_H, VJEPA2_G = (blueprint(shape, second=False) for shape in (L, H, G))
VJEPA21_B, VJEPA21_L, VJEPA21_G, VJEPA21_GIGANTIC = (blueprint(shape, second=True) for shape in (B, L, G, GIGANTIC))
