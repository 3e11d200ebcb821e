"""What video transformers share: pictures cut into patches, and attention over them."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn

from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.preprocessing_spec import Crop, Resize

# What published files have before the names of a backbone, from the outside inwards.
PREFIXES = ("module.", "model.", "backbone.", "vision_encoder.", "encoder.")


class PatchEmbed(nn.Module):
    """[B, C, T, H, W] -> [B, T' H' W', width], a vector per patch of `tubelet` frames and `patch` × `patch` pixels.

    The weights are those of the convolution that the published files hold. As its stride is its kernel, it is one
    matrix product here, which every device has a fast kernel for.
    """

    def __init__(self, width: int, patch: int, tubelet: int, channels: int = 3) -> None:
        super().__init__()
        kernel = (tubelet, patch, patch)
        self.proj = nn.Conv3d(channels, width, kernel, stride=kernel)

    def forward(self, pictures: Tensor) -> Tensor:
        tubelet, patch, _ = self.proj.kernel_size
        tokens = pictures.unfold(2, tubelet, tubelet).unfold(3, patch, patch).unfold(4, patch, patch)
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
    """Pixels of the square pictures that a contract makes. Raises ValueError where they are not all that."""
    size = Crop.parse(contract.crop).size or Resize.parse(contract.resize).size
    if not isinstance(size, tuple) or size[0] != size[1]:
        raise ValueError(
            f"{contract.extractor} takes square pictures, not resize={contract.resize} crop={contract.crop}"
        )
    return size[0]


def transformer_bytes(tokens: int, width: int, hidden: int) -> int:
    """What one window takes in a forward pass, in single precision: its tokens, and what an MLP or attention makes."""
    return 4 * tokens * (3 * width + max(2 * hidden, 4 * width))


def without_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Names as the network has them; of a model of several parts, the vision encoder alone."""
    part = {key: value for key, value in state.items() if "vision_encoder." in key} or state
    found = dict(part)
    for prefix in PREFIXES:
        found = {key.removeprefix(prefix): value for key, value in found.items()}
    return found
