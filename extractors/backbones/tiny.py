"""``tiny``: effects of camera and editing on the frames, measured rather than learned.

Each frame is compared with earlier ones: global motion (`motion/global_motion.py`), the residual that it leaves, and
changes of brightness, colours and coarse image blocks over 1 to 15 frames. These are geometric and photometric
measurements, so they generalise to unseen footage; the detector learns to interpret them. Every frame
is measured once, regardless of how many windows share it. What passes over pixels is compiled for the CPU
(`motion/pixels.py`), whatever the device: frames are so small that copying them to a GPU takes longer.

Shapes: N frames, B windows, H × W pixels of a small image, L = 16 frames of a window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tal_cli.extractors.backbones.blueprint import Measured
from tal_cli.extractors.backbones.motion.global_motion import aligned, global_motion, normalised_levels
from tal_cli.extractors.backbones.motion.pixels import (
    BLOCKS,
    Floats,
    brightness,
    change,
    cumulative_histogram,
    deviation,
    fineness,
    mean_colours,
    pooled_products,
    pooled_sizes,
    steadiness,
)
from tal_cli.extractors.features.contract import FeatureContract

WINDOW, STRIDE = 16, 4
PIXELS = 8000  # of the small image; enough for motion of a tenth of a pixel
# Rates at which motion becomes noticeable, per second: widths, heights, logarithm of scale, radians.
REFERENCE_RATE = (0.08, 0.08, 0.08, 0.087)
HISTOGRAM_LEVELS = torch.linspace(0, 1, 10)[1:-1].numpy()


@dataclass(frozen=True)
class _Measures:
    """Per frame, compared with earlier ones: ``motion`` [N, 4] compressed rates (right, down, larger, clockwise),
    ``sharp`` [N, K] scalars of lag up to 4, ``wide`` [N, M] scalars of lag 8 and 14; per block: ``residual`` [N, 16]
    unexplained change, ``agreement`` [N, 16] how much better motion explains it than standing still, ``kept`` and
    ``long_kept`` [N, 16] how much of its edges is where it was 4 and 14 frames before, ``texture`` [N, 16] how many
    edges there are, ``thumbnail`` [N, 48] mean colour. Zero where earlier frames are not available."""

    motion: Tensor
    sharp: Tensor
    wide: Tensor
    residual: Tensor
    agreement: Tensor
    kept: Tensor
    long_kept: Tensor
    texture: Tensor
    thumbnail: Tensor


class Tiny:
    """The ``camera`` model's backbone. Needs no weights."""

    lookahead = 0
    window_bytes = 2 << 20

    def __init__(self, contract: FeatureContract) -> None:
        self._device = torch.device("cpu")
        self.contract = contract

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """The small image's (width, height), multiples of 4, for a video of ``width`` × ``height``."""
        scale = math.sqrt(PIXELS / (width * height))
        small = (max(2, min(250, round(side * scale / 4))) * 4 for side in (width, height))
        return next(small), next(small)

    def to(self, device: torch.device | str) -> Tiny:
        self._device = torch.device(device)
        return self

    def prepare(self, frames: Tensor) -> Tensor:
        """Returns the frames unchanged: measurements of one depend on earlier ones."""
        return frames

    @torch.inference_mode()
    def __call__(self, frames: Tensor, times: Tensor) -> Tensor:
        """Features [B, channels] of the B windows in ``frames`` uint8 [16 + 4 (B - 1), H, W, 3], shown at ``times`` [N]
        seconds."""
        measures = _measure(frames.cpu(), times.cpu())

        def windows(values: Tensor) -> Tensor:
            return values.unfold(0, WINDOW, STRIDE)  # [B, K, L]

        motion, sharp, wide = windows(measures.motion), windows(measures.sharp), windows(measures.wide)
        residual, thumbnail = windows(measures.residual), windows(measures.thumbnail)
        # The first frames of a window have no predecessors inside it, so each lag starts that many frames later.
        parts = [
            motion[..., 1:].mean(-1),
            motion[..., 4:12].mean(-1),
            motion[..., 6:10].mean(-1),
            motion[..., 1:].std(-1),
            motion[..., 1:],
            sharp[..., 4:12],
            wide[..., 14:],
            residual[..., 6:10].mean(-1),
            *_block_changes(thumbnail),
            windows(measures.agreement)[..., 6:14].mean(-1),
            windows(measures.kept)[..., 8:12].mean(-1),
            windows(measures.long_kept)[..., 14:].mean(-1),
            windows(measures.texture)[..., 6:10].mean(-1),
            2 * thumbnail[..., 6:10].mean(-1) - 1,
        ]
        return torch.cat([part.flatten(1) for part in parts], 1).float().to(self._device)


def _block_changes(thumbnail: Tensor) -> list[Tensor]:
    """Colour changes of the blocks over a window, from ``thumbnail`` [B, 48, L]: over its middle half, over all of
    it, and their abruptness (1: in one frame, 1/15: evenly), each [B, 16]."""
    blocks = thumbnail.unflatten(1, (3, -1))

    def distance(last: Tensor, first: Tensor) -> Tensor:
        return (last - first).abs().sum(1)

    steps = distance(blocks[..., 1:], blocks[..., :-1])
    sudden = steps.amax(-1) / (steps.sum(-1) + 0.02)
    half = distance(blocks[..., 12], blocks[..., 4])
    whole = distance(blocks[..., 15], blocks[..., 0])
    return [_log(half, 0.02), _log(whole, 0.02), 2 * sudden]


class _Pooled(NamedTuple):
    """Means per block [N, 16], at the border [N] and of all pixels [N]."""

    blocks: Tensor
    border: Tensor
    all: Tensor


def _pooled(means: Floats) -> _Pooled:
    values = torch.from_numpy(means)
    return _Pooled(values[:, :-2], values[:, -2], values[:, -1])


def _measure(frames: Tensor, times: Tensor) -> _Measures:
    _, height, width, _ = frames.shape
    pixels = np.ascontiguousarray(frames.numpy())
    aspect = width / height
    luma, half = brightness(pixels)
    levels = normalised_levels(half)
    edges = levels[0]
    motion, residual, inliers = map(torch.from_numpy, global_motion(levels, aspect))
    seconds = torch.diff(times, prepend=times[:1]).clamp_min(1e-3).float()
    rates = motion / motion.new_tensor([2 * aspect, 2, 1, 1]) / seconds[:, None]
    rates = rates / rates.new_tensor(REFERENCE_RATE)
    thumbnail = torch.from_numpy(mean_colours(pixels, height // BLOCKS, width // BLOCKS)).flatten(1)
    histogram = torch.from_numpy(cumulative_histogram(half, HISTOGRAM_LEVELS))
    travelled = motion.cumsum(0)
    explained = [_pooled(pooled_sizes(aligned(half, _lag(travelled, lag).numpy(), aspect, lag))) for lag in (2, 4)]
    plain = _pooled(pooled_sizes(_lag(torch.from_numpy(half), 4).numpy()))
    unexplained, texture = _pooled(pooled_products(residual.numpy(), 0)), _pooled(pooled_products(edges, 0))
    kept = {lag: _kept(_pooled(pooled_products(edges, lag)), texture, lag) for lag in (1, 4, 14)}
    sharp = [
        *_residual_measures(residual, unexplained, inliers),
        *_change_measures(luma, half, torch.from_numpy(mean_colours(pixels, 4, 4))),
        *(_log(each.all, 0.01) for each in explained),
        2 * _steadiness(half, 1),
        2 * _steadiness(half, 2),
        *_light_measures(luma, histogram),
        *(_log(_mean_size(_lag(thumbnail, lag)), 0.01) for lag in (1, 2, 4)),
        _gain(plain.border, explained[1].border),
        2 * kept[4].border,
        2 * kept[1].blocks.mean(1),
    ]
    wide = [
        _log(_mean_change(half, 8), 0.01),
        _log(_mean_change(half, 14), 0.01),
        2 * _steadiness(half, 7),
        2 * _steadiness(half, 5),
        _log(_mean_size(_lag(histogram, 8)), 0.01),
        _log(_mean_size(_lag(thumbnail, 8)), 0.01),
        _log(_mean_size(_lag(thumbnail, 14)), 0.01),
        2 * kept[14].border,
    ]
    return _Measures(
        motion=rates.sign() * torch.log1p(rates.abs()),
        sharp=torch.stack(sharp, 1),
        wide=torch.stack(wide, 1),
        residual=_log(unexplained.blocks.sqrt(), 0.1),
        agreement=_gain(plain.blocks, explained[1].blocks),
        kept=2 * kept[4].blocks,
        long_kept=2 * kept[14].blocks,
        texture=2 * texture.blocks,
        thumbnail=thumbnail,
    )


def _log(values: Tensor, floor: float) -> Tensor:
    return torch.log1p(values / floor)


def _mean_size(values: Tensor) -> Tensor:
    """Mean absolute value per frame, [N], without a copy of ``values`` [N, ...]."""
    flat = values.flatten(1)
    return torch.linalg.vector_norm(flat, 1, dim=1) / flat.shape[1]


def _lag(values: Tensor, lag: int) -> Tensor:
    """``values`` minus those ``lag`` frames earlier, zero for the first ``lag`` frames, along axis 0."""
    out = torch.zeros_like(values)
    if len(values) > lag:
        torch.sub(values[lag:], values[:-lag], out=out[lag:])
    return out


def _residual_measures(residual: Tensor, pooled: _Pooled, inliers: Tensor) -> list[Tensor]:
    """Size, concentration and position of the change that motion leaves unexplained; pooled: means of its square."""
    energy = F.avg_pool2d(residual.square(), 4)
    total = energy.sum((1, 2)) + 1e-3
    _, height, width = energy.shape
    x = torch.linspace(-1, 1, width)
    y = torch.linspace(-1, 1, height).view(-1, 1)
    return [
        _log(pooled.all.sqrt(), 0.1),
        inliers,
        energy.flatten(1).std(1, correction=0) / (total / (height * width)),
        2 * (energy * x).sum((1, 2)) / total,
        2 * (energy * y).sum((1, 2)) / total,
    ]


def _change_measures(luma: Floats, half: Floats, colours: Tensor) -> list[Tensor]:
    """Size of the pixel difference at three lags, and stillness of the image."""
    size, largest, still = map(torch.from_numpy, change(luma, 1))
    colour = _lag(colours - F.avg_pool2d(torch.from_numpy(half)[:, None], 2), 1)
    return [
        _log(size, 0.01),
        _log(_mean_change(luma, 2), 0.01),
        _log(_mean_change(luma, 4), 0.01),
        _log(size, 0.0005),
        _log(largest, 0.01),
        still,
        _log(_mean_size(colour), 0.01),
    ]


def _mean_change(images: Floats, lag: int) -> Tensor:
    return torch.from_numpy(change(images, lag)[0])


def _gain(plain: Tensor, explained: Tensor) -> Tensor:
    """By what factor the global motion reduces a change, as a logarithm. Positive everywhere if the camera moved; if
    something moved before a camera that did not, negative or 0 wherever it was not."""
    return 2 * ((plain + 0.005) / (explained + 0.005)).log()


def _kept(products: _Pooled, squares: _Pooled, lag: int) -> _Pooled:
    """Correlation of locally normalised images with those ``lag`` frames earlier, from their mean ``products`` and
    ``squares``: 1 where everything is where it was, in whatever light; 0 where there is nothing to compare."""

    def correlation(product: Tensor, square: Tensor) -> Tensor:
        return product / ((square * square.roll(lag, 0)).sqrt() + 0.01)

    return _Pooled(*map(correlation, products, squares))


def _light_measures(luma: Floats, histogram: Tensor) -> list[Tensor]:
    """Brightness, contrast, fineness, and their changes."""
    mean = torch.from_numpy(luma).mean((1, 2))
    contrast = torch.from_numpy(deviation(luma, mean.numpy()))
    return [
        2 * mean,
        4 * contrast,
        20 * torch.from_numpy(fineness(luma)),
        *(_signed_log(_lag(mean, lag), 0.01) for lag in (1, 4)),
        *(_signed_log(_lag(contrast, lag), 0.005) for lag in (1, 4)),
        *(_log(_mean_size(_lag(histogram, lag)), 0.01) for lag in (1, 4)),
    ]


def _signed_log(values: Tensor, floor: float) -> Tensor:
    return values.sign() * _log(values.abs(), floor)


def _steadiness(images: Floats, lag: int) -> Tensor:
    return torch.from_numpy(steadiness(images, lag))


TINY = Measured(lambda contract: Tiny(contract))
