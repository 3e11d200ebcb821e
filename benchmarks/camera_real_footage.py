"""How `camera` carries over from rendered to real footage, with PySceneDetect beside it.

Takes real clips, joins pieces of them by cuts, dissolves, fades and wipes, and moves a crop over each piece (pans,
tilts, zooms), so that labels are exact while the images are real. The clips' own hand-held motion stays unlabelled.

    python benchmarks/camera_real_footage.py OUT CLIP... [--videos 24] [--seed 0] [--model camera] [--scenedetect]

A CLIP is one continuous shot of 3 s and more; OUT receives videos, annotations.json, predictions.json and figures.json.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from tal_cli.camera.kernels import finish, mix, warp
from tal_cli.camera.timeline import LABELS
from tal_cli.datasets.annotations import Annotations, GroundTruth, VideoAnnotation, save_annotations
from tal_cli.datasets.formats import load_annotations

SIZE = (320, 240)
FPS = 25
TOLERANCE = 0.3  # seconds a found boundary may lie beside the transition
UInt8 = NDArray[np.uint8]
Float = NDArray[np.float64]
TRANSITIONS = ("cut", "dissolve", "fade", "wipe")
SILENCE = np.zeros((SIZE[1], SIZE[0]), np.int8)
STILL = np.zeros(max(SIZE), np.float32)


@dataclass(frozen=True)
class Piece:
    """One shot: frames of a real clip [n, H, W, 3], and the crop's centre [n, 2] and width [n] in the clip's pixels."""

    frames: list[UInt8]
    centre: Float
    width: Float
    labels: list[tuple[str, int, int]]


def read_clips(paths: list[Path]) -> list[list[UInt8]]:
    """The clips' frames, resampled to FPS."""
    clips = []
    for path in paths:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            frames = [(frame.time or 0.0, frame.to_ndarray(format="rgb24")) for frame in container.decode(stream)]
        times = np.array([time for time, _ in frames])
        at = np.searchsorted(times, np.arange(times[0], times[-1], 1 / FPS), "right") - 1
        clips.append([frames[index][1] for index in at])
    return clips


def random_piece(rng: np.random.Generator, clips: list[list[UInt8]], count: int) -> Piece:
    clip = clips[rng.integers(len(clips))]
    count = min(count, len(clip))
    first = int(rng.integers(0, len(clip) - count + 1))
    frames = clip[first : first + count]
    height, width = frames[0].shape[:2]
    largest = min(width, height * SIZE[0] / SIZE[1])
    kind = rng.choice(["still", "pan", "tilt", "zoom"], p=[0.25, 0.3, 0.2, 0.25])
    low, high = (0.55, 0.55) if kind in ("pan", "tilt") else (0.6, 0.85)
    size = np.full(count, largest * rng.uniform(low, high))
    view = np.array([size[0], size[0] * SIZE[1] / SIZE[0]])
    room = np.array([width, height]) - view
    centre = np.tile(view / 2 + room * rng.uniform(0.25, 0.75, 2), (count, 1))
    labels: list[tuple[str, int, int]] = []
    if kind != "still" and count >= 1.5 * FPS:
        speed = np.exp(rng.uniform(np.log(0.11), np.log(0.5)))
        sign = rng.choice([-1, 1])
        reach = 0.95 * room / view if kind in ("pan", "tilt") else np.log([2.0, 2.0])
        length = int(min(reach[int(kind == "tilt")] / speed * FPS, count - 8, rng.uniform(0.8, 5) * FPS))
        if length >= 0.6 * FPS:
            begin = int(rng.integers(4, count - length - 3))
            rate = np.zeros(count)
            ease = min(4, length // 4)
            shape = np.minimum(1, np.minimum(np.arange(1, length + 1), np.arange(length, 0, -1)) / (ease + 1))
            rate[begin : begin + length] = sign * speed * shape
            path = np.cumsum(rate) / FPS
            fast = np.flatnonzero(np.abs(rate) >= 0.08)
            run = (int(fast[0]), int(fast[-1]) + 1)
            if kind == "zoom":
                size = size * np.exp(-path)
                size = size * min(1.0, largest / size.max())
                centre = np.array([width, height]) / 2 + np.zeros((count, 2))
                labels.append(("zoom-in" if sign > 0 else "zoom-out", *run))
            else:
                axis = int(kind == "tilt")
                # The picture moves against the crop.
                middle = -(path.min() + path.max()) / 2
                centre[:, axis] = [width, height][axis] / 2 - (path + middle) * view[axis]
                names = (("pan-left", "pan-right"), ("tilt-up", "tilt-down"))[axis]
                labels.append((names[0] if sign > 0 else names[1], *run))
    return Piece(frames, centre, size, labels)


def paint(piece: Piece, index: int) -> UInt8:
    out = np.empty((SIZE[1], SIZE[0], 3), np.uint8)
    scale = piece.width[index] / SIZE[0]
    offset = piece.centre[index] - np.array(SIZE) / 2 * scale
    warp(out, piece.frames[index], np.array([[scale, 0, offset[0]], [0, scale, offset[1]]], np.float32), STILL, STILL)
    return out


def compose(rng: np.random.Generator, clips: list[list[UInt8]]) -> tuple[Iterator[UInt8], list[GroundTruth], int]:
    """The frames of one video, its labels, its number of frames."""
    count = int(rng.integers(6, 11))
    pieces = [random_piece(rng, clips, int(rng.uniform(2, 7) * FPS)) for _ in range(count)]
    kinds = [str(rng.choice(TRANSITIONS, p=[0.4, 0.22, 0.18, 0.2])) for _ in range(count - 1)]
    lengths = [0 if kind == "cut" else int(rng.uniform(0.4, 1.6) * FPS) for kind in kinds]
    starts, labels, at = [0], [], 0
    for piece, kind, length in zip(pieces, kinds, lengths, strict=False):
        overlap = length if kind in ("dissolve", "wipe") else 0
        join = at + len(piece.frames) - overlap
        if kind == "cut":
            labels.append(GroundTruth("cut", join / FPS - 0.1, join / FPS + 0.1))
        elif kind == "fade":
            labels.append(GroundTruth("fade", (join - length // 2) / FPS, (join + length // 2) / FPS))
        else:
            labels.append(GroundTruth(kind, join / FPS, (join + length) / FPS))
        starts.append(join)
        at = join
    frames = starts[-1] + len(pieces[-1].frames)
    for piece, start in zip(pieces, starts, strict=True):
        labels += [GroundTruth(name, (start + a) / FPS, (start + b) / FPS) for name, a, b in piece.labels]

    def generate() -> Iterator[UInt8]:
        x, y = np.meshgrid(np.linspace(0, 1, SIZE[0]), np.linspace(0, 1, SIZE[1]))
        patterns = [x, 1 - x, y, 1 - y, (x + y) / 2, np.hypot(x - 0.5, y - 0.5) / 0.71]
        pattern = [patterns[rng.integers(len(patterns))].astype(np.float32) for _ in pieces]
        for frame in range(frames):
            seen = [i for i, s in enumerate(starts) if s <= frame < s + len(pieces[i].frames)]
            first = seen[0]
            out = paint(pieces[first], frame - starts[first])
            if len(seen) > 1:
                progress = (frame - starts[first + 1] + 1) / (lengths[first] + 1)
                weight = np.full(pattern[first].shape, progress, np.float32)
                if kinds[first] == "wipe":
                    weight = np.clip((progress * 1.02 - pattern[first]) / 0.02, 0, 1).astype(np.float32)
                mix(out, paint(pieces[first + 1], frame - starts[first + 1]), weight)
            for join, kind, length in zip(starts[1:], kinds, lengths, strict=True):
                if kind == "fade" and abs(frame + 0.5 - join) < length / 2:
                    dark = 1 - abs(frame + 0.5 - join) / (length / 2)
                    finish(out, 1.0, np.zeros(3, np.float32), min(1.0, 1.15 * dark), SILENCE, 0, 0)
            yield out

    return generate(), labels, frames


def make(clips: list[list[UInt8]], out: Path, videos: int, seed: int) -> Annotations:
    (out / "videos").mkdir(parents=True, exist_ok=True)
    found = {}
    for index in range(videos):
        rng = np.random.default_rng([seed, index])
        frames, labels, count = compose(rng, clips)
        name = f"real-{index:03d}"
        with av.open(str(out / "videos" / f"{name}.mp4"), "w") as container:
            stream = container.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "veryfast"})
            stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
            for picture in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
            container.mux(stream.encode(None))
        found[name] = VideoAnnotation(name, "validation", count / FPS, float(FPS), tuple(labels))
    annotations = Annotations("real-footage", found, LABELS)
    save_annotations(annotations, out / "annotations.json")
    return annotations


def boundary_score(annotations: Annotations, found: dict[str, list[float]]) -> tuple[float, float, float]:
    """(F1, precision, recall) over all videos: a boundary counts once, within TOLERANCE of a transition's span."""
    hits = truths = guesses = 0
    for name, video in annotations.videos.items():
        spans = [ground_truth for ground_truth in video.segments if ground_truth.label in TRANSITIONS]
        spans = [
            GroundTruth(s.label, s.start + 0.1, s.end - 0.1) if s.label == "cut" else s for s in spans
        ]  # a cut is an instant
        left = list(spans)
        for time in sorted(found.get(name, [])):
            match = next((s for s in left if s.start - TOLERANCE <= time <= s.end + TOLERANCE), None)
            if match is not None:
                left.remove(match)
                hits += 1
        truths += len(spans)
        guesses += len(found.get(name, []))
    precision, recall = hits / max(guesses, 1), hits / max(truths, 1)
    return 2 * precision * recall / max(precision + recall, 1e-9), precision, recall


def ours(predictions: Path, least: dict[str, float]) -> dict[str, list[float]]:
    """The middles of transitions with the score of their label or more; several within 0.5 s are one, the best."""
    found: dict[str, list[float]] = {}
    for name, segments in json.loads(predictions.read_text())["results"].items():
        kept: list[float] = []
        spans: list[tuple[float, float]] = []
        for segment in segments:  # by falling score
            start, end = segment["segment"]
            if segment["label"] not in TRANSITIONS or segment["score"] < least[segment["label"]]:
                continue
            if any(start < b + 0.25 and end > a - 0.25 for a, b in spans):
                continue
            spans.append((start, end))
            kept.append((start + end) / 2)
        found[name] = kept
    return found


def scenedetect(folder: Path, detector: str) -> dict[str, list[float]]:
    import scenedetect as psd

    kinds = {
        "histogram": psd.HistogramDetector,
        "adaptive": psd.AdaptiveDetector,
        "content": psd.ContentDetector,
        "threshold": psd.ThresholdDetector,
    }
    return {
        path.stem: [scene[0].get_seconds() for scene in psd.detect(str(path), kinds[detector]())[1:]]
        for path in sorted((folder / "videos").glob("*.mp4"))
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--videos", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default="camera")
    parser.add_argument("--threshold", type=float, help="default: the model's display scores")
    parser.add_argument("--scenedetect", action="store_true")
    arguments = parser.parse_args()
    out: Path = arguments.out
    if not (out / "annotations.json").exists():
        make(read_clips(arguments.clips), out, arguments.videos, arguments.seed)
    annotations = load_annotations(out / "annotations.json")
    predictions = out / "predictions.json"
    run = [sys.executable, "-m", "tal_cli", "detect", str(out / "videos"), "-m", arguments.model, "--min-score", "0"]
    subprocess.run([*run, "-o", str(predictions)], check=True)
    from tal_cli.models.recipe.loading import load_recipe
    from tal_cli.models.store.zoo import resolve_model

    recipe = load_recipe(resolve_model(arguments.model) / "recipe.yaml")
    least = recipe.inference.display_scores(LABELS)
    if arguments.threshold is not None:
        least = dict.fromkeys(LABELS, arguments.threshold)
    figures: dict[str, object] = {"thresholds": {label: least[label] for label in TRANSITIONS}}
    f1 = boundary_score(annotations, ours(predictions, least))
    figures["tal"] = dict(zip(("f1", "precision", "recall"), f1, strict=True))
    if arguments.scenedetect:
        for detector in ("histogram", "adaptive", "content", "threshold"):
            score = boundary_score(annotations, scenedetect(out, detector))
            figures[f"pyscenedetect {detector}"] = dict(zip(("f1", "precision", "recall"), score, strict=True))
    print(json.dumps(figures, indent=1))
    (out / "figures.json").write_text(json.dumps(figures, indent=1))
    eval_run = [
        sys.executable,
        "-m",
        "tal_cli",
        "eval",
        str(predictions),
        "--annotations",
        str(out / "annotations.json"),
    ]
    subprocess.run(eval_run, check=True)


if __name__ == "__main__":
    main()
