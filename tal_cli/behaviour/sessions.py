"""What was watched in one go: a video, or the videos of one observation on one clock."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from tal_cli.datasets.annotations import Annotations, GroundTruth, Ranges, VideoAnnotation, common
from tal_cli.datasets.formats.boris.timeline import joined
from tal_cli.datasets.formats.values import last_end


@dataclass(frozen=True)
class Session:
    """Instances in order of time, on a clock that begins at 0 s.

    Attributes:
        name: of the observation, or of the video.
        video: name of its video; of the observation, if it has several.
        length: seconds that were watched; the end of the last instance where nothing else is known.
        bouts: states and points.
        watched: what was watched, on the session's clock; None: all of `length` from `start` on.
        start: where it begins on its clock.
        observed: what the source says was to be observed, on the session's clock; None: all of it.
    """

    name: str
    video: str
    length: float
    bouts: tuple[GroundTruth, ...]
    watched: Ranges | None = None
    start: float = 0.0
    observed: tuple[float, float] | None = None

    @property
    def end(self) -> float:
        """Where the last watched second ends, on the session's clock."""
        return max((end for _, end in self._watched), default=self.start)

    @property
    def _watched(self) -> Ranges:
        return ((self.start, self.start + self.length),) if self.watched is None else self.watched

    def watched_in(self, start: float, end: float) -> float:
        """Seconds of an interval that were watched."""
        return sum(max(0.0, min(last, end) - max(first, start)) for first, last in self._watched)

    def within(self, start: float, end: float) -> Session:
        """What lies in an interval, cut at its ends; the clock stays. All of it counts as watched, except what the
        source says was not."""
        bouts = (
            replace(item, start=max(item.start, start), end=min(item.end, end))
            for item in self.bouts
            if item.start <= end and item.end >= start and (item.start == item.end or overlap(item, start, end) > 0)
        )
        watched = None if self.watched is None else common(self.watched, ((start, end),))
        length = end - start if watched is None else self.watched_in(start, end)
        return replace(self, length=length, bouts=tuple(bouts), watched=watched, start=start)


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
        watched = _watched(videos)
        length = sum(end - start for start, end in watched) or max((item.end for item in bouts), default=0.0)
        everything = all(video.reviewed is None for video in videos) or not watched
        media = videos[0].name if len(videos) == 1 else name
        observed = next((video.interval for video in videos if video.interval), None)
        found.append(Session(name, media, length, bouts, None if everything else watched, observed=observed))
    return found


def _watched(videos: Iterable[VideoAnnotation]) -> Ranges:
    """What was reviewed of videos behind one another, on their common clock."""
    ranges: list[tuple[float, float]] = []
    before = 0.0
    for video in videos:
        duration = video.duration or last_end(video.segments)
        known = ((0.0, video.duration),) if video.reviewed is None else video.reviewed
        ranges += [(before + start, before + end) for start, end in known if end > start]
        before += duration
    return tuple(ranges)
