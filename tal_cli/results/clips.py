"""`--clips` and `--overlay`: clips of detected segments, and videos with drawn labels."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tal_cli import console
from tal_cli.extractors.errors import InputError
from tal_cli.extractors.features.formats import is_feature_file
from tal_cli.media.host import run_task
from tal_cli.results.colours import colours
from tal_cli.results.output_paths import file_for
from tal_cli.results.segments import Detections, Segment
from tal_cli.results.writers import RunInfo
from tal_cli.safe_text import counted, printable

LONGEST_LABEL = 60


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


def cut_clips(detections: Detections, folder: Path, pad: float = 0.0) -> None:
    """Cut every segment out of its video: FOLDER/VIDEO/NUMBER_LABEL_START-END.mp4, in the order of time.

    pad: seconds of the video before and after each segment, as far as there are any; names have the segment's times.

    Raises:
        InputError: the video is not known or cannot be read, or the folder cannot be written to.
    """
    path = _video_of(detections, "no clips")
    if not detections.segments:
        return
    ordered = detections.in_time()
    target = file_for(folder, detections.video, "")
    cuts = tuple(
        CutItem(
            max(0.0, segment.start - pad),
            max(segment.end, min(segment.end + pad, detections.duration)),
            os.path.abspath(target / clip_name(number, segment)),
        )
        for number, segment in enumerate(ordered, start=1)
    )
    with (
        _scratch(folder) as scratch,
        console.progress(f"clips of {detections.video}", unit="s", waiting=f"reading {detections.video}") as progress,
    ):
        done = run_task("cut", path, CutRequest(cuts, str(scratch)), progress)
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
    target = file_for(folder, detections.video, ".overlay.mp4")
    if target.exists() and os.path.samefile(target, path):
        raise InputError(path, f"no overlay: it would replace the video itself, {target}")
    chosen = colours((*run.labels, *(s.label for s in detections.segments)))
    with (
        _scratch(folder) as scratch,
        console.progress(f"overlay of {detections.video}", unit="s", waiting=f"opening {detections.video}") as progress,
    ):
        request = DrawRequest(
            tuple((printable(s.label), s.start, s.end, s.score) for s in detections.segments),
            {printable(label): colour.dark for label, colour in chosen.items()},
            detections.duration,
            os.path.abspath(target),
            str(scratch),
        )
        run_task("draw", path, request, progress)


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


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Context manager with a hidden scratch folder inside `folder`, removed at the end with all unfinished files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".tal-", dir=folder)).resolve()
    except OSError as error:
        raise InputError(folder, f"cannot be written: {error.strerror or error}") from error
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
