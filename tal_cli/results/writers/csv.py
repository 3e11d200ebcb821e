"""`csv`: one row per segment under the header `video,label,start,end,score`; then `kind` if some labels are points."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tal_cli import console
from tal_cli.behaviour.frames import frame_span, frame_times, shown_times
from tal_cli.datasets.annotations import DECIMALS
from tal_cli.datasets.formats.values import is_video
from tal_cli.extractors.errors import InputError
from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo
from tal_cli.spreadsheets import csv_bytes

HEADER = ("video", "label", "start", "end", "score")
KIND = ("kind",)
FRAMES = ("start_frame", "end_frame")


def write(detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None:
    """Write rows in the order of the videos, each in temporal order; quoted as in RFC 4180.

    With frames (`RunInfo.frames`), each row ends with its first frame and the one after its last.
    """
    file.write(csv_bytes([HEADER + (KIND if run.points else ()) + (FRAMES if run.frames else ())]))
    for found in detections:
        rows = [
            (found.video, s.label, *(round(value, DECIMALS) for value in (s.start, s.end, s.score)))
            for s in found.in_time()
        ]
        if run.points:
            rows = [(*row, s.kind) for row, s in zip(rows, found.in_time(), strict=True)]
        if run.frames:
            times = times_of(found)
            spans = (frame_span(s.start, s.end, times) if len(times) else ("", "") for s in found.in_time())
            rows = [(*row, *span) for row, span in zip(rows, spans, strict=True)]
        file.write(csv_bytes(rows))


def times_of(found: Detections) -> NDArray[np.float64]:
    """Presentation times of a video's frames, seconds, from the file; evenly spaced where there is none, as for
    features; empty where the frame rate is unknown."""
    frames = found.frames or round(found.duration * found.fps)
    if is_video(found.path) and os.path.isfile(found.path):
        try:
            return shown_times(Path(found.path), frames)
        except InputError as error:
            console.warn(f"{error}; its frames are taken as evenly spaced")
    return frame_times(frames, frames / found.duration if found.duration > 0 else found.fps or 1.0)
