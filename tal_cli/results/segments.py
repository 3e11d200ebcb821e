"""The result type shared by detection, readers and writers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace

from tal_cli.extractors.features.sequence import FileClock


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


@dataclass(frozen=True)
class Detections:
    """Segments detected in one video.

    Attributes:
        video: the video's unique name among those of one run.
        path: the file it came from.
        duration: seconds.
        fps: frames per second (the average, on variable rate).
        frames: number of decoded frames.
        segments: sorted by descending score; 0 <= start < end <= duration.
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
        self, *, min_score: float | None = None, top_k: int | None = None, labels: Collection[str] | None = None
    ) -> Detections:
        """The detections filtered by labels, then by score, then to the best `top_k`."""
        segments = [
            segment
            for segment in self.segments
            if (not labels or segment.label in labels) and (min_score is None or segment.score >= min_score)
        ]
        return replace(self, segments=tuple(segments[:top_k]))
