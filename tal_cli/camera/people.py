"""People in front of the camera: they walk by, sit down, come near, lie down, wave and keep still.

None of it is an event of the camera. A body is a few limbs; upright as seen by somebody, or as seen from the ceiling.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

VISIBLE_SPEED = 0.15  # image heights per second, from which a body that stops in a frozen frame is missed


@dataclass(frozen=True)
class Limb:
    """An oblong part of a body, in units of its height: ``root`` is where it begins, below the middle and to its right;
    ``length`` (negative: upwards) and ``width``; by how many radians it ``swings`` around its root."""

    root: tuple[float, float]
    length: float
    width: float
    swings: float


UPRIGHT = (
    Limb((-0.05, -0.06), 0.5, 0.13, 0.5),
    Limb((-0.05, 0.06), 0.5, 0.13, -0.5),
    Limb((0.0, 0.0), -0.4, 0.26, 0.0),
    Limb((-0.34, -0.12), 0.4, 0.09, -0.7),
    Limb((-0.34, 0.12), 0.4, 0.09, 0.7),
    Limb((-0.36, 0.0), -0.17, 0.15, 0.05),
)
FROM_ABOVE = (
    Limb((-0.05, -0.12), 0.35, 0.13, 0.5),
    Limb((-0.05, 0.12), 0.35, 0.13, -0.5),
    Limb((0.0, 0.0), 0.25, 0.5, 0.0),
    Limb((0.0, -0.22), 0.35, 0.1, -0.6),
    Limb((0.0, 0.22), 0.35, 0.1, 0.6),
    Limb((-0.06, 0.0), 0.24, 0.24, 0.05),
)


@dataclass(frozen=True)
class Person:
    """One body, arrays per frame: ``place`` [frames, 2] of its middle in image widths and heights from the image's
    centre, ``height`` [frames] in image heights, ``lean`` [frames] in radians, ``swing`` [frames] from -1 to 1."""

    limbs: tuple[Limb, ...]
    place: Float
    height: Float
    lean: Float
    swing: Float

    def moving(self, fps: float) -> Bool:
        """Frames in which a viewer sees it move, [frames]."""
        # Half a body beyond the edge is not missed; widths are those of an image of 4:3.
        seen = (np.abs(self.place) < 0.5 + np.outer(self.height, [0.05, 0.25])).all(1)
        tips = np.column_stack([self.place, self.height, 0.5 * self.lean * self.height, 0.3 * self.swing * self.height])
        speed = np.abs(np.diff(tips, axis=0, prepend=tips[:1])).sum(1) * fps
        return np.asarray(seen & (speed > VISIBLE_SPEED) & (self.height > 0.2))


def random_person(rng: np.random.Generator, frames: int, fps: float) -> Person:
    """Somebody who does one thing after the other, with pauses."""
    above = rng.random() < 0.4
    height = np.full(frames, np.exp(rng.uniform(np.log(0.3), np.log(1.4))))
    lean = np.zeros(frames)
    swing = np.zeros(frames)
    place = np.tile([rng.uniform(-0.9, 0.9), rng.normal(0.05, 0.15)], (frames, 1))
    at = int(rng.uniform(0, 3) * fps)
    while at < frames - fps // 2:
        act = rng.choice(["walk", "sit", "near", "lie", "wave", "pause"], p=[0.32, 0.13, 0.12, 0.07, 0.12, 0.24])
        length = int(np.exp(rng.uniform(np.log(0.6), np.log(3.5))) * fps)
        ease = np.clip((np.arange(frames) - at) / length, 0, 1)
        # A body starts and stops gradually, which is what tells it from one in a frozen frame.
        ease = (3 * ease**2 - 2 * ease**3) if rng.random() < 0.9 else ease
        inside = slice(at, min(frames, at + length))
        beat = np.sin(2 * np.pi * rng.uniform(0.8, 2.2) * np.arange(frames) / fps + rng.uniform(0, 6))
        if act == "walk":
            here = place[min(at, frames - 1)]
            target = np.array([rng.uniform(-1.0, 1.0), here[1] + rng.normal(0, 0.5 if above else 0.08)])
            target[1] = np.clip(target[1], -0.7, 0.7)
            place += ease[:, None] * (target - here)
            swing[inside] += (beat * np.minimum(1, 12 * ease * (1 - ease)))[inside]
            if above:
                heading = np.arctan2(*(target - here)[::-1])
                lean[at:] += _turn_to(heading - lean[at]) * np.clip(np.arange(frames - at) / (0.4 * fps), 0, 1)
        elif act == "sit":
            change = rng.uniform(0.65, 0.85) if height[at] >= height[0] * 0.95 else 1 / 0.75
            height *= change**ease
            place[:, 1] += ease * height[at] * (1 - change) * (0.05 if above else 0.4)
        elif act == "near":
            change = np.exp(rng.uniform(-0.8, 1.0))
            change = np.clip(height[at] * change, 0.25, 2.0) / height[at]
            height *= change**ease
            swing[inside] += (0.6 * beat * np.minimum(1, 12 * ease * (1 - ease)))[inside]
        elif act == "lie":
            lean += ease * rng.choice([-1, 1]) * np.pi / 2 * rng.uniform(0.7, 1)
            place[:, 1] += ease * 0.15 * height[at]
        elif act == "wave":
            swing[inside] += (beat * rng.uniform(0.3, 1.3) * np.sin(np.pi * ease))[inside]
        else:
            length *= int(rng.integers(1, 5))
        at += length + int(rng.exponential(0.6) * fps)
    breath = 1 + 0.004 * np.sin(2 * np.pi * (0.3 * np.arange(frames) / fps + rng.random()))
    return Person(FROM_ABOVE if above else UPRIGHT, place, height * breath, lean, swing)


def _turn_to(angle: float) -> float:
    """The same direction between half a turn back and half a turn forth."""
    return float((angle + np.pi) % (2 * np.pi) - np.pi)
