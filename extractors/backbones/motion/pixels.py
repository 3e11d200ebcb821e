"""Light, colours and changes of pixels, means over parts of images; compiled by numba as `global_motion.py` is.

Images are float32 [N, H, W]. Where an earlier frame is not available there is no change.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from tal_cli.extractors.cpu import compiled

Floats = NDArray[np.float32]
kernel = partial(compiled, reorder=True)
single = np.float32  # without it numba computes in float64

BLOCKS = 4  # images are divided into BLOCKS × BLOCKS parts
HISTOGRAM_STEPS = 8
LANES = 8
STILL = single(1.5 / 255)  # a pixel that changes less is still
PARTS = BLOCKS**2 + 2  # what `pool` measures: blocks, border, all
RED, GREEN, BLUE = (single(weight) / single(255) for weight in (0.299, 0.587, 0.114))


@compiled
def brightness(frames: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """Luma [N, H, W] of ``frames`` [N, H, W, 3], and means over 2 × 2 of its pixels [N, H / 2, W / 2], 0 to 1.

    Rounded as the matrix product was that the shipped weights were trained with: grey images have many pixels right at
    a threshold of the histogram.
    """
    count, height, width, _ = frames.shape
    luma = np.empty((count, height, width), single)
    half = np.empty((count, height // 2, width // 2), single)
    for frame in range(count):
        for y in range(height):
            line, pixels = luma[frame, y], frames[frame, y].reshape(3 * width)
            for x in range(width):
                red, green, blue = single(pixels[3 * x]), single(pixels[3 * x + 1]), single(pixels[3 * x + 2])
                line[x] = single(np.float64(red * RED) + np.float64(green) * np.float64(GREEN)) + blue * BLUE
        for y in range(height // 2):
            upper, lower, out = luma[frame, 2 * y], luma[frame, 2 * y + 1], half[frame, y]
            for x in range(width // 2):
                total = upper[2 * x] + upper[2 * x + 1] + lower[2 * x] + lower[2 * x + 1]
                out[x] = total * single(0.25)
    return luma, half


@kernel
def mean_colours(frames: NDArray[np.uint8], high: int, wide: int) -> Floats:
    """Mean colours, 0 to 1, of parts of ``high`` × ``wide`` pixels, [N, 3, H / high, W / wide]."""
    count, height, width, _ = frames.shape
    out = np.empty((count, 3, height // high, width // wide), single)
    share = single(255 * high * wide)
    strip = np.empty(3 * width, np.int32)
    for frame in range(count):
        rows = frames[frame].reshape(height, 3 * width)
        for part in range(height // high):
            strip[:] = 0
            for row in rows[part * high : (part + 1) * high]:
                for x in range(3 * width):
                    strip[x] += row[x]
            for column in range(width // wide):
                red = green = blue = np.int32(0)
                for pixel in range(column * wide, (column + 1) * wide):
                    red += strip[3 * pixel]
                    green += strip[3 * pixel + 1]
                    blue += strip[3 * pixel + 2]
                out[frame, 0, part, column] = single(red) / share
                out[frame, 1, part, column] = single(green) / share
                out[frame, 2, part, column] = single(blue) / share
    return out


@compiled
def deviation(images: Floats, means: Floats) -> Floats:
    """Standard deviation of each image from its mean, [N]; H W is a multiple of LANES.

    Squares are added up in LANES, as torch does: what float32 rounds off is not small beside the deviation's changes.
    """
    count, height, width = images.shape
    out = np.empty(count, single)
    lanes = np.empty(LANES, single)
    for frame in range(count):
        lanes[:] = 0
        for values in images[frame].reshape(height * width // LANES, LANES):
            for lane in range(LANES):
                lanes[lane] += (values[lane] - means[frame]) * (values[lane] - means[frame])
        total = single(0)
        for square in lanes:
            total += square
        out[frame] = np.sqrt(total) / single(math.sqrt(height * width - 1))
    return out


@kernel
def fineness(images: Floats) -> Floats:
    """Mean difference of neighbours in a row, [N]."""
    count, height, width = images.shape
    out = np.empty(count, single)
    for frame in range(count):
        total = single(0)
        for row in images[frame]:
            left, right = row[:-1], row[1:]
            for x in range(width - 1):
                total += abs(right[x] - left[x])
        out[frame] = total / single(height * (width - 1))
    return out


@kernel
def cumulative_histogram(images: Floats, levels: Floats) -> Floats:
    """Fraction of pixels brighter than each of ``levels`` [K], [N, K]."""
    count, height, width = images.shape
    out = np.empty((count, len(levels)), single)
    for frame in range(count):
        pixels = images[frame].reshape(height * width)
        for index in range(len(levels)):
            brighter = np.int32(0)
            for value in pixels:
                brighter += value > levels[index]
            out[frame, index] = brighter / len(pixels)
    return out


@kernel
def change(images: Floats, lag: int) -> tuple[Floats, Floats, Floats]:
    """Mean and largest size of the change of each pixel over ``lag`` frames, and the fraction of those that are still,
    each [N]."""
    count, height, width = images.shape
    means, most, still = np.zeros(count, single), np.zeros(count, single), np.ones(count, single)
    largest = np.empty(width, single)
    for frame in range(lag, count):
        largest[:] = 0
        total, few = single(0), 0
        for y in range(height):
            now, before = images[frame, y], images[frame - lag, y]
            for x in range(width):
                size = abs(now[x] - before[x])
                largest[x] = max(largest[x], size)
                total += size
                few += size < STILL
        means[frame], most[frame] = total / single(height * width), largest.max()
        still[frame] = few / (height * width)
    return means, most, still


@kernel
def steadiness(images: Floats, lag: int) -> Floats:
    """Correlation of the change over the last ``lag`` frames with that over the ``lag`` before, [N]: near 1 while one
    image dissolves into another, near 0 or below under motion and noise."""
    count, height, width = images.shape
    flat = images.reshape(count, height * width)
    out = np.zeros(count, single)
    for frame in range(2 * lag, count):
        now, middle, before = flat[frame], flat[frame - lag], flat[frame - 2 * lag]
        both = later = earlier = single(0)
        for p in range(len(now)):
            second, first = now[p] - middle[p], middle[p] - before[p]
            both += second * first
            later += second * second
            earlier += first * first
        out[frame] = both / (np.sqrt(later * earlier) + single(1e-3))
    return out


@kernel
def pooled_products(images: Floats, lag: int) -> Floats:
    """Mean products with the pixels ``lag`` frames earlier, [N, PARTS]: per block, at the border, of all."""
    out = np.zeros((len(images), PARTS), single)
    product = np.empty_like(images[0])
    for frame in range(lag, len(images)):
        for y in range(product.shape[0]):
            now, before, row = images[frame, y], images[frame - lag, y], product[y]
            for x in range(len(row)):
                row[x] = now[x] * before[x]
        _pool(product, out[frame])
    return out


@kernel
def pooled_sizes(images: Floats) -> Floats:
    """Mean sizes, [N, PARTS]: per block, at the border, of all."""
    out = np.empty((len(images), PARTS), single)
    size = np.empty_like(images[0])
    for frame in range(len(images)):
        for y in range(size.shape[0]):
            values, row = images[frame, y], size[y]
            for x in range(len(row)):
                row[x] = abs(values[x])
        _pool(size, out[frame])
    return out


@kernel
def _pool(image: Floats, out: Floats) -> None:
    """Means of [H, W] into ``out`` [PARTS]: per block (overlapping where sides are not divisible), at the border, of
    all. The border is the outer eighth on the left, on the right and at the top, where few things stand in front."""
    height, width = image.shape
    column = np.empty(width, single)
    for down in range(BLOCKS):
        first, last = down * height // BLOCKS, ((down + 1) * height + BLOCKS - 1) // BLOCKS
        _add_rows(image[first:last], column)
        for across in range(BLOCKS):
            left, right = across * width // BLOCKS, ((across + 1) * width + BLOCKS - 1) // BLOCKS
            out[BLOCKS * down + across] = _sum(column[left:right]) / single((last - first) * (right - left))
    high, wide = max(1, height // 8), max(1, width // 8)
    _add_rows(image[:high], column)
    top = _sum(column)
    _add_rows(image[high:], column)
    border = top + _sum(column[:wide]) + _sum(column[width - wide :])
    out[BLOCKS**2] = border / single(high * width + 2 * wide * (height - high))
    out[BLOCKS**2 + 1] = (top + _sum(column)) / single(height * width)


@kernel
def _add_rows(rows: Floats, out: Floats) -> None:
    out[:] = 0
    for row in rows:
        for x in range(len(out)):
            out[x] += row[x]


@kernel
def _sum(values: Floats) -> float:
    total = single(0)
    for value in values:
        total += value
    return total
