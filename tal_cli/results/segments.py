"""The result type shared by detection, readers and writers."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace

from tal_cli.datasets.annotations import POINT
from tal_cli.extractors.video.clock import FileClock
from tal_cli.safe_text import one_line


@dataclass(frozen=True)
class Segment:
    """A predicted segment: label, `start` and `end` (seconds on the video's clock), score in [0, 1], kind (`state` or
    `point`), and who does it, if that is known."""

    label: str
    start: float
    end: float
    score: float
    kind: str = "state"
    subject: str | None = None


def titled(segment: Segment) -> str:
    """A segment's label on one line, and whether it is a point."""
    return f"{one_line(segment.label)} (point)" if segment.kind == POINT else one_line(segment.label)


@dataclass(frozen=True)
class Detections:
    """Segments detected in one video.

    Attributes:
        video: the video's unique name among those of one run.
        path: the file it came from.
        duration: seconds.
        fps: frames per second (the average, on variable rate).
        frames: number of decoded frames.
        segments: sorted by descending score; 0 <= start < end <= duration, of points start = end.
        file_clock: time of the first frame on the clock of players and editing programs.
    """

    video: str
    path: str
    duration: float
    fps: float
    frames: int
    segments: tuple[Segment, ...]
    file_clock: FileClock = field(default_factory=FileClock)

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.segments, key=lambda s: (-s.score, s.start, s.end, s.label)))
        object.__setattr__(self, "segments", ordered)

    def in_time(self) -> list[Segment]:
        """The segments in temporal order."""
        return sorted(self.segments, key=lambda segment: (segment.start, segment.end, segment.label))

    def keep(
        self,
        *,
        min_score: float | Mapping[str, float] | None = None,
        top_k: int | None = None,
        labels: Collection[str] | None = None,
    ) -> Detections:
        """The detections filtered by labels, then by score (one for all, or one for every label), then to the best
        `top_k`."""

        def least(label: str) -> float:
            score = min_score[label] if isinstance(min_score, Mapping) else min_score
            return -math.inf if score is None else score

        segments = [
            segment
            for segment in self.segments
            if (not labels or segment.label in labels) and segment.score >= least(segment.label)
        ]
        return replace(self, segments=tuple(segments[:top_k]))
