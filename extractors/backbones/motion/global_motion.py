"""Global motion between consecutive frames: a similarity transform, fitted robustly (Baker & Matthews 2004).

Motion is (right, down, larger, clockwise) in units of half the image height and radians; `aspect` is its width
divided by its height. Images are [N, 1, H, W].
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

ITERATIONS = (3, 3, 4)  # Gauss-Newton steps per pyramid level, from the finest
PIXELS_AT_ONCE = 100_000


def normalised_levels(luma: Tensor) -> list[Tensor]:
    """A pyramid of locally normalised images, finest first: fades and flicker cancel, edges stay."""
    levels = []
    luma = _box(luma, 3)  # interpolation blurs, which biases the fit to half pixels in a sharper image
    for _ in ITERATIONS:
        centred = luma - _box(luma, 7)
        levels.append(centred.mul_(_box(centred.square(), 7).add_(0.02**2).rsqrt_()))
        luma = F.avg_pool2d(luma, 2, ceil_mode=True) if min(luma.shape[2:]) > 8 else luma
    return levels


def _box(images: Tensor, size: int) -> Tensor:
    """Mean over ``size`` × ``size`` pixels (fewer at the edges and in smaller images), one axis at a time."""
    rows, columns = (_means(side, min(size, side - 1 + side % 2), images.device) for side in images.shape[2:])
    return rows @ (images @ columns.T)


def _means(side: int, size: int, device: torch.device) -> Tensor:
    """The matrix [side, side] that takes a line of pixels to means over ``size`` of them: on CPUs several times quicker
    than pooling."""
    pixels = torch.arange(side, device=device)
    near = ((pixels[:, None] - pixels).abs() <= size // 2).float()
    return near / near.sum(1, keepdim=True)


def global_motion(levels: list[Tensor], aspect: float) -> tuple[Tensor, Tensor, Tensor]:
    """The image's motion since the previous frame, [N, 4] as (right, down, larger, clockwise) in units of half the
    height and radians; the change it leaves unexplained [N, 1, H, W]; the fraction of the image that follows it [N].

    Gauss-Newton from the coarsest level with Geman-McClure weights, so that things moving on their own are left out."""
    count = len(levels[0])
    motion = torch.zeros(count, 4, device=levels[0].device)
    residual = torch.zeros_like(levels[0])
    inliers = torch.ones(count, device=motion.device)
    if count < 2:
        return motion, residual, inliers
    for level, steps in zip(reversed(levels), reversed(ITERATIONS), strict=True):
        for pairs, earlier in _batches(level):
            _refine(motion[pairs], level[pairs], level[earlier], steps, aspect)
    for pairs, earlier in _batches(levels[0]):
        error, inside = _error(levels[0][pairs], levels[0][earlier], motion[pairs], aspect)
        residual[pairs] = (error * inside).view_as(residual[pairs])
        inliers[pairs] = (error.abs() < 0.5).float().mean(1)
    return motion, residual, inliers


def _batches(level: Tensor) -> Iterator[tuple[slice, slice]]:
    """Frames that have a predecessor, and their predecessors, as many at once as stay in the CPU cache."""
    count, _, height, width = level.shape
    at_once = max(1, PIXELS_AT_ONCE // (height * width))
    for first in range(1, count, at_once):
        last = min(first + at_once, count)
        yield slice(first, last), slice(first - 1, last - 1)


def _refine(motion: Tensor, now: Tensor, before: Tensor, steps: int, aspect: float) -> None:
    """Take ``steps`` Gauss-Newton steps on ``motion`` [n, 4], in place."""
    jacobian = _jacobian(now, aspect)
    damping = 1e-4 * jacobian.shape[2] * torch.eye(4, device=motion.device)
    for _ in range(steps):
        error, inside = _error(now, before, motion, aspect)
        weighted = jacobian * (_weights(error) * inside)[:, None]
        hessian = weighted @ jacobian.transpose(1, 2) + damping
        step = torch.linalg.solve(hessian, weighted @ error[..., None])[..., 0]
        motion -= step.clamp(-0.3, 0.3)


def _weights(error: Tensor) -> Tensor:
    scale = (1.5 * error.abs().mean(1, keepdim=True)).square() + 1e-4
    return (scale / (scale + error.square())).square()


def _error(now: Tensor, before: Tensor, motion: Tensor, aspect: float) -> tuple[Tensor, Tensor]:
    """``now`` minus ``before`` moved by ``motion``, and which pixels are inside both images, both [N, H W].

    Each is moved half of the way: interpolation blurs, and blurring only one would bias the fit towards the strongest
    blur."""
    forward, inside_now = warp(now, motion / 2, aspect)
    backward, inside_before = warp(before, -motion / 2, aspect)
    return (forward - backward).flatten(1), (inside_now * inside_before).flatten(1)


def warp(images: Tensor, motion: Tensor, aspect: float) -> tuple[Tensor, Tensor]:
    """Look up ``images`` [N, 1, H, W] at positions displaced by ``motion`` [N, 4]; and whether they lie inside."""
    right, down, larger, turn = motion.view(-1, 4, 1, 1).unbind(1)
    count, _, height, width = images.shape
    x, y = _centres(width, images.device), _centres(height, images.device).view(-1, 1)
    # Written into one array row by row: F.affine_grid does the same through many tiny matrix products.
    grid = torch.empty(count, height, width, 2, device=images.device)
    u = torch.add((1 + larger) * x, right / aspect - turn / aspect * y, out=grid[..., 0])
    v = torch.add(turn * aspect * x, (1 + larger) * y + down, out=grid[..., 1])
    moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return moved, (u.abs_() <= 1).logical_and_(v.abs_() <= 1)


def _centres(pixels: int, device: torch.device) -> Tensor:
    """Where the centres of so many pixels lie between -1 and 1."""
    return (torch.arange(pixels, device=device) * 2 + 1 - pixels) / pixels


def _jacobian(images: Tensor, aspect: float) -> Tensor:
    """Change of ``images`` [N, 1, H, W] per unit of each motion parameter, [N, 4, H W]."""
    _, _, height, width = images.shape
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    # A pixel is 2 / height units wide, so a central difference spans 4 / height.
    gx = (padded[:, 0, 1:-1, 2:] - padded[:, 0, 1:-1, :-2]) * (height / 4)
    gy = (padded[:, 0, 2:, 1:-1] - padded[:, 0, :-2, 1:-1]) * (height / 4)
    x = _centres(width, images.device) * (width / height)
    y = _centres(height, images.device).view(-1, 1)
    return torch.stack([gx, gy, gx * x + gy * y, gy * x - gx * y], 1).flatten(2)
