"""Random parts, mirroring and colours of the frames of a window, the same for all of them."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tal_cli.models.recipe.backbone import BackboneConfig

GREY = (0.299, 0.587, 0.114)
TRIES = 10
SIDES = re.compile(r"(?<![a-z])(left|right)(?![a-z])")


def may_mirror(labels: Sequence[str]) -> bool:
    """Whether no label tells left from right."""
    spaced = (re.sub(r"(?<=[a-z])(?=[A-Z])", " ", label).lower() for label in labels)
    return not any(SIDES.search(label) for label in spaced)


def augmented(
    frames: Tensor, size: tuple[int, int], config: BackboneConfig, rng: np.random.Generator, *, mirror: bool
) -> Tensor:
    """uint8 [N, 3, H, W] -> float32 [N, 3, *size] from 0 to 255. size: (height, width). mirror: if it is allowed."""
    top, left, height, width = part(frames.shape[2], frames.shape[3], size, config, rng)
    images = frames[..., top : top + height, left : left + width].float()
    if (height, width) != size:
        images = F.interpolate(images, size, mode="bilinear", antialias=True, align_corners=False)
    if config.flip and mirror and rng.random() < 0.5:
        images = images.flip(3)
    return recoloured(images, config.colour, rng) if config.colour else images


def part(
    height: int, width: int, size: tuple[int, int], config: BackboneConfig, rng: np.random.Generator
) -> tuple[int, int, int, int]:
    """(top, left, height, width) of a random part of an image; without `crop_area` its middle, as features have it."""
    if config.crop_area is None:
        return (height - size[0]) // 2, (width - size[1]) // 2, *size
    stretch = math.log(config.crop_aspect)
    for _ in range(TRIES):
        area = rng.uniform(*config.crop_area) * height * width
        aspect = math.exp(rng.uniform(-stretch, stretch)) * size[1] / size[0]
        across, down = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < across <= width and 0 < down <= height:
            top = int(rng.integers(height - down, endpoint=True))
            return top, int(rng.integers(width - across, endpoint=True)), down, across
    return 0, 0, height, width


def recoloured(images: Tensor, most: float, rng: np.random.Generator) -> Tensor:
    """Brightness, contrast and saturation of [N, 3, H, W] in 0..255 changed by factors up to 1 ± most."""
    brightness, contrast, saturation = rng.uniform(1 - most, 1 + most, 3)
    images = images * brightness
    grey = torch.einsum("nchw,c->nhw", images, images.new_tensor(GREY))[:, None]
    images = grey + (images - grey) * saturation
    mean = grey.mean()
    return (mean + (images - mean) * contrast).clamp(0, 255)
