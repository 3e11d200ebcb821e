"""Gated Multi-Granularity encoder (paper, "Encoder with GMG", equations 1 to 4).

The released code differs from the text, and released weights need the released computation, so each
has its own block. Both share the frame: p = pooled input, n = channel norm of p, global g, local and instant branches,
residual, group norm, feed-forward.

released  global filter pointwise in frequency with a soft shrink; instant branch depth-wise; no ReLU gates: local is
          conv times global, instant is fc times local; the residual adds n inside the scaled branch; stem window 1.
paper     equation 2's convolutions run over neighbouring frequencies (depth-wise, kernel 3, real and imaginary part
          together); FC is dense; ReLU gates of equation 4; "the original feature x" of the residual is read as the
          pooled input; the stem uses level 0's window; padding is zeroed before and after every block.

The paper's ablations are settings: without some branches (table 6), where a branch is gated by the next coarser one
there is; without gates (table 7); with self-attention as the global branch (table 8).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.encoders.block_pyramid import BlockPyramid
from tal_cli.models.layers.common import ChannelNorm, ColumnLinear, DepthwiseConv1d, ScaledDropPath, apply_mask
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.encoders import NORM_GROUPS, AttentionBranch, FilterBranch, GmgSettings

SHRINK = 0.001  # soft threshold on the released filter
FREQUENCY_KERNEL = 3  # paper, section C
FILTER_START = 0.02  # initial standard deviation of the filters' weights


class GlobalFilter(nn.Module):
    """Released global filter: X * shrink(W2 ReLU(W1 X + B1) + B2), every factor one complex number per channel.

    Always float32: half types have no FFT on most devices.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight_in = nn.Parameter(FILTER_START * torch.randn(width, 2))
        self.bias_in = nn.Parameter(FILTER_START * torch.randn(width, 2))
        self.weight_out = nn.Parameter(FILTER_START * torch.randn(width, 2))
        self.bias_out = nn.Parameter(FILTER_START * torch.randn(width, 2))

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, D, T] -> [B, D, T]; padding takes part in the transform, so the mask is of no use."""
        with torch.autocast(x.device.type, enabled=False):
            spectrum = torch.fft.rfft(x.float(), norm="ortho")
            hidden = spectrum * _per_channel(self.weight_in) + _per_channel(self.bias_in)
            hidden = torch.view_as_complex(F.relu(torch.view_as_real(hidden)))
            gate = hidden * _per_channel(self.weight_out) + _per_channel(self.bias_out)
            gate = torch.view_as_complex(F.softshrink(torch.view_as_real(gate), SHRINK))
            return torch.fft.irfft(spectrum * gate, n=x.shape[-1], norm="ortho").to(x.dtype)


class PaperGlobalFilter(nn.Module):
    """Equations 1 to 3: X * Conv(ReLU(Conv(X))), depth-wise convolutions over frequency on real and imaginary parts."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv_in, self.conv_out = (
            nn.Conv1d(2 * width, 2 * width, FREQUENCY_KERNEL, padding=FREQUENCY_KERNEL // 2, groups=width)
            for _ in range(2)
        )
        _zero_biases(self.conv_in, self.conv_out)
        # A filter's output grows with the square of the spectrum, whose low frequencies are large: initial weights
        # of the usual size would dominate all other branches.
        for conv in (self.conv_in, self.conv_out):
            nn.init.normal_(conv.weight, 0, FILTER_START)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, D, T] -> [B, D, T]; padding, which is zero, takes part in the transform."""
        with torch.autocast(x.device.type, enabled=False):
            spectrum = torch.fft.rfft(x.float(), norm="ortho")
            parts = torch.stack((spectrum.real, spectrum.imag), 2).flatten(1, 2)
            gate = _float_conv(self.conv_out, F.relu(_float_conv(self.conv_in, parts)))
            gate = torch.complex(*gate.unflatten(1, (-1, 2)).unbind(2))
            return torch.fft.irfft(spectrum * gate, n=x.shape[-1], norm="ortho").to(x.dtype)


class GlobalAttention(nn.Module):
    """Self-attention over all valid cells, in place of a global filter (paper, table 8)."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)
        _zero_biases(self.project_in, self.project_out)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """[B, D, T], mask bool [B, 1, T] or None -> [B, D, T]."""
        projected = self.project_in(x.transpose(1, 2)).unflatten(2, (3, self.heads, -1))
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(query, key, value, None if mask is None else mask[:, None])
        rows: Tensor = self.project_out(attended.transpose(1, 2).flatten(2))
        return rows.transpose(1, 2)


def create_global_branch(config: ModelConfig, branch: FilterBranch | AttentionBranch) -> nn.Module:
    """The global branch that the settings choose, maps (x [B, D, T], mask bool [B, 1, T] or None) to [B, D, T]."""
    if isinstance(branch, AttentionBranch):
        return GlobalAttention(config.width, heads=branch.heads)
    return PaperGlobalFilter(config.width) if config.variant == "paper" else GlobalFilter(config.width)


class GmgBlock(nn.Module):
    """One GMG block; `downsample` halves the length first (max pooling, kernel 3, stride 2)."""

    def __init__(
        self, config: ModelConfig, settings: GmgSettings, *, window: int, downsample: bool, drop_path: float
    ) -> None:
        super().__init__()
        width, mlp_width = config.width, settings.mlp_width
        self.paper, self.gated, self.downsample = config.variant == "paper", settings.gate, downsample
        self.norm = ChannelNorm(width)
        there = settings.branches
        self.filter = create_global_branch(config, settings.global_branch) if "global" in there else None
        self.instant = self._instant(width) if "instant" in there else None
        self.local = DepthwiseConv1d(width, window) if "local" in there else None
        self.ffn_norm = nn.GroupNorm(NORM_GROUPS, width)
        self.ffn_in = ColumnLinear(width, mlp_width)
        self.ffn_out = ColumnLinear(mlp_width, width)
        scale, rate = (settings.branch_scale, drop_path) if downsample else (None, 0.0)
        self.drop_mix = ScaledDropPath(width, scale, rate)
        self.drop_ffn = ScaledDropPath(width, scale, rate)
        self._initialise(settings.conv_init_std)

    def _instant(self, width: int) -> nn.Conv1d:
        return nn.Conv1d(width, width, 1) if self.paper else DepthwiseConv1d(width, 1)

    def _initialise(self, deviation: float) -> None:
        _zero_biases(self.ffn_in, self.ffn_out, *(conv for conv in (self.instant, self.local) if conv is not None))
        for conv in (self.instant, self.local):
            if conv is not None and not self.paper:
                nn.init.normal_(conv.weight, 0, deviation)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """[B, D, T] -> [B, D, T or T/2]; mask is the output's validity, bool [B, 1, ...], None: all valid."""
        if self.downsample:
            x = F.max_pool1d(x, 3, stride=2, padding=1)
        skip = apply_mask(x, mask)
        hidden = skip + self.drop_mix(self._mix_paper(skip, mask) if self.paper else self._mix_released(x, mask))
        hidden = hidden + self.drop_ffn(self.ffn_out(F.gelu(self.ffn_in(self.ffn_norm(hidden)))))
        return apply_mask(hidden, mask) if self.paper else hidden

    def _mix_released(self, x: Tensor, mask: Tensor | None) -> Tensor:
        x = self.norm(x)
        if self.filter is None or self.local is None or self.instant is None or not self.gated:
            return x + self._branches(x, mask, lambda coarser: coarser)
        # instant + local + global = fc * (conv * g) + conv * g + g
        return torch.addcmul(x, self.filter(x, mask), 1 + self.local(x) * (1 + self.instant(x)))

    def _mix_paper(self, x: Tensor, mask: Tensor | None) -> Tensor:
        return self._branches(apply_mask(self.norm(x), mask), mask, F.relu)

    def _branches(self, x: Tensor, mask: Tensor | None, gate: Callable[[Tensor], Tensor]) -> Tensor:
        """Sum of the configured branches, each times the gate from the next coarser one (equation 4)."""
        found: list[Tensor] = [] if self.filter is None else [self.filter(x, mask)]
        for conv in (self.local, self.instant):
            if conv is not None:
                own = conv(x)
                found.append(gate(found[-1]) * own if found and self.gated else own)
        return functools.reduce(torch.add, reversed(found))


class GmgEncoder(BlockPyramid):
    """Stem blocks at full length, then one pooling block per further level."""

    def __init__(self, config: ModelConfig, settings: GmgSettings, drop_path: float) -> None:
        windows = settings.level_windows(config.levels)
        stem_window = windows[0] if config.variant == "paper" else 1
        super().__init__(
            (
                GmgBlock(config, settings, window=stem_window, downsample=False, drop_path=drop_path)
                for _ in range(settings.stem_blocks)
            ),
            (GmgBlock(config, settings, window=window, downsample=True, drop_path=drop_path) for window in windows[1:]),
        )

    def forward(self, x: Tensor, masks: Sequence[Tensor | None]) -> list[Tensor]:
        """x rows [B, T, D], masks per level (bool [B, T_l, 1], None: all valid) -> rows [B, T_l, D] per level."""
        # Transforms over time want each channel's cells side by side.
        x = x.transpose(1, 2).contiguous()
        column_masks = [None if mask is None else mask.transpose(1, 2) for mask in masks]
        return [level.transpose(1, 2) for level in super().forward(x, column_masks)]


def _zero_biases(*modules: nn.Conv1d | nn.Linear) -> None:
    """Initialises biases to zero, as in every convolution and linear map of the published encoders."""
    for module in modules:
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _float_conv(conv: nn.Conv1d, x: Tensor) -> Tensor:
    assert conv.bias is not None
    return F.conv1d(x, conv.weight.float(), conv.bias.float(), padding=conv.padding, groups=conv.groups)


def _per_channel(parameter: Tensor) -> Tensor:
    """[D, 2] real and imaginary -> complex [D, 1], in float32."""
    return torch.view_as_complex(parameter.float())[:, None]
