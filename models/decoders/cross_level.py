"""Features of neighbouring levels brought together (paper, equations 5 to 9), on the packed pyramid as rows [B, S, D].

All levels go through one matrix product each way: levels start at even packed cells and zero gaps lie between them, so
that resampling by two never mixes levels.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from models.architectures import ModelConfig
from models.layers import convolve_rows
from models.pyramid import PyramidLayout

PAPER_KERNEL = 3  # paper, section C


class CrossGate(nn.Module):
    """P_l + sigmoid(FC(average over time of ReLU(f + W P_l))) * f, f the resampled neighbour (equations 5 to 8)."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.refine = nn.Conv1d(width, width, kernel, padding=kernel // 2)
        self.gate = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor, refined: Tensor, neighbour: Tensor, mask: Tensor | None) -> Tensor:
        """x, `refine` of x and the resampled neighbour, rows [B, T_l, D] -> [B, T_l, D].

        With a mask (bool [B, T_l, 1]) only valid cells are averaged; the released code averages padding as well.
        """
        hidden = F.relu(neighbour + refined)
        if mask is None:
            mean = hidden.mean(1, keepdim=True)
        else:
            valid = mask.to(hidden.dtype)
            mean = (hidden * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True).clamp(min=1)
        gate = torch.sigmoid(self.gate(mean.transpose(1, 2))).transpose(1, 2)
        return torch.addcmul(x, gate, neighbour)


class CrossLevel(nn.Module):
    """From the pyramid P to the three sets of features that the class, regression and refinement heads read."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        width = config.width
        self.paper = config.variant == "paper"
        kernel = PAPER_KERNEL if self.paper else 1
        self.up_gate, self.up_fusion = (
            nn.ConvTranspose1d(width, width, 3, stride=2, padding=1, output_padding=1) for _ in range(2)
        )
        self.down_gate, self.down_fusion = (
            nn.Conv1d(width, width, 3, stride=2, padding=1, groups=groups) for groups in (1, width if self.paper else 1)
        )
        self.class_gate = CrossGate(width, kernel)
        self.regression_gate = CrossGate(width, kernel)

    def forward(self, x: Tensor, layout: PyramidLayout, masks: list[Tensor | None]) -> tuple[Tensor, Tensor, Tensor]:
        """Packed P [B, S, D] with zero gaps, masks bool [B, T_l, 1] -> features for classification, regression and
        refinement, packed alike."""
        top = len(layout.lengths) - 1
        if top == 0:
            return x, x, x
        second, last = layout.starts[1], layout.starts[top]
        up_gate, up_fusion = self._upsample(x[:, second:])
        down_gate, down_fusion = self._downsample(x[:, :last])
        for_class = _same_length(self.class_gate.refine, x[:, :last])
        for_regression = _same_length(self.regression_gate.refine, x[:, second:])
        pieces: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
        for level, (start, length) in enumerate(zip(layout.starts, layout.lengths, strict=True)):
            features = class_features = regression_features = fusion = x[:, start : start + length]
            mask = masks[level] if self.paper else None
            outermost = level in (0, top)
            if level < top and not (self.paper and outermost):
                cells = slice(at := 2 * (layout.starts[level + 1] - second), at + length)
                refined = for_class[:, start : start + length]
                class_features = self.class_gate(features, refined, up_gate[:, cells], mask)
                fusion = fusion + up_fusion[:, cells]
            if level > 0 and not (self.paper and outermost):
                cells = slice(at := layout.starts[level - 1] // 2, at + length)
                refined = for_regression[:, start - second : start - second + length]
                regression_features = self.regression_gate(features, refined, down_gate[:, cells], mask)
                fusion = fusion + down_fusion[:, cells]
            for found, piece in zip(pieces, (class_features, regression_features, fusion), strict=True):
                found.append(piece)
        classes, regressions, fusions = (layout.pack(found, dim=1) for found in pieces)
        return classes, regressions, fusions

    def _upsample(self, x: Tensor) -> tuple[Tensor, ...]:
        """Both transposed convolutions of rows [B, n, D] -> [B, 2n, D] each."""
        taps = torch.cat((self.up_gate.weight, self.up_fusion.weight), 1).permute(2, 1, 0)  # [3, 2D, D]
        bias = _both_biases(self.up_gate, self.up_fusion)
        # Even and odd outputs of a row side by side are two rows one after the other.
        out = F.linear(x, torch.cat((taps[1], taps[2])), torch.cat((bias, bias)))
        out[:, :-1, len(bias) :] += F.linear(x[:, 1:], taps[0].contiguous())
        return out.view(x.shape[0], 2 * x.shape[1], -1).chunk(2, -1)

    def _downsample(self, x: Tensor) -> tuple[Tensor, ...]:
        """Both strided convolutions of rows [B, 2n, D] -> [B, n, D] each."""
        pairs = x.reshape(x.shape[0], -1, 2 * x.shape[2])  # rows 2i and 2i + 1, the centre and the right tap
        left = x[:, 1:-1:2]
        bias = _both_biases(self.down_gate, self.down_fusion)
        convs = (self.down_gate,) if self.paper else (self.down_gate, self.down_fusion)
        taps = torch.cat([conv.weight for conv in convs])  # [D or 2D, D, 3]
        out = F.linear(pairs, torch.cat((taps[:, :, 1], taps[:, :, 2]), 1))
        out[:, 1:] += F.linear(left, taps[:, :, 0].contiguous())
        if self.paper:
            weight = self.down_fusion.weight[:, 0].t()
            fusion = x[:, 0::2] * weight[1] + x[:, 1::2] * weight[2] + F.pad(left, (0, 0, 1, 0)) * weight[0]
            out = torch.cat((out, fusion), -1)
        return (out + bias).chunk(2, -1)


def _same_length(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """A convolution that keeps the length, on rows; kernel 1 is a matrix product."""
    if conv.kernel_size[0] == 1:
        return F.linear(x, conv.weight[:, :, 0], conv.bias)
    return convolve_rows(x, conv.weight, conv.bias).transpose(1, 2)


def _both_biases(first: nn.Conv1d | nn.ConvTranspose1d, second: nn.Conv1d | nn.ConvTranspose1d) -> Tensor:
    assert first.bias is not None and second.bias is not None
    return torch.cat((first.bias, second.bias))
