"""Fusion of features of neighbouring levels (paper, equations 5 to 9), on the packed pyramid as rows [B, S, D].

One matrix product per direction serves all levels: they start at even packed cells with zero gaps between them, so
that resampling by two never mixes levels.

The paper's ablations are settings: which neighbours join a level for classification and regression (table 9), and how
(table 11): gated by attention, added, or side by side through a linear map. The refinement's features are always sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tal_cli.models.layers.common import convolve_rows
from tal_cli.models.layers.pyramid import PyramidLayout, cut
from tal_cli.models.recipe.architecture import ModelConfig
from tal_cli.models.recipe.decoders import CltdrSettings, Neighbour

PAPER_KERNEL = 3  # paper, section C


class AttentionJoin(nn.Module):
    """P_l + sigmoid(FC(average over time of ReLU(f + W P_l))) * f, f the resampled neighbour (equations 5 to 8)."""

    def __init__(self, width: int, kernel: int) -> None:
        super().__init__()
        self.refine = nn.Conv1d(width, width, kernel, padding=kernel // 2)
        self.gate = nn.Conv1d(width, width, 1)

    def prepare(self, x: Tensor) -> Tensor:
        """A level's own term, W P_l, for several packed levels at once."""
        return _same_length(self.refine, x)

    def forward(self, x: Tensor, refined: Tensor, neighbour: Tensor, mask: Tensor | None) -> Tensor:
        """x, `prepare` of P_l and the resampled neighbour, rows [B, T_l, D] -> [B, T_l, D].

        With a mask (bool [B, T_l, 1]) only valid cells are averaged; the released code averages padding as well.
        """
        hidden = F.relu(neighbour + refined)
        if mask is None:
            mean = hidden.mean(1, keepdim=True)
        else:
            valid = mask.to(hidden.dtype)
            mean = (hidden * valid).sum(1, keepdim=True) / valid.sum(1, keepdim=True).clamp(min=1)
        return torch.addcmul(x, torch.sigmoid(_same_length(self.gate, mean)), neighbour)


class AdditionJoin(nn.Module):
    """P_l + f."""

    def prepare(self, x: Tensor) -> Tensor:
        """Returns the rows unchanged."""
        return x

    def forward(self, x: Tensor, refined: Tensor, neighbour: Tensor, mask: Tensor | None) -> Tensor:
        """x and the resampled neighbour, rows [B, T_l, D] -> [B, T_l, D]."""
        return x + neighbour


class ConcatenationJoin(AdditionJoin):
    """W [P_l, f]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.mix = nn.Linear(2 * width, width)

    def forward(self, x: Tensor, refined: Tensor, neighbour: Tensor, mask: Tensor | None) -> Tensor:
        """x and the resampled neighbour, rows [B, T_l, D] -> [B, T_l, D]."""
        mixed: Tensor = self.mix(torch.cat((x, neighbour), -1))
        return mixed


# name -> factory(width, kernel of a level's own features)
JOINS: dict[str, Callable[[int, int], nn.Module]] = {
    "attention": AttentionJoin,
    "addition": lambda width, kernel: AdditionJoin(),
    "concatenation": lambda width, kernel: ConcatenationJoin(width),
}


@dataclass(frozen=True)
class Link:
    """One neighbour joining a level for one task; names of the modules that resample it and join it."""

    task: int
    above: bool
    resample: str
    join: str


CLASSES, REGRESSION, REFINEMENT = range(3)
LINKS = (
    Link(CLASSES, True, "up_gate", "class_gate"),
    Link(REGRESSION, True, "regression_up", "regression_up_gate"),
    Link(REFINEMENT, True, "up_fusion", "sum"),
    Link(CLASSES, False, "class_down", "class_down_gate"),
    Link(REGRESSION, False, "down_gate", "regression_gate"),
    Link(REFINEMENT, False, "down_fusion", "sum"),
)


class CrossLevel(nn.Module):
    """From the pyramid P to the three sets of features that the class, regression and refinement heads read."""

    def __init__(self, config: ModelConfig, settings: CltdrSettings) -> None:
        super().__init__()
        self.paper = config.variant == "paper"
        refined: tuple[Neighbour, ...] = ("above", "below") if settings.refine != "neither" else ()
        tasks = (settings.class_levels, settings.regression_levels, refined)
        # The paper's variant changes intermediate levels only; a pyramid without any has no parameters here.
        joined = config.levels > (2 if self.paper else 1)
        wanted = {(task, side == "above") for task, sides in enumerate(tasks) for side in sides if joined}
        self.links = tuple(link for link in LINKS if (link.task, link.above) in wanted)
        width, kernel = config.width, PAPER_KERNEL if self.paper else 1
        for link in self.links:
            depthwise = self.paper and link.task == REFINEMENT
            self.add_module(link.resample, _upsampling(width) if link.above else _downsampling(width, depthwise))
        self.sum = AdditionJoin()
        for link in self.links:
            if link.task != REFINEMENT:
                self.add_module(link.join, JOINS[settings.fusion](width, kernel))

    def forward(self, x: Tensor, layout: PyramidLayout, masks: list[Tensor | None]) -> tuple[Tensor, Tensor, Tensor]:
        """Packed P [B, S, D] with zero gaps, masks bool [B, T_l, 1] -> features for classification, regression and
        refinement, packed alike."""
        if not self.links:
            return x, x, x
        top = len(layout.lengths) - 1
        second, last = layout.starts[1], layout.starts[top]
        resampled = self._upsample(x[:, second:]) | self._downsample(x[:, :last])
        prepared = {link: self._join(link).prepare(x[:, :last] if link.above else x[:, second:]) for link in self.links}
        neighbours = {link: _by_level(resampled[link], layout, link, resampled=True) for link in self.links}
        refined = {link: _by_level(prepared[link], layout, link, resampled=False) for link in self.links}
        pieces: tuple[list[Tensor], ...] = ([], [], [])
        for level, own in enumerate(layout.split(x)):
            features = [own] * len(pieces)
            mask = masks[level] if self.paper else None
            for link in () if self.paper and level in (0, top) else self.links:
                if level != (top if link.above else 0):
                    place = level if link.above else level - 1
                    features[link.task] = self._join(link)(
                        features[link.task], refined[link][place], neighbours[link][place], mask
                    )
            for found, piece in zip(pieces, features, strict=True):
                found.append(piece)
        classes, regressions, fusions = (layout.pack(found) for found in pieces)
        return classes, regressions, fusions

    def _join(self, link: Link) -> AttentionJoin | AdditionJoin:
        return cast(AttentionJoin | AdditionJoin, self.get_submodule(link.join))

    def _upsample(self, x: Tensor) -> dict[Link, Tensor]:
        """The transposed convolutions of rows [B, n, D] -> [B, 2n, D] each."""
        links = [link for link in self.links if link.above]
        if not links:
            return {}
        convs = [cast(nn.ConvTranspose1d, self.get_submodule(link.resample)) for link in links]
        taps = torch.cat([conv.weight for conv in convs], 1).permute(2, 1, 0)  # [3, convolutions * D, D]
        bias = torch.cat([cast(Tensor, conv.bias) for conv in convs])
        # Even and odd outputs of a row side by side are two rows one after the other.
        out = F.linear(x, torch.cat((taps[1], taps[2])), torch.cat((bias, bias)))
        out[:, :-1, len(bias) :] += F.linear(x[:, 1:], taps[0].contiguous())
        return dict(zip(links, out.view(x.shape[0], 2 * x.shape[1], -1).chunk(len(links), -1), strict=True))

    def _downsample(self, x: Tensor) -> dict[Link, Tensor]:
        """The strided convolutions of rows [B, 2n, D] -> [B, n, D] each."""
        links = [link for link in self.links if not link.above]
        convs = {link: cast(nn.Conv1d, self.get_submodule(link.resample)) for link in links}
        dense = [link for link in links if convs[link].groups == 1]
        left = x[:, 1:-1:2]
        found = {}
        if dense:
            pairs = x.reshape(x.shape[0], -1, 2 * x.shape[2])  # rows 2i and 2i + 1, the centre and the right tap
            taps = torch.cat([convs[link].weight for link in dense])  # [convolutions * D, D, 3]
            bias = torch.cat([cast(Tensor, convs[link].bias) for link in dense])
            out = F.linear(pairs, torch.cat((taps[:, :, 1], taps[:, :, 2]), 1))
            out[:, 1:] += F.linear(left, taps[:, :, 0].contiguous())
            found = dict(zip(dense, (out + bias).chunk(len(dense), -1), strict=True))
        for link in links:
            if link not in found:
                weight = convs[link].weight[:, 0].t()
                out = x[:, 0::2] * weight[1] + x[:, 1::2] * weight[2] + F.pad(left, (0, 0, 1, 0)) * weight[0]
                found[link] = out + cast(Tensor, convs[link].bias)
        return found


def _by_level(packed: Tensor, layout: PyramidLayout, link: Link, *, resampled: bool) -> list[Tensor]:
    """The levels that a link changes, all but the highest or all but the lowest, taken from its inputs: the neighbours
    at those levels' lengths (`resampled`), or the levels themselves."""
    levels = slice(None, -1) if link.above else slice(1, None)
    if not resampled:
        origin = layout.starts[levels][0]
        starts = [start - origin for start in layout.starts[levels]]
    elif link.above:
        starts = [2 * (start - layout.starts[1]) for start in layout.starts[1:]]
    else:
        starts = [start // 2 for start in layout.starts[:-1]]
    return cut(packed, starts, layout.lengths[levels])


def _upsampling(width: int) -> nn.ConvTranspose1d:
    return nn.ConvTranspose1d(width, width, 3, stride=2, padding=1, output_padding=1)


def _downsampling(width: int, depthwise: bool) -> nn.Conv1d:
    return nn.Conv1d(width, width, 3, stride=2, padding=1, groups=width if depthwise else 1)


def _same_length(conv: nn.Conv1d, x: Tensor) -> Tensor:
    """A convolution that keeps the length, on rows; kernel 1 is a matrix product."""
    if conv.kernel_size[0] == 1:
        return F.linear(x, conv.weight[:, :, 0], conv.bias)
    return convolve_rows(x, conv.weight, conv.bias)
