"""Frames as decoded -> what a network takes, as a feature contract words it (`preprocessing_spec.py`).

Everything works frame by frame on whatever device the frames are on. Pictures go in as uint8 [n, H, W, C] and are
handled as [n, C, H, W] in channels-last memory, which is what they are already.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from tal_cli.extractors.features.contract import FeatureContract
from tal_cli.extractors.features.preprocessing_spec import Crop, Resize, ValueRange


def channels_first(frames: Tensor) -> Tensor:
    """[n, H, W, C] -> [n, C, H, W], a view."""
    return frames.permute(0, 3, 1, 2)


def resize(pictures: Tensor, spec: Resize) -> Tensor:
    """[n, C, H, W] uint8 or float32 (0..255) -> [n, C, h, w]; uint8 where spec rounds, else float32 or untouched.

    Sampling is at pixel centres (align_corners=False). Raises ValueError for a picture that would become too large.
    """
    height, width = pictures.shape[-2:]
    target = spec.result(width, height)
    if spec.method is None or spec.by_decoder or target == (width, height):
        return pictures
    size = (target[1], target[0])
    if not spec.eight_bit:
        return sample(pictures.float(), size, spec)
    if not spec.antialias:
        return rounded(sample(pictures.float(), size, spec))
    if pictures.dtype == torch.uint8 and pictures.device.type == "cpu":
        return sample(pictures, size, spec)  # a kernel after Pillow's own, one level off in 1 or 2 % of noise
    # Pillow filters along rows first and rounds, halves up, before it filters along columns.
    across = sample(pictures.float(), (height, size[1]), spec).add_(0.5).floor_().clamp_(0, 255)
    return sample(across, size, spec).add_(0.5).floor_().clamp_(0, 255).to(torch.uint8)


def sample(pictures: Tensor, size: tuple[int, int], spec: Resize) -> Tensor:
    """Interpolate to (height, width) by the method of spec."""
    assert spec.method is not None
    return F.interpolate(pictures, size, mode=spec.method, align_corners=False, antialias=spec.antialias)


def rounded(pictures: Tensor) -> Tensor:
    """float -> uint8, halves to even, clipped."""
    return pictures.round_().clamp_(0, 255).to(torch.uint8)


def crop(pictures: Tensor, spec: Crop) -> Tensor:
    """[n, C, H, W] -> [n, C, h, w], a view. Raises ValueError for a picture that is too small."""
    left, top, width, height = spec.box(pictures.shape[-1], pictures.shape[-2])
    return pictures[..., top : top + height, left : left + width]


def scale(pictures: Tensor, spec: ValueRange) -> Tensor:
    """Values 0..255 [n, C, H, W] -> float32 in the range of spec, normalised per channel where it has means."""
    values = pictures.flip(1) if spec.bgr else pictures
    values = values.float()
    if (spec.low, spec.high) == (-1.0, 1.0):
        values = values * 2 / 255 - 1  # in the published order of operations, which the last digit depends on
    elif (spec.low, spec.high) != (0.0, 255.0):
        values = values / 255 * (spec.high - spec.low) + spec.low
    if not spec.mean:
        return values
    if values.shape[1] != len(spec.mean):
        raise ValueError(f"value_range={spec}: {len(spec.mean)} means for {values.shape[1]} channels")
    mean, std = (values.new_tensor(numbers).view(-1, 1, 1) for numbers in (spec.mean, spec.std))
    return (values - mean) / std


@dataclass(frozen=True)
class Preparation:
    """All that a contract says about pictures: resize, crop, scale. `frame_size` is what the decoder shall deliver."""

    resize: Resize
    crop: Crop
    values: ValueRange

    @classmethod
    def of(cls, contract: FeatureContract) -> Preparation:
        """Raises ValueError where the contract's words are not in the grammar."""
        return cls(Resize.parse(contract.resize), Crop.parse(contract.crop), ValueRange.parse(contract.value_range))

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of a video -> of its frames as decoded. Raises ValueError for one that cannot be prepared."""
        made = self.resize.result(width, height)
        self.crop.box(*made)
        return made if self.resize.by_decoder else (width, height)

    def __call__(self, frames: Tensor) -> Tensor:
        """uint8 [n, H, W, C] -> float32 [n, C, h, w]."""
        return scale(crop(resize(channels_first(frames), self.resize), self.crop), self.values)
