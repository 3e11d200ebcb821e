"""What video transformers share: pictures cut into patches, and attention over them."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


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
