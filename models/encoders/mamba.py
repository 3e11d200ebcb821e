"""ActionMamba's encoder (Chen et al. 2024, "Video Mamba Suite"): bidirectional selective state spaces.

The block DBM ("decomposed bidirectional") splits its input projection between the two directions; both use the same
convolution, projections and decays, one on the reversed sequence. Only the mixing branch is masked, so that padding
takes part in the backward scan, as published. A branch block mixes at its input's length and then pools.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.encoders.block_pyramid import PairedPyramid
from tal_cli.models.layers.common import ChannelNorm, ScaledDropPath, apply_mask, max_pool_rows
from tal_cli.models.layers.selective_scan import selective_scan
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.encoders import MambaSettings

STEPS = (1e-3, 0.1)  # smallest and largest initial step, from the step projection's bias


class BidirectionalMamba(nn.Module):
    """Rows to rows: gated selective scans over both directions of time, with shared weights.

    expansion: channels of the scan per channel. branches: gated mixtures of each direction, of which the scan is one.
    """

    def __init__(self, width: int, *, state: int, kernel: int, expansion: int = 1, branches: int = 1) -> None:
        super().__init__()
        self.state, self.rank = state, math.ceil(width / 16)
        inner = expansion * width
        self.project_in = nn.Linear(width, 4 * branches * inner, bias=False)
        self.conv = nn.Conv1d(inner, inner, kernel, groups=inner)
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)
        self.project_scan = nn.Linear(inner, self.rank + 2 * state, bias=False)
        self.project_step = nn.Linear(self.rank, inner)
        self.log_decay = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(inner, 1))
        self.skip = nn.Parameter(torch.ones(inner))
        self.project_out = nn.Linear(2 * branches * inner, width, bias=False)
        self._initialise_steps()

    def _initialise_steps(self) -> None:
        """Initialises steps log-uniformly in STEPS, through the inverse of softplus (Gu and Dao 2024)."""
        nn.init.uniform_(self.project_step.weight, -(self.rank**-0.5), self.rank**-0.5)
        low, high = (math.log(step) for step in STEPS)
        steps = torch.exp(low + (high - low) * torch.rand(self.project_step.out_features)).clamp(min=1e-4)
        with torch.no_grad():
            self.project_step.bias.copy_(steps + torch.log(-torch.expm1(-steps)))

    def forward(self, x: Tensor) -> Tensor:
        """[B, T, D] -> [B, T, D]."""
        forward, backward = self.project_in(x).chunk(2, -1)
        # Weights are shared, so both directions are one batch.
        there, back = self.mix(torch.cat((forward, backward.flip(1)))).chunk(2)
        mixed: Tensor = self.project_out(torch.cat((there, back.flip(1)), -1))
        return mixed

    def mix(self, x: Tensor) -> Tensor:
        """Projected rows, of both directions [2 B, T, 2 E] -> [2 B, T, E]."""
        values, gate = x.chunk(2, -1)
        return self._scan(values) * F.silu(gate)

    def _scan(self, x: Tensor) -> Tensor:
        """Causal convolution and selective scan of [B, T, D]."""
        x = F.silu(self._convolve(x))
        step, inputs, outputs = self.project_scan(x).split((self.rank, self.state, self.state), -1)
        delta = F.softplus(self.project_step(step).float())
        return selective_scan(x, delta, -torch.exp(self.log_decay.float()), inputs, outputs, self.skip)

    def _convolve(self, x: Tensor) -> Tensor:
        """Depth-wise convolution over a cell and those before it, as one multiply-add per tap."""
        taps, length = self.conv.kernel_size[0], x.shape[1]
        padded = F.pad(x, (0, 0, taps - 1, 0))
        assert self.conv.bias is not None
        out = self.conv.bias.to(x.dtype)
        for tap in range(taps):
            out = torch.addcmul(out, padded[:, tap : tap + length], self.conv.weight[:, 0, tap].to(x.dtype))
        return out


class MambaBlock(nn.Module):
    """x + scale * mamba(norm(x)), then, in branch blocks, max pooling by two."""

    def __init__(self, width: int, settings: MambaSettings, *, downsample: bool, drop_path: float) -> None:
        super().__init__()
        self.downsample = downsample
        self.norm = ChannelNorm(width)
        self.mamba = BidirectionalMamba(width, state=settings.state, kernel=settings.kernel)
        self.drop_mix = ScaledDropPath(width, settings.branch_scale, drop_path)

    def forward(self, x: Tensor, mask: Tensor | None, mask_out: Tensor | None) -> Tensor:
        """Rows [B, T, D] with their validity, bool [B, T, 1] -> [B, T or T/2, D], masked by `mask_out` where halved."""
        mixed = apply_mask(self.mamba(self.norm.rows(x)), mask)
        x = self.drop_mix.add(x, mixed)
        return apply_mask(max_pool_rows(x), mask_out) if self.downsample else x


class MambaEncoder(PairedPyramid):
    """Stem blocks at full length, then one pooling block per further level."""

    def __init__(self, config: ModelConfig, settings: MambaSettings, drop_path: float) -> None:
        super().__init__(
            *(
                [MambaBlock(config.width, settings, downsample=halved, drop_path=drop_path) for _ in range(count)]
                for halved, count in ((False, settings.stem_blocks), (True, config.levels - 1))
            )
        )
