"""``tiny``: effects of camera and editing on the frames, measured rather than learned.

Each frame is compared with earlier ones: global motion (`motion/global_motion.py`), the residual that it leaves, and
changes of brightness, colours and coarse image blocks over 1 to 15 frames. These are geometric and photometric
measurements, so they generalise to unseen footage; the detector learns to interpret them. Every frame
is measured once, regardless of how many windows share it.

Shapes: N frames, B windows, H × W pixels of a small image, L = 16 frames of a window.
"""

from __future__ import annotations

import math
from collections.abc import Callable
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
            windows(measures.agreement)[..., 6:14].mean(-1),
            windows(measures.kept)[..., 8:12].mean(-1),
            windows(measures.long_kept)[..., 14:].mean(-1),
            windows(measures.texture)[..., 6:10].mean(-1),
            2 * thumbnail[..., 6:10].mean(-1) - 1,
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
    count, height, width, _ = frames.shape
    image = frames.float()  # [N, H, W, 3], 0 to 255: other layouts and a division take as long as all that follows
    weights = image.new_tensor([0.299, 0.587, 0.114]) / 255
    luma = (image.view(-1, 3) @ weights).view(count, 1, height, width)
    aspect = width / height
    half = F.avg_pool2d(luma, 2)
    detail = normalised_levels(half)
    motion, residual, inliers = global_motion(detail, aspect)
    seconds = torch.diff(times, prepend=times[:1]).clamp_min(1e-3).float()
    rates = motion / motion.new_tensor([2 * aspect, 2, 1, 1]) / seconds[:, None]
    rates = rates / rates.new_tensor(REFERENCE_RATE)
    thumbnail = _colours(image, BLOCKS, BLOCKS).flatten(1)
    histogram = _cumulative_histogram(half)
    edges = detail[0]
    aligned = [_aligned(half, motion, aspect, lag) for lag in (2, 4)]
    agreement, border_agreement = _agreement(half, aligned[1], 4)
    texture = _per_block(edges.square())
    kept, border_kept = _kept(edges, 4)
    long_kept, border_long_kept = _kept(edges, 14)
    sharp = [
        *_residual_measures(residual, inliers),
        *_change_measures(luma, _colours(image, height // 4, width // 4)),
        *(_log(_mean_size(difference), 0.01) for difference in aligned),
        2 * _steadiness(half, 1),
        2 * _steadiness(half, 2),
        *_light_measures(luma, histogram),
        *(_log(_mean_size(_lag(thumbnail, lag)), 0.01) for lag in (1, 2, 4)),
        border_agreement,
        2 * border_kept,
        2 * _kept(edges, 1)[0].mean(1),
    ]
    wide = [
        _log(_mean_size(_lag(half, 8)), 0.01),
        _log(_mean_size(_lag(half, 14)), 0.01),
        2 * _steadiness(half, 7),
        2 * _steadiness(half, 5),
        _log(_mean_size(_lag(histogram, 8)), 0.01),
        _log(_mean_size(_lag(thumbnail, 8)), 0.01),
        _log(_mean_size(_lag(thumbnail, 14)), 0.01),
        2 * border_long_kept,
    ]
    return _Measures(
        motion=rates.sign() * torch.log1p(rates.abs()),
        sharp=torch.stack(sharp, 1),
        wide=torch.stack(wide, 1),
        residual=_log(_per_block(residual.square()).sqrt(), 0.1),
        agreement=agreement,
        kept=2 * kept,
        long_kept=2 * long_kept,
        texture=2 * texture,
        thumbnail=thumbnail,
    )


def _colours(image: Tensor, rows: int, columns: int) -> Tensor:
    """Mean colours, 0 to 1, of ``rows`` × ``columns`` equal parts of ``image`` [N, H, W, 3], [N, 3, rows, columns]."""
    count, height, width, _ = image.shape
    strips = image.view(count, rows, height // rows, 3 * width).sum(2)
    sums = strips.view(count, rows, columns, width // columns, 3).sum(3)
    return sums.permute(0, 3, 1, 2) / (255 * (height // rows) * (width // columns))


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


def _change_measures(luma: Tensor, colours: Tensor) -> list[Tensor]:
    """Size of the pixel difference at three lags, and stillness of the image."""
    one = _lag(luma, 1).flatten(1).abs_()
    size = one.mean(1)
    colour = _lag(colours - F.avg_pool2d(luma, 4), 1)
    return [
        _log(size, 0.01),
        _log(_mean_size(_lag(luma, 2)), 0.01),
        _log(_mean_size(_lag(luma, 4)), 0.01),
        _log(size, 0.0005),
        _log(one.amax(1), 0.01),
        (one < 1.5 / 255).float().mean(1),
        _log(_mean_size(colour), 0.01),
    ]


def _aligned(half: Tensor, motion: Tensor, aspect: float, lag: int) -> Tensor:
    """Change of ``half`` over ``lag`` frames with camera motion removed, 0 beside the common part, [N, 1, H, W]."""
    travelled = motion.cumsum(0)
    change = torch.zeros_like(half)
    if len(half) > lag:
        moved, inside = warp(half[:-lag], -(travelled[lag:] - travelled[:-lag]), aspect)
        torch.sub(half[lag:], moved, out=change[lag:])
        change[lag:] *= inside.view_as(moved)
    return change


def _agreement(half: Tensor, aligned: Tensor, lag: int) -> tuple[Tensor, Tensor]:
    """By what factor the global motion reduces the change over ``lag`` frames, as a logarithm: per block [N, 16], and
    at the border [N]. Positive everywhere if the camera moved; if something moved before a camera that did not,
    negative or 0 wherever it was not."""
    plain, explained = _lag(half, lag).abs_(), aligned.abs()

    def gain(pool: Callable[[Tensor], Tensor]) -> Tensor:
        return 2 * ((pool(plain) + 0.005) / (pool(explained) + 0.005)).log()

    return gain(_per_block), gain(_at_border)


def _kept(edges: Tensor, lag: int) -> tuple[Tensor, Tensor]:
    """Correlation of locally normalised images with those ``lag`` frames earlier, per block [N, 16] and at the border
    [N]: 1 where everything is where it was, in whatever light; 0 where there is nothing to compare."""
    blocks = edges.new_zeros(len(edges), BLOCKS * BLOCKS)
    border = edges.new_zeros(len(edges))
    if len(edges) > lag:
        product, square = edges[lag:] * edges[:-lag], edges.square()
        for out, pool in ((blocks, _per_block), (border, _at_border)):
            size = pool(square)
            out[lag:] = pool(product) / ((size[lag:] * size[:-lag]).sqrt() + 0.01)
    return blocks, border


def _per_block(values: Tensor) -> Tensor:
    """Mean per block, [N, 16]."""
    return F.adaptive_avg_pool2d(values, BLOCKS).flatten(1)


def _at_border(values: Tensor) -> Tensor:
    """Mean over the outer eighth on the left, on the right and at the top, where few things stand in front, [N]."""
    _, _, height, width = values.shape
    high, wide = max(1, height // 8), max(1, width // 8)
    total = values[:, 0, :high].sum((1, 2)) + values[:, 0, high:, :wide].sum((1, 2))
    total = total + values[:, 0, high:, width - wide :].sum((1, 2))
    return total / (high * width + 2 * wide * (height - high))


def _light_measures(luma: Tensor, histogram: Tensor) -> list[Tensor]:
    """Brightness, contrast, fineness, and their changes."""
    pixels = luma.flatten(1)
    mean = pixels.mean(1)
    deviation = torch.linalg.vector_norm(pixels - mean[:, None], dim=1) / math.sqrt(pixels.shape[1] - 1)
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
