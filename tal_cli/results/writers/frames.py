"""`frames`: a row for each frame of each video, and a column of 0 and 1 for each label."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from tal_cli.behaviour.frames import frame_labels
from tal_cli.datasets.writers.tables import FRAME_COLUMNS, frame_rows
from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo
from tal_cli.results.writers.csv import times_of
from tal_cli.spreadsheets import csv_bytes

Row = tuple[str, NDArray[np.float64], list[tuple[str, float, float]]]


def write(detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None:
    """Write rows in the order of the videos; columns are the model's labels, or those found where they are unknown."""
    videos: Iterable[Row] = (
        (found.video, times_of(found), [(s.label, s.start, s.end) for s in found.segments]) for found in detections
    )
    labels = run.labels
    if not labels:
        videos = list(videos)
        labels = tuple(sorted({label for _, _, items in videos for label, _, _ in items}))
    file.write(csv_bytes([(*FRAME_COLUMNS, *labels)]))
    for name, times, items in videos:
        file.write(csv_bytes(frame_rows(name, frame_labels(items, labels, times).astype(int))))
