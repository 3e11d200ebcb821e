"""TransNet V2 (Souček & Lokoč 2020, arXiv 2008.04838): shot transitions, frame by frame, from 48 x 27 pixels.

The network sees 100 frames at once, of which the middle 50 are kept. Names of its parts are those of the published
files. The two classifiers of a frame, whether it is the middle of a transition and whether it is part of one, read the
same 1024 values: those are the features here, and the model's last layer is the classifiers (`heads`).
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tal_cli.extractors.backbones.blueprint import DenseBlueprint
from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.preprocessing_spec import Crop, Resize
from tal_cli.extractors.files.weights import read_state

SIZE = (48, 27)
PASS = 100  # frames of a forward pass
DILATIONS = (1, 2, 4, 8)
FILTERS = (16, 32, 64)  # of one dilation, by stage; a stage gives four times as many channels
REACH = 50  # frames on either side with which a frame is compared
COMPARED = 2 * REACH + 1
SIMILAR = 128  # channels of each comparison
CHANNELS = 1024
BINS = 8  # of a colour channel
HEADS = ("cls_layer1", "cls_layer2")


class Separable(nn.Module):
    """A convolution over space, then one over time, whose frames lie `dilation` apart."""

    def __init__(self, inputs: int, filters: int, dilation: int) -> None:
        super().__init__()
        space = nn.Conv3d(inputs, 2 * filters, (1, 3, 3), padding=(0, 1, 1), bias=False)
        time = nn.Conv3d(
            2 * filters, filters, (3, 1, 1), padding=(dilation, 0, 0), dilation=(dilation, 1, 1), bias=False
        )
        self.layers = nn.ModuleList([space, time])

    def forward(self, frames: Tensor) -> Tensor:
        for layer in self.layers:
            frames = layer(frames)
        return frames


class Dilated(nn.Module):
    """Four dilations side by side, then a batch norm; [B, inputs, T, H, W] -> [B, 4 filters, T, H, W]."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        for dilation in DILATIONS:
            self.add_module(f"Conv3D_{dilation}", Separable(inputs, filters, dilation))
        self.bn = nn.BatchNorm3d(4 * filters, eps=1e-3)

    def forward(self, frames: Tensor) -> Tensor:
        branches = [self.get_submodule(f"Conv3D_{dilation}")(frames) for dilation in DILATIONS]
        normed: Tensor = self.bn(torch.cat(branches, 1))
        return normed


class Stage(nn.Module):
    """Two blocks, the second added to the first, then an average pool of 2 x 2 pixels."""

    def __init__(self, inputs: int, filters: int) -> None:
        super().__init__()
        self.DDCNN = nn.ModuleList([Dilated(inputs, filters), Dilated(4 * filters, filters)])

    def forward(self, frames: Tensor) -> Tensor:
        first = F.relu(self.DDCNN[0](frames))
        return F.avg_pool3d(F.relu(self.DDCNN[1](first)) + first, (1, 2, 2))


class FrameSimilarity(nn.Module):
    """How alike each frame's channels are to its neighbours'; [T, channels] -> [T, SIMILAR]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.projection = nn.Linear(channels, SIMILAR)
        self.fc = nn.Linear(COMPARED, SIMILAR)

    def forward(self, rows: Tensor) -> Tensor:
        return F.relu(self.fc(similarities(self.projection(rows))))


class ColourHistograms(nn.Module):
    """How alike each frame's colours are to its neighbours'; [T, 3, H, W] in 0..255 -> [T, SIMILAR]."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(COMPARED, SIMILAR)

    def forward(self, frames: Tensor) -> Tensor:
        return F.relu(self.fc(similarities(histograms(frames))))


class TransNet(nn.Module):
    """[1, 3, T, 27, 48] in 0..255, T <= PASS -> [1, CHANNELS, T]; the last frame is repeated up to PASS frames."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, *(4 * filters for filters in FILTERS))
        self.SDDCNN = nn.ModuleList(map(Stage, widths, FILTERS))
        self.frame_sim_layer = FrameSimilarity(sum(widths[1:]))
        self.color_hist_layer = ColourHistograms()
        positions = (SIZE[0] >> len(FILTERS)) * (SIZE[1] >> len(FILTERS))
        self.fc1 = nn.Linear(2 * SIMILAR + positions * widths[-1], CHANNELS)

    def forward(self, frames: Tensor) -> Tensor:
        count = frames.shape[2]
        frames = torch.cat([frames, frames[:, :, -1:].expand(-1, -1, PASS - count, -1, -1)], 2)
        maps, means = frames / 255, []
        for stage in self.SDDCNN:
            maps = stage(maps)
            means.append(maps.mean((3, 4)))
        rows = [
            self.color_hist_layer(frames[0].transpose(0, 1)),
            self.frame_sim_layer(torch.cat(means, 1)[0].T),
            maps[0].permute(1, 2, 3, 0).flatten(1),
        ]
        features = F.relu(self.fc1(torch.cat(rows, 1)))
        return features[:count].T[None]


def similarities(rows: Tensor) -> Tensor:
    """[T, channels] -> [T, COMPARED]: cosines with the frames from REACH before to REACH after; 0 where there is none.

    In float32 at every precision: frames differ by less than the digits of 16 bits tell.
    """
    with torch.autocast(rows.device.type, enabled=False):
        unit = F.normalize(rows.float(), dim=1)
        padded = F.pad(unit @ unit.T, (REACH, REACH))
    width = padded.shape[1]
    return padded.as_strided((len(rows), COMPARED), (width + 1, 1))  # a row's own column moves on with it


def histograms(frames: Tensor) -> Tensor:
    """[T, 3, H, W] in 0..255 -> [T, BINS ** 3]: numbers of pixels of each colour."""
    red, green, blue = (frames.flatten(2) * (BINS / 256)).long().unbind(1)
    colours = (red * BINS + green) * BINS + blue
    counts = frames.new_zeros(len(colours), BINS**3, dtype=torch.float32)
    return counts.scatter_add_(1, colours, torch.ones_like(colours, dtype=torch.float32))


def network(contract: FeatureContract) -> TransNet:
    """Raises ValueError for frames of another size, or longer passes."""
    if (contract.chunk or PASS) > PASS:
        raise ValueError(f"chunk={contract.chunk}: TransNet V2 takes {PASS} frames at once")
    if Resize.parse(contract.resize).size != SIZE or Crop.parse(contract.crop).size is not None:
        width, height = SIZE
        raise ValueError(f"TransNet V2 takes frames of {width}x{height} pixels, not cropped")
    return TransNet()


def with_joined_heads(path: Path) -> dict[str, Tensor]:
    """The tensors of a published file, with both classifiers as one layer, `heads`.

    Raises WeightsError for a file that cannot be read, KeyError without the classifiers.
    """
    state = read_state(path)
    joined = {
        f"heads.{leaf}": torch.cat([state.pop(f"{head}.{leaf}") for head in HEADS]) for leaf in ("weight", "bias")
    }
    return state | joined


DENSE = DenseBlueprint(
    network,
    step=1,
    window_bytes=4 << 20,
    ignored=("heads.", *(f"{head}." for head in HEADS)),
)
