"""`boris`: a BORIS project with an observation per video, for reviewing and correcting in BORIS."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO

from tal_cli.datasets.annotations import Annotations, GroundTruth, LabelDefinition, VideoAnnotation
from tal_cli.datasets.writers.boris import kinds_of, write_project
from tal_cli.results.segments import Detections
from tal_cli.results.writers import RunInfo


def write(detections: Iterable[Detections], file: BinaryIO, run: RunInfo) -> None:
    """Write one project; each instance's comment has its score."""
    videos = {found.video: _video(found) for found in detections}
    labels = dict.fromkeys((*run.labels, *(item.label for video in videos.values() for item in video.segments)))
    told = Annotations(run.version, videos, tuple(labels))
    kinds = kinds_of(told)
    definitions = tuple(LabelDefinition(label, kinds.get(label, "state")) for label in labels)
    file.write(write_project(Annotations(run.version, videos, tuple(labels), definitions=definitions)))


def _video(found: Detections) -> VideoAnnotation:
    segments = tuple(
        GroundTruth(s.label, round(s.start, 6), round(s.end, 6), s.kind, s.subject, comment=f"score {s.score:.2f}")
        for s in found.in_time()
    )
    return VideoAnnotation(
        found.video, "", found.duration, found.fps or None, segments, frames=found.frames, path=found.path
    )
