"""Camera motion of one shot, and thresholds from which motion counts as an event.

Rates are per second of the image's own motion: x and y in image widths and heights (positive: the image moves
right and down), zoom in natural logarithm of scale, roll in degrees.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

PAN_RATE = 0.08  # image widths (tilt: heights) per second
ZOOM_RATE = float(np.log(1.08))  # scale changes by 8 % per second
ROLL_RATE = 5.0  # degrees per second
SHAKE_AMPLITUDE = 0.015  # image widths, at 3 to 10 Hz


@dataclass(frozen=True)
class CameraPath:
    """The camera of one shot, every array [frames].

    ``x``, ``y``, ``zoom``, ``roll``: rates without the shake (see the module's text). ``shake_x``, ``shake_y``: its
    displacement in image widths, jolts of the hand included. ``shake_size``: its amplitude in image widths.
    """

    x: Float
    y: Float
    zoom: Float
    roll: Float
    shake_x: Float
    shake_y: Float
    shake_size: Float

    def moving(self, fps: float) -> NDArray[np.bool_]:
        """Frames in which a viewer sees the whole image move, [frames]."""
        jolts = np.hypot(*(np.diff(each, prepend=each[:1]) * fps for each in (self.shake_x, self.shake_y)))
        speed = np.abs(self.x) + np.abs(self.y) + np.abs(self.zoom) + np.radians(np.abs(self.roll)) + jolts
        return np.asarray(speed > PAN_RATE / 2)


def tripod(frames: int) -> CameraPath:
    """A camera that keeps still."""
    return CameraPath(*np.zeros((7, frames)))


def random_path(rng: np.random.Generator, frames: int, fps: float) -> CameraPath:
    """Camera of a shot: steady or hand-held, with any number of events, at speeds clearly off the thresholds."""
    quiet = rng.random() < 0.3
    chance = np.zeros(5) if quiet else np.array([0.40, 0.34, 0.36, 0.26, 0.22])
    wanted = rng.random(5) < chance
    jerky = rng.random() < 0.3
    x = _drift(rng, frames, fps, 0.025) + _events(rng, frames, fps, PAN_RATE, 1.2, wanted[0])
    y = _drift(rng, frames, fps, 0.025) + _events(rng, frames, fps, PAN_RATE, 1.2, wanted[1])
    zoom = _drift(rng, frames, fps, 0.012) + _bounded(_events(rng, frames, fps, ZOOM_RATE, 0.8, wanted[2]), fps, 0.9)
    roll = _drift(rng, frames, fps, 0.9) + _bounded(_events(rng, frames, fps, ROLL_RATE, 60.0, wanted[3]), fps, 50.0)
    size = _shake_size(rng, frames, fps) if wanted[4] else np.zeros(frames)
    jitter = size + rng.uniform(0, 0.003) * (rng.random() < 0.5)
    shake_x, shake_y = (
        jitter * _tremble(rng, frames, fps) + (_jolts(rng, frames, fps) if jerky else 0.0) for _ in range(2)
    )
    return CameraPath(x, y, zoom, roll, shake_x, shake_y, size)


def _events(rng: np.random.Generator, frames: int, fps: float, threshold: float, fastest: float, wanted: bool) -> Float:
    rate = np.zeros(frames)
    if not wanted:
        return rate
    at = rng.uniform(-0.5, 1.5) * fps
    while at < frames - 0.6 * fps:
        length = int(np.exp(rng.uniform(np.log(0.7), np.log(rng.choice([2.5, 6.0, 15.0])))) * fps)
        peak = threshold * 1.35 * np.exp(rng.uniform(0, np.log(fastest / (threshold * 1.35)) * rng.uniform(0.3, 1)))
        ease = max(1, int(min(0.4 * length, rng.choice([0.05, 0.25, 0.6]) * fps)))
        shape = np.minimum(1, np.minimum(np.arange(1, length + 1), np.arange(length, 0, -1)) / (ease + 1))
        first, last = max(0, int(at)), min(frames, int(at) + length)
        rate[first:last] += rng.choice([-1, 1]) * peak * shape[first - int(at) : last - int(at)]
        at += length + rng.uniform(0.5, 5) * fps
    return rate


def _bounded(rate: Float, fps: float, limit: float) -> Float:
    """Reverse an event that would move the camera's pose beyond ``limit`` (logarithm of scale, degrees)."""
    out, pose = rate.copy(), 0.0
    edges = np.flatnonzero(np.diff(np.concatenate([[0.0], np.sign(np.abs(rate)), [0.0]])))
    for first, last in zip(edges[::2], edges[1::2], strict=True):
        change = out[first:last].sum() / fps
        if abs(pose + change) > limit:
            change, out[first:last] = -change, -out[first:last]
        if abs(pose + change) > limit:
            # Too long in either direction: the motion stops at the limit.
            travelled = np.abs(pose + np.cumsum(out[first:last]) / fps)
            out[first:last][travelled > limit] = 0
            change = out[first:last].sum() / fps
        pose += change
    return out


def _drift(rng: np.random.Generator, frames: int, fps: float, deviation: float) -> Float:
    """Slow motion below all thresholds: none on a tripod, drift of a hand-held camera, sometimes a slow move."""
    time = np.arange(frames) / fps
    wander = sum(rng.normal() * np.sin(2 * np.pi * (rng.uniform(0.1, 1.5) * time + rng.random())) for _ in range(4)) * (
        deviation / 2 * rng.uniform(0.1, 1) * (rng.random() < 0.7)
    )
    creep = rng.uniform(-1.5, 1.5) * deviation * (rng.random() < 0.2)
    return np.clip(wander + creep, -2.2 * deviation, 2.2 * deviation) * np.ones(frames)


def _jolts(rng: np.random.Generator, frames: int, fps: float) -> Float:
    """Displacement by single jerks of the hand, too short to be an event."""
    place = np.zeros(frames)
    for at in rng.integers(0, frames, rng.poisson(frames / fps / 2)):
        length = int(rng.integers(1, max(2, int(0.25 * fps))))
        ramp = np.clip((np.arange(frames) - at) / length, 0, 1)
        place += rng.normal(0, 0.02) * (3 * ramp**2 - 2 * ramp**3)
    return place


def _shake_size(rng: np.random.Generator, frames: int, fps: float) -> Float:
    length = int(min(frames, rng.uniform(0.6, 5) * fps))
    first = int(rng.integers(0, frames - length + 1))
    ease = max(1, int(rng.uniform(0.03, 0.25) * fps))
    size = np.zeros(frames)
    shape = np.minimum(1, np.minimum(np.arange(1, length + 1), np.arange(length, 0, -1)) / (ease + 1))
    size[first : first + length] = shape * rng.uniform(0.02, 0.05)
    return size


def _tremble(rng: np.random.Generator, frames: int, fps: float) -> Float:
    """Unit-amplitude motion between 3 and 10 Hz."""
    time = np.arange(frames) / fps
    waves = [np.sin(2 * np.pi * (rng.uniform(3, min(10, 0.4 * fps)) * time + rng.random())) for _ in range(4)]
    return np.sum(waves, 0) / 2.0
