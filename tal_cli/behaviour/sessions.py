"""What was watched in one go: a video, or the videos of one observation on one clock."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tal_cli.datasets.annotations import POINT, Annotations, GroundTruth, VideoAnnotation
from tal_cli.datasets.formats.boris.timeline import joined

NOBODY = "No focal subject"


@dataclass(frozen=True)
class Session:
    """Instances in order of time, on a clock that begins at 0 s.

    Attributes:
        name: of the observation, or of the video.
        video: name of its video; of the observation, if it has several.
        length: seconds that were watched; the end of the last instance where nothing else is known.
        bouts: states and points.
    """

    name: str
    video: str
    length: float
    bouts: tuple[GroundTruth, ...]

    def within(self, start: float, end: float) -> Session:
        """What lies in an interval, cut at its ends; the clock stays."""
        bouts = (
            replace(item, start=max(item.start, start), end=min(item.end, end))
            for item in self.bouts
            if item.start <= end and item.end >= start and (item.kind == POINT or overlap(item, start, end) > 0)
        )
        return replace(self, length=end - start, bouts=tuple(bouts))


def overlap(item: GroundTruth, start: float, end: float) -> float:
    """Seconds of an instance inside an interval."""
    return max(0.0, min(item.end, end) - max(item.start, start))


def sessions_of(annotations: Annotations) -> list[Session]:
    """The sessions of annotations, of what is settled in them. Their length is the time that was reviewed."""
    by_name: dict[str, list[VideoAnnotation]] = {}
    for video in annotations.videos.values():
        if not video.is_unseen:
            by_name.setdefault(video.observation or video.name, []).append(video)
    found = []
    for name, videos in by_name.items():
        bouts = tuple(joined([replace(video, segments=video.settled) for video in videos]))
        length = sum(_reviewed(video) for video in videos) or max((item.end for item in bouts), default=0.0)
        found.append(Session(name, videos[0].name if len(videos) == 1 else name, length, bouts))
    return found


def _reviewed(video: VideoAnnotation) -> float:
    """Seconds of a video that were reviewed."""
    if video.reviewed is None:
        return video.duration
    return sum(end - start for start, end in video.reviewed)
