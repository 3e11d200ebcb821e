"""Layers shared by video transformers: patch embedding and attention."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.preprocessing_spec import Crop, Resize

# Prefixes of a backbone's names in published files, outermost first.
PREFIXES = ("module.", "model.", "backbone.", "vision_encoder.", "encoder.")


class PatchEmbed(nn.Module):
    """[B, C, T, H, W] -> [B, T' H' W', width], a vector per patch of `tubelet` frames and `patch` × `patch` pixels.

    The weights are those of the convolution that the published files hold. As its stride equals its kernel, it is one
    matrix product here, for which every device has a fast kernel.
    """

    def __init__(self, width: int, patch: int, tubelet: int, channels: int = 3) -> None:
        super().__init__()
        kernel = (tubelet, patch, patch)
        self.proj = nn.Conv3d(channels, width, kernel, stride=kernel)

    def forward(self, images: Tensor) -> Tensor:
        tubelet, patch, _ = self.proj.kernel_size
        tokens = images.unfold(2, tubelet, tubelet).unfold(3, patch, patch).unfold(4, patch, patch)
        flat = tokens.permute(0, 2, 3, 4, 1, 5, 6, 7).flatten(4).flatten(1, 3)
        weight = self.proj.weight
        return F.linear(flat.to(weight.dtype), weight.flatten(1), self.proj.bias)


def attend(q: Tensor, k: Tensor, v: Tensor, heads: int) -> Tensor:
    """Attention of several heads, softmax(q k / sqrt(head width)) v. q: [B, M, D]; k, v: [B, N, D] -> [B, M, D]."""
    q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


class Mlp(nn.Module):
    """Two linear layers with a GELU between them; `gelu` is "none" (exact) or "tanh", as torch names them."""

    def __init__(self, width: int, hidden: int, gelu: str = "none") -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)
        self.gelu = gelu

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens), approximate=self.gelu))


def picture_side(contract: FeatureContract) -> int:
    """Side in pixels of the square images that a contract produces. Raises ValueError if they are not square."""
    size = Crop.parse(contract.crop).size or Resize.parse(contract.resize).size
    if not isinstance(size, tuple) or size[0] != size[1]:
        raise ValueError(f"{contract.extractor} takes square images, not resize={contract.resize} crop={contract.crop}")
    return size[0]


def transformer_bytes(tokens: int, width: int, hidden: int) -> int:
    """Memory of one window in a single-precision forward pass: its tokens, and intermediates of MLP or attention."""
    return 4 * tokens * (3 * width + max(2 * hidden, 4 * width))


def without_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The network's names; of a model of several parts, those of the vision encoder only."""
    part = {key: value for key, value in state.items() if "vision_encoder." in key} or state
    found = dict(part)
    for prefix in PREFIXES:
        found = {key.removeprefix(prefix): value for key, value in found.items()}
    return found
