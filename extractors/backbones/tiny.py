"""``tiny``: effects of camera and editing on the frames, measured rather than learned.

Each frame is compared with earlier ones: global motion (`motion/global_motion.py`), the residual that it leaves, and
changes of brightness, colours and coarse image blocks over 1 to 15 frames. These are geometric and photometric
measurements, so they generalise to unseen footage; the detector learns to interpret them. Every frame
is measured once, regardless of how many windows share it.

Shapes: N frames, B windows, H × W pixels of a small image, L = 16 frames of a window.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tal_cli.extractors.backbones.blueprint import Measured
from tal_cli.extractors.backbones.motion.global_motion import global_motion, normalised_levels, warp
from tal_cli.extractors.features.contract import FeatureContract

WINDOW, STRIDE = 16, 4
PIXELS = 8000  # of the small image; enough for motion of a tenth of a pixel
BLOCKS = 4  # the image is divided into BLOCKS × BLOCKS parts
# Rates at which motion becomes noticeable, per second: widths, heights, logarithm of scale, radians.
REFERENCE_RATE = (0.08, 0.08, 0.08, 0.087)
HISTOGRAM_STEPS = 8


@dataclass(frozen=True)
class _Measures:
    """Per frame, compared with earlier ones: ``motion`` [N, 4] compressed rates (right, down, larger, clockwise),
    ``sharp`` [N, K] scalars of lag up to 4, ``wide`` [N, M] scalars of lag 8 and 14, ``residual`` [N, 16] unexplained
    change per block, ``thumbnail`` [N, 48] mean colour per block. Zero where earlier frames are not available."""

    motion: Tensor
    sharp: Tensor
    wide: Tensor
    residual: Tensor
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
        measures = _measure(frames.to(self._device), times.to(self._device))

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
        ]
        return torch.cat([part.flatten(1) for part in parts], 1).float()


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


def _measure(frames: Tensor, times: Tensor) -> _Measures:
    image = frames.permute(0, 3, 1, 2).float().div_(255)  # [N, 3, H, W]
    luma = (image * image.new_tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True)
    aspect = frames.shape[2] / frames.shape[1]
    half = F.avg_pool2d(luma, 2)
    detail = normalised_levels(half)
    motion, residual, inliers = global_motion(detail, aspect)
    seconds = torch.diff(times, prepend=times[:1]).clamp_min(1e-3).float()
    rates = motion / motion.new_tensor([2 * aspect, 2, 1, 1]) / seconds[:, None]
    rates = rates / rates.new_tensor(REFERENCE_RATE)
    thumbnail = F.adaptive_avg_pool2d(image, BLOCKS).flatten(1)
    histogram = _cumulative_histogram(half)
    sharp = [
        *_residual_measures(residual, inliers),
        *_change_measures(luma, image),
        *_alignment_measures(half, motion, aspect),
        *_light_measures(luma, histogram),
        *(_log(_mean_size(_lag(thumbnail, lag)), 0.01) for lag in (1, 2, 4)),
    ]
    wide = [
        _log(_mean_size(_lag(half, 8)), 0.01),
        _log(_mean_size(_lag(half, 14)), 0.01),
        2 * _steadiness(half, 7),
        2 * _steadiness(half, 5),
        _log(_mean_size(_lag(histogram, 8)), 0.01),
        _log(_mean_size(_lag(thumbnail, 8)), 0.01),
        _log(_mean_size(_lag(thumbnail, 14)), 0.01),
    ]
    return _Measures(
        motion=rates.sign() * torch.log1p(rates.abs()),
        sharp=torch.stack(sharp, 1),
        wide=torch.stack(wide, 1),
        residual=_log(F.adaptive_avg_pool2d(residual.square(), BLOCKS).flatten(1).sqrt(), 0.1),
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


def _residual_measures(residual: Tensor, inliers: Tensor) -> list[Tensor]:
    """Size, concentration and position of the change that motion leaves unexplained."""
    energy = F.avg_pool2d(residual.square(), 4)
    total = energy.sum((1, 2, 3)) + 1e-3
    _, _, height, width = energy.shape
    x = torch.linspace(-1, 1, width, device=energy.device)
    y = torch.linspace(-1, 1, height, device=energy.device).view(-1, 1)
    return [
        _log(residual.square().mean((1, 2, 3)).sqrt(), 0.1),
        inliers,
        energy.flatten(1).std(1, correction=0) / (total / (height * width)),
        2 * (energy * x).sum((1, 2, 3)) / total,
        2 * (energy * y).sum((1, 2, 3)) / total,
    ]


def _change_measures(luma: Tensor, image: Tensor) -> list[Tensor]:
    """Size of the pixel difference at three lags, and stillness of the image."""
    one = _lag(luma, 1).flatten(1).abs_()
    size = one.mean(1)
    colour = _lag(F.avg_pool2d(image, 4) - F.avg_pool2d(luma, 4), 1)
    return [
        _log(size, 0.01),
        _log(_mean_size(_lag(luma, 2)), 0.01),
        _log(_mean_size(_lag(luma, 4)), 0.01),
        _log(size, 0.0005),
        _log(one.amax(1), 0.01),
        (one < 1.5 / 255).float().mean(1),
        _log(_mean_size(colour), 0.01),
    ]


def _alignment_measures(half: Tensor, motion: Tensor, aspect: float) -> list[Tensor]:
    """Change over 2 and 4 frames with camera motion removed, and steadiness of the change over 1 and 2."""
    travelled = motion.cumsum(0)
    aligned = []
    for lag in (2, 4):
        back = torch.zeros_like(half)
        if len(half) > lag:
            back[lag:] = half[lag:] - warp(half[:-lag], -(travelled[lag:] - travelled[:-lag]), aspect)[0]
        aligned.append(_log(_mean_size(back), 0.01))
    return [*aligned, 2 * _steadiness(half, 1), 2 * _steadiness(half, 2)]


def _light_measures(luma: Tensor, histogram: Tensor) -> list[Tensor]:
    """Brightness, contrast, fineness, and their changes."""
    mean, deviation = luma.mean((1, 2, 3)), luma.flatten(1).std(1)
    return [
        2 * mean,
        4 * deviation,
        20 * _mean_size(luma[..., 1:] - luma[..., :-1]),
        *(_signed_log(_lag(mean, lag), 0.01) for lag in (1, 4)),
        *(_signed_log(_lag(deviation, lag), 0.005) for lag in (1, 4)),
        *(_log(_mean_size(_lag(histogram, lag)), 0.01) for lag in (1, 4)),
    ]


def _signed_log(values: Tensor, floor: float) -> Tensor:
    return values.sign() * _log(values.abs(), floor)


def _cumulative_histogram(half: Tensor) -> Tensor:
    """Fraction of pixels brighter than each of HISTOGRAM_STEPS levels, [N, HISTOGRAM_STEPS]."""
    pixels = half.flatten(1)
    levels = torch.linspace(0, 1, HISTOGRAM_STEPS + 2)[1:-1].tolist()
    return torch.stack([(pixels > level).float().mean(1) for level in levels], 1)


def _steadiness(values: Tensor, lag: int) -> Tensor:
    """Correlation of the change over the last ``lag`` frames with that over the ``lag`` before, [N]: near 1 while one
    image dissolves into another, near 0 or below under motion and noise."""
    change = _lag(values, lag).flatten(1)
    out = torch.zeros(len(values), device=values.device)
    if len(values) > 2 * lag:
        now, before = change[2 * lag :], change[lag:-lag]
        size = (now.square().sum(1) * before.square().sum(1)).sqrt()
        out[2 * lag :] = (now * before).sum(1) / (size + 1e-3)
    return out


TINY = Measured(lambda contract: Tiny(contract))
