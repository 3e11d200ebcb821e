"""Renders and encodes the videos of the camera data set."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import BinaryIO

import av
import numpy as np
from numpy.typing import NDArray

from tal_cli.camera import textures
from tal_cli.camera.kernels import draw, finish, mix
from tal_cli.camera.scene import Scene
from tal_cli.camera.timeline import LABELS, Join, Timeline, people_timeline, random_timeline
from tal_cli.datasets.annotations import Annotations, VideoAnnotation, save_annotations
from tal_cli.extractors.cpu import usable_cores
from tal_cli.extractors.files.atomic import naming, write_atomically

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

# Mostly small ones, which are quicker to render: what is measured is measured on some 8000 pixels.
SIZES = (
    (192, 144),
    (256, 144),
    (320, 240),
    (426, 240),
    (352, 288),
    (480, 270),
    (480, 360),
    (640, 360),
    (854, 480),
)
SIZE_SHARE = (0.34, 0.26, 0.16, 0.1, 0.05, 0.04, 0.02, 0.02, 0.01)
PEOPLE_EVERY = 3  # every third video shows people, mostly before a camera that keeps still
VALIDATION_EVERY = 8  # every eighth video is in the validation subset


@dataclass(frozen=True)
class _Job:
    path: Path
    seed: int
    index: int


def render_dataset(
    out: Path, videos: int, seed: int, workers: int | None = None, progress: Callable[[int, int], None] | None = None
) -> Annotations:
    """Render ``videos`` labelled videos of 20 to 90 s into ``out/videos`` and write ``out/annotations.json``.

    The same seed gives the same videos, whatever their number and the number of ``workers`` (default: one per core).
    Every eighth is in the subset ``validation``, the others in ``training``. ``progress`` is told (done, all).
    Finished videos of an earlier, interrupted run are kept.
    """
    folder = out / "videos"
    with naming(folder):
        folder.mkdir(parents=True, exist_ok=True)
    jobs = [_Job(folder / f"camera-{seed}-{index:04d}.mp4", seed, index) for index in range(videos)]
    found: dict[str, VideoAnnotation] = {}
    # Spawn instead of fork: the parent may have threads of torch or of a decoder.
    with ProcessPoolExecutor(workers or usable_cores(), get_context("spawn"), _end_with_parent) as pool:
        running = [pool.submit(_render, job) for job in jobs]
        try:
            for done, future in enumerate(as_completed(running), 1):
                video = future.result()
                found[video.name] = video
                if progress:
                    progress(done, videos)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    annotations = Annotations("camera-1", {name: found[name] for name in sorted(found)}, LABELS)
    save_annotations(annotations, out / "annotations.json")
    return annotations


def _end_with_parent() -> None:
    """Lets a worker process end as soon as its parent does: a pool's own would finish its video first."""
    parent = parent_process()
    assert parent is not None

    def wait() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


def _render(job: _Job) -> VideoAnnotation:
    rng = np.random.default_rng([job.seed, job.index])
    people = job.index % PEOPLE_EVERY == PEOPLE_EVERY - 1
    timeline = people_timeline(rng) if people else random_timeline(rng)
    if not job.path.exists():
        write_atomically(job.path, lambda file: _encode(file, rng, timeline))
    subset = "validation" if job.index % VALIDATION_EVERY == VALIDATION_EVERY - 1 else "training"
    duration = timeline.source.size / timeline.fps
    return VideoAnnotation(job.path.stem, subset, duration, float(timeline.fps), timeline.labels())


def _encode(file: BinaryIO, rng: np.random.Generator, timeline: Timeline) -> None:
    width, height = SIZES[rng.choice(len(SIZES), p=SIZE_SHARE)]
    options = {
        "crf": str(rng.integers(20, 33)),
        "preset": str(rng.choice(["ultrafast", "superfast", "veryfast", "faster"], p=[0.35, 0.35, 0.25, 0.05])),
        "g": str(rng.choice([12, 48, 250])),
        # Reproducible bytes: one thread, and no macroblock-tree rate control, whose result varies between runs.
        "threads": "1",
        "mbtree": "0",
    }
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=timeline.fps, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for image in paint(rng, timeline, width, height):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))


def paint(rng: np.random.Generator, timeline: Timeline, width: int, height: int) -> Iterator[UInt8]:
    """Yield the displayed frames [H, W, 3]; during a freeze the same array is yielded."""
    exposure = _exposure(rng, timeline) * timeline.light
    # People before a camera that keeps still often come without noise: then only their stillness repeats the picture.
    grainy = 0.8 if timeline.shots[0].people is None else 0.5
    grain = min(8.0, rng.exponential(2.0)) * (rng.random() < grainy)
    noise = np.clip(rng.normal(0, grain, (height + 61, width + 67)), -127, 127).astype(np.int8)
    overlay = textures.caption(rng, width, height) if rng.random() < 0.15 else None
    bars = int(height * rng.uniform(0.05, 0.13)) if rng.random() < 0.1 else 0
    scenes: dict[int, Scene] = {}
    plain = _plain_colour(rng)
    patterns = {index: _wipe_pattern(rng, width, height) for index in range(len(timeline.joins))}
    softness = rng.uniform(0.001, 0.15)
    identity = np.array([[1, 0, 0], [0, 1, 0]], np.float32)
    shown, other, before = (np.zeros((height, width, 3), np.uint8) for _ in range(3))
    half = np.full((height, width), 0.5, np.float32)
    last = -1
    for frame in timeline.source:
        if frame != last:
            visible = [index for index, shot in enumerate(timeline.shots) if shot.first <= frame < shot.last]
            for index in set(scenes) - set(visible):
                del scenes[index]
            for index in visible:
                if index not in scenes:
                    scenes[index] = Scene(rng, timeline.shots[index], width, height, timeline.fps)
            scenes[visible[0]].paint(shown, frame - timeline.shots[visible[0]].first)
            if len(visible) > 1:
                scenes[visible[1]].paint(other, frame - timeline.shots[visible[1]].first)
                mix(shown, other, _weight(timeline.joins[visible[0]], frame, patterns[visible[0]], softness))
            if timeline.blended:
                latest = shown.copy()
                if last >= 0:
                    mix(shown, before, half)
                before = latest
            if frame == 0 or timeline.plain_weight[frame - 1] == 0:
                plain = _plain_colour(rng)
            light = max(timeline.plain_weight[frame], timeline.flash[frame])
            colour = plain if timeline.plain_weight[frame] else np.full(3, 255, np.float32)
            row, column = (int(v) for v in rng.integers(0, 60, 2))
            if overlay is not None:
                draw(shown, overlay, identity, (0, 0, width, height))
            finish(shown, exposure[frame], colour, light, noise, row, column)
            if bars:
                shown[:bars] = shown[-bars:] = 0
            last = frame
        yield shown


def _exposure(rng: np.random.Generator, timeline: Timeline) -> NDArray[np.float64]:
    """Gain per frame: lamp flicker, slow changes of light."""
    time = np.arange(timeline.frames) / timeline.fps
    flicker = rng.normal(0, 0.02 * rng.random() * (rng.random() < 0.4), timeline.frames)
    breathing = rng.uniform(0, 0.08) * np.sin(2 * np.pi * (rng.uniform(0.03, 0.4) * time + rng.random()))
    return 1 + flicker + breathing * (rng.random() < 0.5)


def _plain_colour(rng: np.random.Generator) -> Float32:
    choice = rng.random()
    if choice < 0.65:
        return np.zeros(3, np.float32)
    return np.full(3, 255, np.float32) if choice < 0.9 else rng.uniform(0, 255, 3).astype(np.float32)


def _wipe_pattern(rng: np.random.Generator, width: int, height: int) -> Float32:
    """Transition time of each pixel in [0, 1]: a straight edge in any direction, iris, doors, clock wipe, blinds."""
    y, x = np.mgrid[:height, :width].astype(np.float64)
    u, v = x / width - 0.5, y / height - 0.5
    kind = rng.choice(5, p=[0.6, 0.14, 0.12, 0.07, 0.07])
    if kind == 0:
        angle = rng.choice(8) * np.pi / 4 if rng.random() < 0.8 else rng.uniform(0, 2 * np.pi)
        field = np.cos(angle) * u + np.sin(angle) * v
    elif kind == 1:
        field = np.hypot(u * width, v * height) * rng.choice([-1, 1])
    elif kind == 2:
        field = np.abs(u if rng.random() < 0.5 else v) * rng.choice([-1, 1])
    elif kind == 3:
        field = np.arctan2(v, u) * rng.choice([-1, 1])
    else:
        field = (u * rng.integers(3, 9)) % 1.0
    field -= field.min()
    return (field / field.max()).astype(np.float32)


def _weight(join: Join, frame: int, pattern: Float32, softness: float) -> Float32:
    """Weight of the new shot in each pixel, [H, W]."""
    progress = (frame - join.first + 1) / (join.last - join.first + 1)
    if join.kind == "dissolve":
        return np.full_like(pattern, progress)
    return np.clip((progress * (1 + softness) - pattern) / np.float32(softness), 0, 1)
