"""Global motion between consecutive frames: a similarity transform, fitted robustly (Baker & Matthews 2004).

Motion is (right, down, larger, clockwise) in units of half the image height and radians; `aspect` is its width
divided by its height. Images are float32 [N, H, W]. Compiled by numba: each frame stays in the CPU's cache until it is
done, where arrays of all frames would pass through memory at every operation.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from tal_cli.extractors.cpu import compiled

Floats = NDArray[np.float32]
kernel = partial(compiled, reorder=True)
# Rounded as the matrix products were that the shipped weights were trained with: where an image is nearly flat, local
# normalisation enlarges differences in the last digit, and the fit as well.
rounded = partial(compiled, fused=True)
exact = partial(compiled, fused=False)
Places = tuple[Floats, Floats]
single = np.float32  # without it numba computes in float64

SMALLEST = 8  # pixels: images whose shorter side is not longer are not halved
LARGEST_STEP = single(0.3)


@kernel
def normalised_levels(images: Floats) -> tuple[Floats, Floats, Floats]:
    """A pyramid of locally normalised images, finest first: fades and flicker cancel, edges stay."""
    count, height, width = images.shape
    fine = np.empty_like(images)
    height, width = _half_size(height, width)
    middle = np.empty((count, height, width), single)
    height, width = _half_size(height, width)
    levels = fine, middle, np.empty((count, height, width), single)
    for frame in range(count):
        smooth = _box(images[frame], 3)  # interpolation blurs, which biases the fit to half pixels in a sharper image
        for level in levels:
            _normalise(smooth, level[frame])
            smooth = _halved(smooth)
    return levels


@rounded
def _normalise(image: Floats, out: Floats) -> None:
    height, width = image.shape
    centred, squares = _box(image, 7), np.empty_like(image)
    for y in range(height):
        for x in range(width):
            centred[y, x] = image[y, x] - centred[y, x]
            squares[y, x] = centred[y, x] * centred[y, x]
    spread = _box(squares, 7)
    for y in range(height):
        for x in range(width):
            out[y, x] = centred[y, x] * (single(1) / np.sqrt(spread[y, x] + single(0.02**2)))


@rounded
def _box(image: Floats, size: int) -> Floats:
    """Mean of [H, W] over ``size`` × ``size`` pixels, fewer at the edges and in smaller images."""
    height, width = image.shape
    down, across = min(size, height - 1 + height % 2) // 2, min(size, width - 1 + width % 2) // 2
    shares = np.empty(width, single)
    for x in range(width):
        shares[x] = single(1) / single(min(width, x + across + 1) - max(0, x - across))
    line = np.zeros(width + 2 * across, single)  # between zeros
    means, out = np.zeros_like(image), np.zeros_like(image)
    for y in range(height):
        line[across : across + width] = image[y]
        mean = means[y]
        for shift in range(2 * across + 1):
            shifted = line[shift : shift + width]
            for x in range(width):
                mean[x] += shifted[x] * shares[x]
    for y in range(height):
        first, last = max(0, y - down), min(height, y + down + 1)
        share, mean = single(1) / single(last - first), out[y]
        for row in means[first:last]:
            for x in range(width):
                mean[x] += row[x] * share
    return out


@rounded
def _halved(image: Floats) -> Floats:
    """Mean of 2 × 2 pixels, fewer at the edges of odd sides; a small image as it is."""
    height, width = _half_size(*image.shape)
    if height == image.shape[0]:
        return image
    out = np.empty((height, width), single)
    for y in range(height):
        for x in range(width):
            part = image[2 * y : 2 * y + 2, 2 * x : 2 * x + 2]
            total = single(0)
            for row in part:
                for value in row:
                    total += value
            out[y, x] = total / single(part.size)
    return out


@rounded
def _half_size(height: int, width: int) -> tuple[int, int]:
    return (height, width) if min(height, width) <= SMALLEST else ((height + 1) // 2, (width + 1) // 2)


@kernel
def global_motion(levels: tuple[Floats, Floats, Floats], aspect: float) -> tuple[Floats, Floats, Floats]:
    """The image's motion since the previous frame, [N, 4] as (right, down, larger, clockwise) in units of half the
    height and radians; the change it leaves unexplained [N, H, W]; the fraction of the image that follows it [N].

    Gauss-Newton from the coarsest level with Geman-McClure weights, so that things moving on their own are left out."""
    fine, middle, coarse = levels
    count = len(fine)
    motion = np.zeros((count, 4), single)
    residual = np.zeros_like(fine)
    inliers = np.ones(count, single)
    for now in range(1, count):
        for level, steps in ((coarse, 4), (middle, 3), (fine, 3)):
            _refine(motion[now], level[now], level[now - 1], steps, aspect)
        inliers[now] = _unexplained(motion[now], fine[now], fine[now - 1], aspect, residual[now])
    return motion, residual, inliers


@kernel
def _refine(motion: Floats, now: Floats, before: Floats, steps: int, aspect: float) -> None:
    """Take ``steps`` Gauss-Newton steps on ``motion`` [4], in place.

    Each image is moved half of the way: interpolation blurs, and blurring only one would bias the fit towards the
    strongest blur."""
    height, width = now.shape
    pixels = height * width
    a, b, c, d = _jacobian(now, aspect)
    later, earlier = now.reshape(pixels), before.reshape(pixels)
    normal, side = np.empty((4, 4)), np.empty(4)
    for _ in range(steps):
        to, back = _places(motion, 0.5, aspect, height, width), _places(motion, -0.5, aspect, height, width)
        size = single(0)
        # Loops with lookups become vector operations only if they store nothing, so errors are computed twice.
        for p in range(pixels):
            size += abs(_error(later, earlier, height, width, p, to, back)[0])
        scale = (single(1.5) * size / single(pixels)) ** 2 + single(1e-4)
        aa = ab = ac = ad = bb = bc = bd = cc = cd = dd = ae = be = ce = de = single(0)
        for p in range(pixels):
            error, inside = _error(later, earlier, height, width, p, to, back)
            weight = scale / (scale + error * error)
            weight *= weight * inside
            wa, wb, wc, wd = weight * a[p], weight * b[p], weight * c[p], weight * d[p]
            aa += wa * a[p]
            ab += wa * b[p]
            ac += wa * c[p]
            ad += wa * d[p]
            bb += wb * b[p]
            bc += wb * c[p]
            bd += wb * d[p]
            cc += wc * c[p]
            cd += wc * d[p]
            dd += wd * d[p]
            ae += wa * error
            be += wb * error
            ce += wc * error
            de += wd * error
        sums = (aa, ab, ac, ad, ab, bb, bc, bd, ac, bc, cc, cd, ad, bd, cd, dd)
        for row in range(4):
            for column in range(4):
                normal[row, column] = sums[4 * row + column]
            normal[row, row] += 1e-4 * pixels
            side[row] = (ae, be, ce, de)[row]
        _solve(normal, side)
        for row in range(4):
            motion[row] -= max(-LARGEST_STEP, min(LARGEST_STEP, single(side[row])))


@kernel
def _unexplained(motion: Floats, now: Floats, before: Floats, aspect: float, residual: Floats) -> float:
    """``now`` minus ``before`` moved by ``motion`` into ``residual``, 0 beside the common part, all [H, W]; gives the
    fraction of pixels that differ little."""
    height, width = now.shape
    pixels = height * width
    later, earlier, out = now.reshape(pixels), before.reshape(pixels), residual.reshape(pixels)
    to, back = _places(motion, 0.5, aspect, height, width), _places(motion, -0.5, aspect, height, width)
    little = 0
    for p in range(pixels):
        error, inside = _error(later, earlier, height, width, p, to, back)
        out[p] = error * inside
        little += abs(error) < single(0.5)
    return little / pixels


@kernel
def _solve(matrix: NDArray[np.float64], side: NDArray[np.float64]) -> None:
    """Turn ``side`` into the solution of a positive definite system, by Gaussian elimination."""
    count = len(side)
    for pivot in range(count):
        for row in range(pivot + 1, count):
            factor = matrix[row, pivot] / matrix[pivot, pivot]
            for column in range(pivot, count):
                matrix[row, column] -= factor * matrix[pivot, column]
            side[row] -= factor * side[pivot]
    for row in range(count - 1, -1, -1):
        for column in range(row + 1, count):
            side[row] -= matrix[row, column] * side[column]
        side[row] /= matrix[row, row]


@rounded
def _error(
    now: Floats, before: Floats, height: int, width: int, pixel: int, to: Places, back: Places
) -> tuple[float, float]:
    """``now`` [H W] at a pixel's place in ``to`` minus ``before`` at that in ``back``; and 1 if both lie inside."""
    forward, inside = _look_up(now, height, width, to[0][pixel], to[1][pixel])
    backward, too = _look_up(before, height, width, back[0][pixel], back[1][pixel])
    return forward - backward, inside * too


@kernel
def aligned(images: Floats, motion: Floats, aspect: float, lag: int) -> Floats:
    """Change of ``images`` over ``lag`` frames with their motion over these, [N, 4], removed, [N, H, W]; 0 beside the
    common part."""
    count, height, width = images.shape
    change = np.zeros_like(images)
    flat, out = images.reshape(count, height * width), change.reshape(count, height * width)
    for now in range(lag, count):
        x, y = _places(motion[now], -1.0, aspect, height, width)
        before = flat[now - lag]
        for p in range(height * width):
            moved, inside = _look_up(before, height, width, x[p], y[p])
            out[now, p] = (flat[now, p] - moved) * inside
    return change


@exact
def _places(motion: Floats, part: float, aspect: float, height: int, width: int) -> Places:
    """Where ``part`` of ``motion`` [4] takes the pixels of an image, each [H W]: right and down from -1 to 1."""
    part, aspect = single(part), single(aspect)
    right, down, larger, turn = part * motion[0], part * motion[1], part * motion[2], part * motion[3]
    x, y = np.empty((height, width), single), np.empty((height, width), single)
    across, along = np.empty(width, single), np.empty(width, single)
    for column in range(width):
        centre = single(2 * column + 1 - width) / single(width)
        across[column] = (single(1) + larger) * centre
        along[column] = turn * aspect * centre
    for row in range(height):
        centre = single(2 * row + 1 - height) / single(height)
        shift_x, shift_y = right / aspect - turn / aspect * centre, (single(1) + larger) * centre + down
        line_x, line_y = x[row], y[row]
        for column in range(width):
            line_x[column] = across[column] + shift_x
            line_y[column] = along[column] + shift_y
    return x.reshape(height * width), y.reshape(height * width)


@rounded
def _look_up(flat: Floats, height: int, width: int, x: float, y: float) -> tuple[float, float]:
    """An image [H W] at a place, bilinear, beyond its edges as at them; and 1 if the place is inside, else 0."""
    one = single(1)
    inside = (abs(x) <= one) & (abs(y) <= one)
    x = max(single(0), min(single(width - 1), (x + one) * single(width / 2) - single(0.5)))
    y = max(single(0), min(single(height - 1), (y + one) * single(height / 2) - single(0.5)))
    left, top = min(np.int32(x), np.int32(width - 2)), min(np.int32(y), np.int32(height - 2))
    x -= single(left)
    y -= single(top)
    above = np.uint32(top * np.int32(width) + left)  # unsigned: numba tests other indices for being negative
    below = above + np.uint32(width)
    value = flat[above] * ((one - x) * (one - y)) + flat[above + np.uint32(1)] * (x * (one - y))
    value = value + flat[below] * ((one - x) * y) + flat[below + np.uint32(1)] * (x * y)
    return value, single(inside)


@exact
def _jacobian(image: Floats, aspect: float) -> tuple[Floats, Floats, Floats, Floats]:
    """Change of ``image`` [H, W] per unit of each motion parameter, each [H W]."""
    height, width = image.shape
    across, down = np.empty((height, width), single), np.empty((height, width), single)
    larger, turn = np.empty((height, width), single), np.empty((height, width), single)
    x = np.empty(width, single)
    for column in range(width):
        x[column] = single(2 * column + 1 - width) / single(width) * single(width / height)
    steep = single(height / 4)  # a pixel is 2 / height units wide, so a central difference spans 4 / height
    for row in range(height):
        above, line, below = image[max(0, row - 1)], image[row], image[min(height - 1, row + 1)]
        y = single(2 * row + 1 - height) / single(height)
        before, after, gx, gy = line[:-2], line[2:], across[row], down[row]
        inner = gx[1:-1]
        for column in range(width - 2):
            inner[column] = (after[column] - before[column]) * steep
        gx[0], gx[-1] = (line[1] - line[0]) * steep, (line[-1] - line[-2]) * steep
        out_larger, out_turn = larger[row], turn[row]
        for column in range(width):
            gy[column] = (below[column] - above[column]) * steep
            out_larger[column] = gx[column] * x[column] + gy[column] * y
            out_turn[column] = gy[column] * x[column] - gx[column] * y
    pixels = height * width
    return across.reshape(pixels), down.reshape(pixels), larger.reshape(pixels), turn.reshape(pixels)
