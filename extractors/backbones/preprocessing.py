"""Decoded frames -> network input, as specified by a feature contract (`preprocessing_spec.py`).

Everything works frame by frame on the frames' device. Frames go in as uint8 [n, H, W, C] and are
handled as [n, C, H, W] in channels-last memory, which needs no copy.
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


def resize(images: Tensor, spec: Resize) -> Tensor:
    """[n, C, H, W] uint8 or float32 (0..255) -> [n, C, h, w]; uint8 where spec rounds, else float32 or untouched.

    Sampling is at pixel centres (align_corners=False). Raises ValueError for an image that would become too large.
    """
    height, width = images.shape[-2:]
    target = spec.result(width, height)
    if spec.method is None or spec.by_decoder or target == (width, height):
        return images
    size = (target[1], target[0])
    if not spec.eight_bit:
        return sample(images.float(), size, spec)
    if not spec.antialias:
        return rounded(sample(images.float(), size, spec))
    if images.dtype == torch.uint8 and images.device.type == "cpu":
        return sample(images, size, spec)  # a kernel after Pillow's own, one level off in 1 or 2 % of noise
    # Pillow filters along rows first and rounds, halves up, before it filters along columns.
    across = sample(images.float(), (height, size[1]), spec).add_(0.5).floor_().clamp_(0, 255)
    return sample(across, size, spec).add_(0.5).floor_().clamp_(0, 255).to(torch.uint8)


def sample(images: Tensor, size: tuple[int, int], spec: Resize) -> Tensor:
    """Interpolate to (height, width) by the method of spec."""
    assert spec.method is not None
    return F.interpolate(images, size, mode=spec.method, align_corners=False, antialias=spec.antialias)


def rounded(images: Tensor) -> Tensor:
    """float -> uint8, halves to even, clipped."""
    return images.round_().clamp_(0, 255).to(torch.uint8)


def crop(images: Tensor, spec: Crop) -> Tensor:
    """[n, C, H, W] -> [n, C, h, w], a view. Raises ValueError for an image that is too small."""
    left, top, width, height = spec.box(images.shape[-1], images.shape[-2])
    return images[..., top : top + height, left : left + width]


def scale(images: Tensor, spec: ValueRange) -> Tensor:
    """Values 0..255 [n, C, H, W] -> float32 in the range of spec, normalised per channel where it has means."""
    values = images.flip(1) if spec.bgr else images
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
    """Frame preprocessing of a contract: resize, crop, scale. `frame_size` is the size requested from the decoder."""

    resize: Resize
    crop: Crop
    values: ValueRange

    @classmethod
    def of(cls, contract: FeatureContract) -> Preparation:
        """Raises ValueError if a field of the contract does not parse."""
        return cls(Resize.parse(contract.resize), Crop.parse(contract.crop), ValueRange.parse(contract.value_range))

    def frame_size(self, width: int, height: int) -> tuple[int, int]:
        """(width, height) of a video -> of its frames as decoded. Raises ValueError for an unusable size."""
        made = self.resize.result(width, height)
        self.crop.box(*made)
        return made if self.resize.by_decoder else (width, height)

    def __call__(self, frames: Tensor) -> Tensor:
        """uint8 [n, H, W, C] -> float32 [n, C, h, w]."""
        return scale(crop(resize(channels_first(frames), self.resize), self.crop), self.values)
