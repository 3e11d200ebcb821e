"""Boundary corrections that are computed only at candidates.

With hundreds of classes the correction of every class at every point takes a sixth of a forward pass, and one in fifty
is used.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from tal_cli.extractors.cpu import compiled
from tal_cli.models.layers.common import RowOutput
from tal_cli.models.predictions import Shift

MANY_CLASSES = 64  # number of outputs from which deferring is faster


def deferrable(x: Tensor, outputs: int) -> bool:
    """Whether corrections of that many outputs can and should be deferred: plain inference on a CPU."""
    return (
        outputs >= MANY_CLASSES
        and torch.is_inference_mode_enabled()
        and x.device.type == "cpu"
        and x.dtype == torch.float32
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()
    )


@dataclass(frozen=True)
class DeferredShift(Shift):
    """Corrections stored as their convolutions and the packed input rows, zero in the gaps."""

    rows: Tensor  # [B, S, D]
    valid: Tensor  # [B, S, 1]
    start_output: RowOutput
    end_output: RowOutput
    in_level_cells: bool

    @property
    def per_class(self) -> bool:
        """There is one per class."""
        return True

    def at(self, video: Tensor, cell: Tensor, label: Tensor) -> Tensor:
        """Both convolutions at n single points and classes."""
        taps, channels = self.start_output.kernel_size[0], self.rows.shape[2]
        padded = F.pad(self.rows, (0, 0, taps // 2, taps // 2))
        first = (video * padded.shape[1] + cell) * channels  # in all rows, where the window of an entry begins
        weights, biases = [], []
        for output in (self.start_output, self.end_output):
            assert output.bias is not None
            weights.append(output.weight.transpose(1, 2).flatten(1).contiguous().detach().numpy())
            biases.append(output.bias)
        order = first.argsort()  # neighbouring windows share most of their rows
        products = compiled(_windows, reorder=True)
        out = torch.empty(len(label), 2)
        places = (order.numpy(), first.numpy(), label.numpy())
        products(padded.flatten().numpy(), *places, weights[0], weights[1], out.numpy())
        bias = torch.stack(biases, dim=1)[label]
        return (out + bias) * self.valid[video, cell]


def _windows(
    rows: NDArray[np.float32],
    order: NDArray[np.int64],
    first: NDArray[np.int64],
    label: NDArray[np.int64],
    start_weight: NDArray[np.float32],
    end_weight: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None:
    """Writes to out [n, 2] what the window at first[i] gives with both weights [C, taps * D] of class label[i]."""
    span = start_weight.shape[1]
    for entry in order:
        window = rows[first[entry] : first[entry] + span]
        start, end = np.float32(0), np.float32(0)
        start_row, end_row = start_weight[label[entry]], end_weight[label[entry]]
        for place in range(span):
            start += window[place] * start_row[place]
            end += window[place] * end_row[place]
        out[entry, 0], out[entry, 1] = start, end
