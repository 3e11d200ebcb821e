"""VideoPrism's video encoder (Zhao et al. 2024, arXiv 2402.13217): first over the places of each frame, then over time.

One token per 18 x 18 pixels of a frame, so one time step per frame. Norms multiply by one more than their weight;
attention's logits are capped, which no fused kernel does. Both position tables are resized to other sizes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal_cli.extractors.backbones.blueprint import DenseBlueprint
from tal_cli.extractors.backbones.passage import Passage, Step
from tal_cli.extractors.backbones.vit.layers import Mlp, PatchEmbed, picture_side
from tal_cli.extractors.backbones.vit.tokens import token_blueprint
from tal_cli.extractors.features.contract import FeatureContract

PATCH = 18
SIDE = 288  # pixels, of the images that it was trained on
EPS = 1e-6
CAP = 50.0  # of attention's logits
TEMPORAL, SPATIAL = "temporal part, layer norm", "spatial part, layer norm"


@dataclass(frozen=True)
class VideoPrismShape:
    """Sizes of one of the published networks: channels, spatial and temporal blocks, heads, hidden channels; frames and
    places of its position tables."""

    width: int
    spatial: int
    temporal: int
    heads: int
    hidden: int
    frames: int
    places: int = (SIDE // PATCH) ** 2


class OffsetNorm(nn.LayerNorm):
    """Layer norm whose weight is stored less 1."""

    def forward(self, tokens: Tensor) -> Tensor:
        return F.layer_norm(tokens, self.normalized_shape, 1 + self.weight, self.bias, self.eps)


class Attention(nn.Module):
    """Self-attention with capped logits."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(width, width) for _ in range(4))

    def forward(self, tokens: Tensor) -> Tensor:
        q, k, v = (
            layer(tokens).unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for layer in (self.q_proj, self.k_proj, self.v_proj)
        )
        logits = (q @ k.transpose(-2, -1)).float() / q.shape[-1] ** 0.5
        weights = (CAP * torch.tanh(logits / CAP)).softmax(-1).to(v.dtype)
        return self.o_proj((weights @ v).transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and MLP, each after a norm and added to its input."""

    def __init__(self, shape: VideoPrismShape) -> None:
        super().__init__()
        self.layernorm_before = OffsetNorm(shape.width, eps=EPS)
        self.attention = Attention(shape.width, shape.heads)
        self.layernorm_after = OffsetNorm(shape.width, eps=EPS)
        self.mlp = Mlp(shape.width, shape.hidden)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.attention(self.layernorm_before(tokens))
        return tokens + self.mlp(self.layernorm_after(tokens))


class PatchLayer(nn.Module):
    """`PatchEmbed` under the name that the published files have."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.projection = PatchEmbed(width, PATCH, 1).proj

    def forward(self, images: Tensor) -> Tensor:
        """[n, 3, H, W] -> [n, places, width]."""
        patches = images.unfold(2, PATCH, PATCH).unfold(3, PATCH, PATCH)  # [n, 3, rows, columns, 18, 18]
        flat = patches.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)
        weight = self.projection.weight
        return F.linear(flat.to(weight.dtype), weight.flatten(1), self.projection.bias)


class SpatialEmbeddings(nn.Module):
    """Patches of each frame, and a position table over its places."""

    def __init__(self, shape: VideoPrismShape) -> None:
        super().__init__()
        self.patch_embeddings = PatchLayer(shape.width)
        self.position_embeddings = nn.Parameter(torch.zeros(1, shape.places, shape.width))

    def forward(self, images: Tensor) -> Tensor:
        side = round(self.position_embeddings.shape[1] ** 0.5)
        table = self.position_embeddings.unflatten(1, (side, side))
        rows, columns = images.shape[2] // PATCH, images.shape[3] // PATCH
        return self.patch_embeddings(images) + resized(table, rows, columns).flatten(1, 2)


class TemporalEmbeddings(nn.Module):
    """A position table over frames."""

    def __init__(self, shape: VideoPrismShape) -> None:
        super().__init__()
        self.position_embeddings = nn.Parameter(torch.zeros(1, shape.frames, shape.width))

    def forward(self, tokens: Tensor) -> Tensor:
        """[n, T, width] with positions added."""
        return tokens + resized(self.position_embeddings[:, :, None], tokens.shape[1], 1).flatten(1, 2)


def resized(table: Tensor, rows: int, columns: int) -> Tensor:
    """[1, R, C, width] -> [1, rows, columns, width], bilinear with antialias."""
    if table.shape[1:3] == (rows, columns):
        return table
    image = table.float().permute(0, 3, 1, 2)
    return F.interpolate(image, (rows, columns), mode="bilinear", antialias=True).permute(0, 2, 3, 1).to(table.dtype)


class VideoPrism(nn.Module):
    """[B, 3, T, H, W] in 0..1, H and W multiples of 18 -> [B, T, places, width].

    layer: whose tokens, TEMPORAL or SPATIAL, which sees each frame alone.
    """

    any_length = False

    def __init__(self, shape: VideoPrismShape, *, layer: str = TEMPORAL) -> None:
        super().__init__()
        self.layer = layer
        self.widths = (shape.width,) * (shape.spatial + (0 if layer == SPATIAL else shape.temporal))
        self.spatial_embeddings = SpatialEmbeddings(shape)
        self.spatial_layers = nn.ModuleList(Block(shape) for _ in range(shape.spatial))
        self.layernorm1 = OffsetNorm(shape.width, eps=EPS)
        self.temporal_embeddings = TemporalEmbeddings(shape)
        self.temporal_layers = nn.ModuleList(Block(shape) for _ in range(shape.temporal))
        self.layernorm2 = OffsetNorm(shape.width, eps=EPS)

    def forward(self, images: Tensor) -> Tensor:
        tokens = self.layernorm1(self.spatial(images))
        return tokens if self.layer == SPATIAL else self.temporal(tokens)

    @property
    def block_modules(self) -> list[nn.Module]:
        """The blocks of both parts."""
        return [*self.spatial_layers, *self.temporal_layers][: len(self.widths)]

    def embed(self, images: Tensor) -> Tensor:
        """Tokens [B, T * places, width] before the first block."""
        tokens = self.spatial_embeddings(images.transpose(1, 2).flatten(0, 1))
        return tokens.unflatten(0, (len(images), -1)).flatten(1, 2)

    def passage(self, size: Sequence[int]) -> Passage:
        """The pass in steps; the temporal part's first step has the norm and the positions before it."""
        times = size[0]

        def by_frame(block: nn.Module, state: Tensor) -> Tensor:
            return block(state.unflatten(1, (times, -1)).flatten(0, 1)).unflatten(0, (-1, times)).flatten(1, 2)

        def by_place(block: nn.Module, first: bool, state: Tensor) -> Tensor:
            state = self.layernorm1(state) if first else state
            places = state.unflatten(1, (times, -1)).transpose(1, 2)
            rows = places.flatten(0, 1)
            rows = block(self.temporal_embeddings(rows) if first else rows)
            return rows.unflatten(0, places.shape[:2]).transpose(1, 2).flatten(1, 2)

        blocks: list[Step] = [partial(by_frame, block) for block in self.spatial_layers]
        norm = self.layernorm1
        if self.layer == TEMPORAL:
            blocks += [partial(by_place, block, index == 0) for index, block in enumerate(self.temporal_layers)]
            norm = self.layernorm2
        return Passage(blocks, lambda last: norm(last).unflatten(1, (times, -1)), times)

    def spatial(self, images: Tensor) -> Tensor:
        """[B, T, places, width] after the spatial blocks, before their norm."""
        batch = images.shape[0]
        tokens = self.spatial_embeddings(images.transpose(1, 2).flatten(0, 1))
        for block in self.spatial_layers:
            tokens = block(tokens)
        return tokens.unflatten(0, (batch, -1))

    def temporal(self, tokens: Tensor) -> Tensor:
        """[B, T, places, width], over the time of each place."""
        batch = tokens.shape[0]
        places = self.temporal_embeddings(tokens.transpose(1, 2).flatten(0, 1))
        for block in self.temporal_layers:
            places = block(places)
        return self.layernorm2(places).unflatten(0, (batch, -1)).transpose(1, 2)


# Parts of a block in the original files, under `params/PART_encoder/transformers_stack/x_layers/`, all blocks at once.
STACKED = {
    "self_attention/query": "attention.q_proj",
    "self_attention/key": "attention.k_proj",
    "self_attention/value": "attention.v_proj",
    "self_attention/post": "attention.o_proj",
    "layer_norm": "layernorm_before",
    "ff_layer/layer_norm": "layernorm_after",
    "ff_layer/ffn_layer1/linear": "mlp.fc1",
    "ff_layer/ffn_layer2/linear": "mlp.fc2",
}
SINGLE = {
    "params/patch_projection/linear/kernel": "spatial_embeddings.patch_embeddings.projection.weight",
    "params/patch_projection/linear/bias": "spatial_embeddings.patch_embeddings.projection.bias",
    "params/spatial_pos_emb/emb_var": "spatial_embeddings.position_embeddings",
    "params/temporal_pos_emb/emb_var": "temporal_embeddings.position_embeddings",
    "params/spatial_ln/scale": "layernorm1.weight",
    "params/spatial_ln/bias": "layernorm1.bias",
    "params/temporal_ln/scale": "layernorm2.weight",
    "params/temporal_ln/bias": "layernorm2.bias",
}
LEAVES = {"w": "weight", "b": "bias", "kernel": "weight", "scale": "weight", "bias": "bias"}
STACK = re.compile(r"params/(spatial|temporal)_encoder/transformers_stack/x_layers/(.+)/(w|b|kernel|bias|scale)")


def released(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's names and shapes, of transformers' files or of the original ones, which stack all blocks."""
    found: dict[str, Tensor] = {}
    for name, tensor in state.items():
        match = STACK.fullmatch(name)
        if match is not None and match[2] in STACKED:
            for index, part in enumerate(tensor):
                key = f"{match[1]}_layers.{index}.{STACKED[match[2]]}.{LEAVES[match[3]]}"
                found[key] = reshaped(part, match[2], match[3])
        elif name in SINGLE:
            found[SINGLE[name]] = reshaped(tensor, name, name.rpartition("/")[2])
        else:
            found[name.removeprefix("model.").removeprefix("vision_model.")] = tensor
    return found


def reshaped(tensor: Tensor, name: str, leaf: str) -> Tensor:
    """One tensor of an original file in PyTorch's layout."""
    if leaf == "w":
        joined = tensor.flatten(1)
        return joined if name.endswith("post") else joined.T.contiguous()
    if leaf == "b":
        return tensor.flatten()
    if leaf == "emb_var":
        return tensor[None]
    if leaf == "kernel" and name in SINGLE:  # of the patches: pixel by pixel, colours together
        return tensor.unflatten(0, (PATCH, PATCH, 3)).permute(3, 2, 0, 1)[:, :, None].contiguous()
    return tensor.T.contiguous() if leaf == "kernel" else tensor


def blueprint(shape: VideoPrismShape) -> DenseBlueprint:
    """The network of that shape over chunks of any length."""

    def network(contract: FeatureContract) -> nn.Module:
        side = picture_side(contract)
        if side % PATCH:
            raise ValueError(f"{contract.extractor} takes images of a multiple of {PATCH} pixels, not {side}x{side}")
        return VideoPrism(shape, layer=contract.layer)

    return token_blueprint(network, released, step=1, places=shape.places, width=shape.width, hidden=shape.hidden)


B = blueprint(VideoPrismShape(768, 12, 4, 12, 3072, frames=16))
L = blueprint(VideoPrismShape(1024, 24, 4, 16, 4096, frames=8))
