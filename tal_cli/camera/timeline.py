"""Timeline of a rendered video: shots, transitions, flashes, freezes, and the resulting exact labels."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tal_cli.camera.motion import (
    PAN_RATE,
    ROLL_RATE,
    SHAKE_AMPLITUDE,
    ZOOM_RATE,
    CameraPath,
    random_path,
    tripod,
)
from tal_cli.camera.people import Person, random_person
from tal_cli.datasets.annotations import GroundTruth

LABELS = (
    "cut",
    "dissolve",
    "fade",
    "wipe",
    "flash",
    "freeze",
    "pan-left",
    "pan-right",
    "tilt-up",
    "tilt-down",
    "zoom-in",
    "zoom-out",
    "roll",
    "shake",
)
CUT_SECONDS = 0.2
SHORTEST_MOVE = 0.5
SHORTEST_FLASH = 0.2
SHORTEST_FREEZE = 0.3

Kind = Literal["cut", "dissolve", "fade", "wipe"]
Bool = NDArray[np.bool_]
Float = NDArray[np.float64]


@dataclass(frozen=True)
class Join:
    """Transition between two shots: frames ``first`` to ``last`` (excluded) show both, or, in a fade, a plain colour.

    A cut has ``first == last``, the new shot's first frame. ``outward``: frames of a fade to the plain colour;
    ``inward``: frames of a fade from it.
    """

    kind: Kind
    first: int
    last: int
    outward: int = 0
    inward: int = 0

    @property
    def middle(self) -> int:
        return self.last - self.inward if self.kind == "fade" else (self.first + self.last) // 2


@dataclass(frozen=True)
class Shot:
    """Frames ``first`` to ``last`` (excluded) in which a shot is visible, its camera in them, and who is in front of it
    (None: things of any kind). ``drawn``: shapes on a plain ground instead of a scene."""

    first: int
    last: int
    path: CameraPath
    people: tuple[Person, ...] | None = None
    drawn: bool = False


@dataclass(frozen=True)
class Timeline:
    """A video before rendering. Arrays are per frame [frames] of the unfrozen clock; ``source`` [shown frames] is
    the frame that each shown frame displays. ``light``: exposure; ``blended``: a frame shows the one before it as well.
    """

    fps: int
    frames: int
    shots: tuple[Shot, ...]
    joins: tuple[Join, ...]
    plain_weight: Float
    flash: Float
    source: NDArray[np.int64]
    light: Float
    blended: bool = False

    def labels(self) -> tuple[GroundTruth, ...]:
        """The segments in seconds, sorted by start."""
        found = [*self._transition_labels(), *self._effect_labels(), *self._motion_labels()]
        return tuple(sorted(found, key=lambda item: (item.start, item.end, item.label)))

    def _segment(self, label: str, first: int, last: int, shortest: float = 0.0) -> GroundTruth:
        start, end = first / self.fps, last / self.fps
        if end - start < shortest:
            start, end = (start + end - shortest) / 2, (start + end + shortest) / 2
        return GroundTruth(label, max(0.0, start), min(end, self.source.size / self.fps))

    def _shown(self, frame: int) -> int:
        return int(np.searchsorted(self.source, frame))

    def _transition_labels(self) -> list[GroundTruth]:
        found = []
        for join in self.joins:
            shortest = CUT_SECONDS if join.kind == "cut" else 0.0
            found.append(self._segment(join.kind, self._shown(join.first), self._shown(join.last), shortest))
        return found

    def _effect_labels(self) -> list[GroundTruth]:
        flashes = _runs((self.flash > 0.12)[self.source])
        return [self._segment("flash", first, last, SHORTEST_FLASH) for first, last in flashes] + [
            self._segment("freeze", first, last) for first, last in _runs(self._frozen())
        ]

    def _frozen(self) -> Bool:
        """Shown frames that repeat the previous one long enough to be a freeze; shorter repeats are stutter."""
        repeats = np.concatenate([[False], np.diff(self.source) == 0])
        for first, last in _runs(repeats):
            repeats[first:last] = (last - first) / self.fps >= SHORTEST_FREEZE
        return repeats

    def _motion_labels(self) -> list[GroundTruth]:
        frozen = self._frozen()
        # A camera that turns before and after a cut turns twice.
        edges = [0, *(self._shown(join.first) for join in self.joins if join.kind == "cut"), self.source.size]
        found = []
        for label, active in self._motion().items():
            shown = active[self.source] & ~frozen
            for first, last in (
                (begin + first, begin + last)
                for begin, end in pairwise(edges)
                for first, last in _runs(shown[begin:end])
            ):
                if (last - first) / self.fps >= SHORTEST_MOVE or label == "shake":
                    found.append(self._segment(label, first, last))
        return found

    def _motion(self) -> dict[str, Bool]:
        active = {label: np.zeros(self.frames, np.bool_) for label in LABELS[6:]}
        for index, shot in enumerate(self.shots):
            # During a transition the shot that fills more of the image counts; in a plain frame, none.
            begin = self.joins[index - 1].middle if index else 0
            end = self.joins[index].middle if index < len(self.joins) else self.frames
            own, path = slice(begin, end), shot.path
            cut = slice(begin - shot.first, end - shot.first)
            active["pan-left"][own] = path.x[cut] >= PAN_RATE
            active["pan-right"][own] = path.x[cut] <= -PAN_RATE
            active["tilt-up"][own] = path.y[cut] >= PAN_RATE
            active["tilt-down"][own] = path.y[cut] <= -PAN_RATE
            active["zoom-in"][own] = path.zoom[cut] >= ZOOM_RATE
            active["zoom-out"][own] = path.zoom[cut] <= -ZOOM_RATE
            active["roll"][own] = np.abs(path.roll[cut]) >= ROLL_RATE
            active["shake"][own] = path.shake_size[cut] >= SHAKE_AMPLITUDE
        visible = self.plain_weight < 0.9
        return {label: mask & visible for label, mask in active.items()}


def random_timeline(rng: np.random.Generator) -> Timeline:
    """A video of 20 to 90 s at 24, 25 or 30 frames per second."""
    fps = int(rng.choice([24, 25, 30]))
    frames = int(np.exp(rng.uniform(np.log(20), np.log(85))) * fps)
    joins = _random_joins(rng, frames, fps)
    shots = [Shot(first, last, random_path(rng, last - first, fps)) for first, last in _spans(joins, frames)]
    calm = _calm(joins, frames, fps)
    flash = _random_flashes(rng, calm, fps)
    source = _stutter(rng, _random_freezes(rng, calm & (flash == 0), fps), fps)
    plain = _plain_weight(joins, frames)
    return Timeline(fps, frames, tuple(shots), tuple(joins), plain, flash, source, np.ones(frames))


def people_timeline(rng: np.random.Generator) -> Timeline:
    """A video of people, mostly before a camera that keeps still, with few joins, in any light.

    Frames freeze only where something moves: a frozen frame looks like a room in which nothing happens.
    """
    fps = int(rng.choice([15, 24, 25, 30], p=[0.1, 0.2, 0.4, 0.3]))
    frames = int(np.exp(rng.uniform(np.log(20), np.log(85))) * fps)
    share = rng.choice([0.0, 0.5])
    joins = [join for join in _random_joins(rng, frames, fps) if rng.random() < share]
    shots = []
    moving = np.zeros(frames, np.bool_)
    for first, last in _spans(joins, frames):
        path = tripod(last - first) if rng.random() < 0.75 else random_path(rng, last - first, fps)
        people = [random_person(rng, last - first, fps) for _ in range(rng.choice(4, p=[0.05, 0.5, 0.3, 0.15]))]
        shots.append(Shot(first, last, path, tuple(people), rng.random() < 0.15))
        moving[first:last] |= path.moving(fps)
        for person in people:
            moving[first:last] |= person.moving(fps)
    calm = _calm(joins, frames, fps)
    flash = _random_flashes(rng, calm, fps) * (rng.random() < 0.3)
    source = _stutter(rng, _random_freezes(rng, calm & (flash == 0) & moving, fps), fps)
    plain, light = _plain_weight(joins, frames), _random_light(rng, frames, fps)
    return Timeline(fps, frames, tuple(shots), tuple(joins), plain, flash, source, light, bool(rng.random() < 0.2))


def _spans(joins: list[Join], frames: int) -> list[tuple[int, int]]:
    """First and last frame (excluded) of the shots between ``joins``."""
    edges = [0, *(edge for join in joins for edge in (join.first, join.last)), frames]
    spans = []
    for index in range(len(joins) + 1):
        first, last = edges[2 * index], edges[2 * index + 1]
        if index and joins[index - 1].kind != "fade":
            first = joins[index - 1].first
        elif index:
            first = joins[index - 1].middle
        if index < len(joins):
            last = joins[index].last if joins[index].kind != "fade" else joins[index].middle
        spans.append((first, last))
    return spans


def _random_light(rng: np.random.Generator, frames: int, fps: int) -> Float:
    """Exposure of a day or a dim room, with corrections by the camera and, seldom, a lamp that is switched."""
    light = np.full(frames, np.log(rng.uniform(0.12, 0.5) if rng.random() < 0.25 else rng.uniform(0.8, 1.1)))
    for at in rng.integers(0, frames, rng.poisson(frames / fps / 12)):
        step = rng.normal(0, 0.15) if rng.random() < 0.85 else rng.choice([-1, 1]) * rng.uniform(0.5, 1.1)
        step = np.clip(light[-1] + step, np.log(0.1), np.log(1.3)) - light[-1]
        light += step * np.clip((np.arange(frames) - at) / rng.integers(1, fps), 0, 1)
    return np.asarray(np.exp(light))


def _random_joins(rng: np.random.Generator, frames: int, fps: int) -> list[Join]:
    joins: list[Join] = []
    at = int(rng.uniform(1.2, 9) * fps)
    while at < frames - int(1.5 * fps):
        kind: Kind = ("cut", "dissolve", "fade", "wipe")[rng.choice(4, p=[0.4, 0.23, 0.17, 0.2])]
        outward = inward = length = 0
        if kind == "fade":
            outward, inward = (int(np.exp(rng.uniform(np.log(0.2), np.log(1.5))) * fps) for _ in range(2))
            length = outward + inward + int(rng.uniform(0, 0.8) * fps * (rng.random() < 0.6))
        elif kind != "cut":
            length = int(np.exp(rng.uniform(np.log(0.3), np.log(2.5))) * fps)
        if at + length > frames - fps:
            break
        joins.append(Join(kind, at, at + length, outward, inward))
        at += length + int(np.exp(rng.uniform(np.log(1.2), np.log(rng.choice([4.0, 12.0])))) * fps)
    return joins


def _plain_weight(joins: list[Join], frames: int) -> Float:
    weight = np.zeros(frames)
    for join in joins:
        if join.kind == "fade":
            weight[join.first : join.last] = 1.0
            weight[join.first : join.first + join.outward] = np.arange(1, join.outward + 1) / (join.outward + 1)
            weight[join.last - join.inward : join.last] = np.arange(join.inward, 0, -1) / (join.inward + 1)
    return weight


def _calm(joins: list[Join], frames: int, fps: int) -> Bool:
    """Frames at least half a second from every transition and from both ends of the video."""
    calm = np.ones(frames, np.bool_)
    margin = fps // 2
    for first, last in [(0, 0), (frames, frames), *((join.first, join.last) for join in joins)]:
        calm[max(0, first - margin) : last + margin] = False
    return calm


def _random_flashes(rng: np.random.Generator, calm: Bool, fps: int) -> Float:
    flash = np.zeros(calm.size)
    for _ in range(rng.poisson(calm.size / fps / 22)):
        length = int(rng.integers(1, 7))
        at = int(rng.integers(0, calm.size - length))
        near = slice(max(0, at - fps // 2), at + length + fps // 2)
        if calm[at : at + length].all() and not flash[near].any():
            fall = np.linspace(1, rng.uniform(0.3, 1), length)
            flash[at : at + length] = rng.uniform(0.45, 1.0) * fall
    return flash


def _random_freezes(rng: np.random.Generator, calm: Bool, fps: int) -> NDArray[np.int64]:
    repeats = np.ones(calm.size, np.int64)
    for _ in range(rng.poisson(calm.size / fps / 25)):
        at = int(rng.integers(0, calm.size))
        near = slice(max(0, at - fps), at + fps)
        if calm[at] and (repeats[near] == 1).all():
            repeats[at] += int(np.exp(rng.uniform(np.log(0.33), np.log(4))) * fps)
    return np.repeat(np.arange(calm.size), repeats)


def _stutter(rng: np.random.Generator, source: NDArray[np.int64], fps: int) -> NDArray[np.int64]:
    """Frames shown late or not at all: a recording at a lower frame rate, or occasional dropped frames."""
    shown = np.arange(source.size)
    if rng.random() < 0.12:
        ratio = rng.uniform(12, 20) / fps
        shown = np.floor(np.floor(shown * ratio + 1e-9) / ratio + 1e-9).astype(np.int64)
    elif rng.random() < 0.25:
        for at in rng.integers(1, shown.size, rng.poisson(shown.size / fps / 3)):
            length = int(rng.integers(1, 5))
            shown[at : at + length] = shown[at - 1]
    return source[shown]


def _runs(active: Bool) -> list[tuple[int, int]]:
    edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]]).astype(np.int8)))
    return [(int(first), int(last)) for first, last in zip(edges[::2], edges[1::2], strict=True)]
