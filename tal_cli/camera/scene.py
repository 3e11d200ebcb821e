"""Scene of one shot: a background seen by a moving camera, with objects moving in front of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tal_cli.camera import textures
from tal_cli.camera.kernels import draw, warp
from tal_cli.camera.people import Person
from tal_cli.camera.timeline import Shot

Float = NDArray[np.float64]
UInt8 = NDArray[np.uint8]

WORLD = 1.6  # size of the background relative to the image; beyond it the background is mirrored
SPRITE_PIXELS = 96


@dataclass(frozen=True)
class Thing:
    """A foreground object: ``image`` [s, s, 4], ``place`` [frames, 2] in texture pixels, ``turn`` [frames] in radians,
    ``radius`` [frames] in texture pixels. ``tracked``: the camera follows it, so its place is relative
    to the camera's."""

    image: UInt8
    place: Float
    turn: Float
    radius: Float
    tracked: bool


@dataclass(frozen=True)
class _Ripple:
    """Waves through the image, as on water or in leaves, which are not camera motion. ``size`` in pixels (0: none),
    ``waves`` along each axis, ``speed`` in radians per frame."""

    size: Float
    waves: Float
    speed: Float
    lengths: tuple[int, int]

    @classmethod
    def random(cls, rng: np.random.Generator, width: int, height: int, fps: float) -> _Ripple:
        size = rng.uniform(0.002, 0.02, 2) * width * (rng.random() < 0.2)
        return cls(size, rng.uniform(8, 60, 2), rng.uniform(2, 20, 2) / fps, (height, width))

    def shifts(self, frame: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        rows, columns = (
            size * np.sin(np.linspace(0, waves, length) + speed * frame)
            for size, waves, speed, length in zip(self.size, self.waves, self.speed, self.lengths, strict=True)
        )
        return rows.astype(np.float32), columns.astype(np.float32)


class Scene:
    """Paints the frames of one shot at ``width`` × ``height`` pixels."""

    def __init__(self, rng: np.random.Generator, shot: Shot, width: int, height: int, fps: float) -> None:
        path = shot.path
        self._size = np.array([width, height], np.float64)
        texture = textures.drawing if shot.drawn else textures.background
        self._texture = texture(rng, int(WORLD * width), int(WORLD * height))
        self._shake = np.stack([path.shake_x, path.shake_y], 1) * width
        self._scale = np.exp(np.cumsum(path.zoom) / fps) * rng.uniform(0.95, 1.3)
        self._angle = np.radians(np.cumsum(path.roll) / fps)
        # If the image moves right, the camera's centre moves left in its own rolled coordinate frame.
        step = -np.stack([path.x, path.y], 1) * self._size / fps / self._scale[:, None]
        self._centre = rng.uniform(0.3, 0.7, 2) * WORLD * self._size + np.cumsum(_rotate(step, self._angle), 0)
        self._ripple = _Ripple.random(rng, width, height, fps)
        if shot.people is None:
            self._things = [
                thing
                for _ in range(rng.choice([0, 1, 2, 4], p=[0.25, 0.3, 0.3, 0.15]))
                for thing in _random_things(rng, self._size, self._centre[0], path.x.size, fps)
            ]
        else:
            # Everybody stands where the camera looks at first, and keeps their size in the image.
            middle = self._centre[0] if rng.random() < 0.7 else self._centre
            self._things = [
                limb for person in shot.people for limb in _limbs(rng, person, self._size, middle, self._scale[0])
            ]

    def paint(self, out: UInt8, frame: int) -> None:
        """Fill ``out`` [H, W, 3] with frame ``frame`` of the shot."""
        view = self._view(frame)
        warp(out, self._texture, view.astype(np.float32), *self._ripple.shifts(frame))
        for thing in self._things:
            self._draw(out, thing, frame, view)

    def _view(self, frame: int) -> Float:
        """The matrix [2, 3] from image to texture pixels."""
        linear = _rotation(self._angle[frame]) / self._scale[frame]
        offset = self._centre[frame] - linear @ (self._size / 2 + self._shake[frame])
        return np.column_stack([linear, offset])

    def _draw(self, out: UInt8, thing: Thing, frame: int, view: Float) -> None:
        place = thing.place[frame] + (self._centre[frame] if thing.tracked else 0)
        seen = np.linalg.solve(view[:, :2], place - view[:, 2])
        reach = 1.5 * thing.radius[frame] * self._scale[frame]
        box = np.concatenate([seen - reach, seen + reach + 1])
        if (box[:2] > self._size).any() or (box[2:] < 0).any():
            return
        half = thing.image.shape[0] / 2
        linear = _rotation(-thing.turn[frame]) * half / thing.radius[frame]
        matrix = np.column_stack([linear @ view[:, :2], linear @ (view[:, 2] - place) + half])
        left, top, right, bottom = (int(edge) for edge in np.clip(box, -1e6, 1e6))
        draw(out, thing.image, matrix.astype(np.float32), (left, top, right, bottom))


def _random_things(rng: np.random.Generator, size: Float, centre: Float, frames: int, fps: float) -> list[Thing]:
    """One foreground object, of one part or of several that swing around a common centre."""
    time = np.arange(frames)[:, None] / fps
    tracked = bool(rng.random() < 0.35)
    if rng.random() < 0.12:
        radius, speed = size[1] * rng.uniform(0.3, 0.8), rng.uniform(0.3, 1.5)  # an object passes close to the lens
    else:
        radius, speed = size[1] * np.exp(rng.uniform(np.log(0.05), np.log(0.35))), rng.uniform(0, 0.35)
    heading = rng.normal(0, 1, 2) * (1.0, 0.3)
    line = heading / np.linalg.norm(heading) * speed * size * (time - rng.uniform(0, max(time[-1, 0], 0.1)))
    wander = sum(
        rng.normal(0, 0.04, 2) * size * np.sin(2 * np.pi * (rng.uniform(0.2, 1.5) * time + rng.random(2)))
        for _ in range(3)
    )
    start = rng.uniform(-0.35, 0.35, 2) * size + (0 if tracked else centre)
    place = start + wander + (0 if tracked else line)
    parts = int(rng.choice([1, 1, 3, 5]))
    things = []
    for _ in range(parts):
        swing = rng.normal(0, 0.7) * np.sin(2 * np.pi * (rng.uniform(0.3, 2.5) * time[:, 0] + rng.random()))
        arm = rng.normal(0, 0.7, 2) * radius * (parts > 1)
        own = radius * (1.0 if parts == 1 else rng.uniform(0.3, 0.7))
        image = textures.sprite(rng, SPRITE_PIXELS)
        joint = place + _rotate(np.tile(arm, (frames, 1)), swing)
        things.append(Thing(image, joint, swing, np.full(frames, own), tracked))
    return things


def _limbs(rng: np.random.Generator, person: Person, size: Float, middle: Float, scale: float) -> list[Thing]:
    """The body's limbs in texture pixels, around the camera's ``middle`` ([2], or [frames, 2] if it follows them)."""
    height = person.height * size[1] / scale
    body = middle + person.place * size / scale
    things = []
    for limb in person.limbs:
        turn = person.lean + limb.swings * person.swing
        half = 0.5 * limb.length
        # A limb's long axis points down its sprite; it turns around its root.
        tip = _rotate(np.tile([0.0, half], (len(height), 1)), turn)
        root = _rotate(np.tile([limb.root[1], limb.root[0]], (len(height), 1)), person.lean)
        image = textures.limb(rng, SPRITE_PIXELS, limb.width / abs(limb.length))
        longest = max(abs(limb.length), limb.width)
        things.append(Thing(image, body + (root + tip) * height[:, None], turn, 0.55 * longest * height, False))
    return things


def _rotation(angle: float) -> Float:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])


def _rotate(vectors: Float, angles: Float) -> Float:
    """Turn each of ``vectors`` [frames, 2] by its angle in radians."""
    cos, sin = np.cos(angles), np.sin(angles)
    return np.stack([vectors[:, 0] * cos - vectors[:, 1] * sin, vectors[:, 0] * sin + vectors[:, 1] * cos], 1)
