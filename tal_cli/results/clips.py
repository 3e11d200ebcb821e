"""`--clips` and `--overlay`: clips of detected segments, and videos with drawn labels."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from tal_cli import console
from tal_cli.extractors.errors import InputError
from tal_cli.extractors.features.formats import is_feature_file
from tal_cli.extractors.files.atomic import scratch_beside
from tal_cli.media.host import run_task
from tal_cli.results.colours import colours_shown
from tal_cli.results.output_paths import file_for, record_origin
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import RunInfo
from tal_cli.safe_text import counted, printable

LONGEST_LABEL = 60
CLIP = re.compile(r"\d{4,}_.+_\d+\.\d\d-\d+\.\d\d\.(?:mp4|mkv|webm)")  # names of `clip_name` and `media.clips`


@dataclass(frozen=True)
class CutItem:
    """One clip: seconds, and the path without its suffix."""

    start: float
    end: float
    target: str


@dataclass(frozen=True)
class CutRequest:
    """See `tal_cli.media.clips.cut`."""

    cuts: tuple[CutItem, ...]
    scratch: str


@dataclass(frozen=True)
class DrawRequest:
    """See `tal_cli.media.overlay.draw`."""

    segments: tuple[tuple[str, float, float, float], ...]
    colours: dict[str, str]
    duration: float
    target: str
    scratch: str


def clips_folder(folder: Path, video: str) -> Path:
    """The folder of one video's clips."""
    return file_for(folder, video, "")


def overlay_file(folder: Path, video: str) -> Path:
    """One video's overlay."""
    return file_for(folder, video, ".overlay.mp4")


def cut_clips(detections: Detections, folder: Path, pad: float = 0.0) -> None:
    """Cut every segment out of its video: FOLDER/VIDEO/NUMBER_LABEL_START-END.mp4, in the order of time. Clips of an
    earlier run are removed.

    pad: seconds of the video before and after each segment, as far as there are any; names have the segment's times.

    Raises:
        InputError: the video is not known or cannot be read, or the folder cannot be written to.
    """
    path = _video_of(detections, "no clips")
    target = clips_folder(folder, detections.video)
    for clip in [file for file in target.glob("*") if CLIP.fullmatch(file.name)]:
        clip.unlink()
    if not detections.segments:
        return
    ordered = detections.in_time()
    cuts = tuple(
        CutItem(
            max(0.0, segment.start - pad),
            max(segment.end, min(segment.end + pad, detections.duration)),
            os.path.abspath(target / clip_name(number, segment)),
        )
        for number, segment in enumerate(ordered, start=1)
    )
    with (
        scratch_beside(target) as scratch,
        console.progress(f"clips of {detections.video}", unit="s", waiting=f"reading {detections.video}") as progress,
    ):
        done = run_task("cut", path, CutRequest(cuts, os.path.abspath(scratch)), progress)
    record_origin(target, path)
    copied, encoded = len(done["copied"]), len(done["encoded"])
    how = f"{copied} copied, {encoded} encoded"
    console.note(
        f"{printable(detections.path)}: {counted(copied + encoded, 'clip')} in {printable(str(target))} ({how})"
    )


def draw_overlay(detections: Detections, folder: Path, run: RunInfo) -> None:
    """Draw the segments on their video: FOLDER/VIDEO.overlay.mp4.

    Raises:
        InputError: the video is not known or cannot be read, or the folder cannot be written to.
    """
    path = _video_of(detections, "no overlay")
    target = overlay_file(folder, detections.video)
    if target.exists() and os.path.samefile(target, path):
        raise InputError(path, f"no overlay: it would replace the video itself, {target}")
    chosen = colours_shown(run.labels, {s.label for s in detections.segments})
    with (
        scratch_beside(target) as scratch,
        console.progress(f"overlay of {detections.video}", unit="s", waiting=f"opening {detections.video}") as progress,
    ):
        request = DrawRequest(
            tuple((printable(s.label), s.start, s.end, s.score) for s in detections.segments),
            {printable(label): colour.dark for label, colour in chosen.items()},
            detections.duration,
            os.path.abspath(target),
            os.path.abspath(scratch),
        )
        run_task("draw", path, request, progress)
    record_origin(target, path)


def clip_name(number: int, segment: Segment) -> str:
    """File name of a segment's clip, without suffix; characters of the label that are special in paths are replaced.

    >>> clip_name(7, Segment("pan/left", 1.5, 62.25, 0.9))
    '0007_pan-left_1.50-62.25'
    """
    label = re.sub(r"[^\w+-]+", "-", printable(segment.label)).strip("-")[:LONGEST_LABEL]
    while len(label.encode()) > 2 * LONGEST_LABEL:
        label = label[:-1]
    return f"{number:04d}_{label or 'segment'}_{segment.start:.2f}-{segment.end:.2f}"


def _video_of(detections: Detections, what: str) -> str:
    if is_feature_file(detections.path):
        raise InputError(detections.path, f"{what}: only the features of the video are known")
    return detections.path
