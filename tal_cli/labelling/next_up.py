"""What to look at next, and why: the queue of the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tal_cli.datasets.annotations import Ranges
from tal_cli.labelling.project.document import PENDING, Annotation, Document, VideoEntry, identity_of
from tal_cli.labelling.project.ranges import total, without
from tal_cli.safe_text import counted

THRESHOLD = 0.3  # of a score, where nothing better is known
APART = 2.0  # seconds: items nearer to each other are one
LOOK = 10.0  # seconds of an unseen video that an item shows
MOST = 200


@dataclass(frozen=True)
class Item:
    """One place to look at. start, end: seconds; why: for the person; score: in [0, 1], higher is more urgent."""

    video: str
    start: float
    end: float
    why: str
    score: float

    @property
    def id(self) -> str:
        """An identifier that is the same as long as the place is."""
        return identity_of("queue", self.video, round(self.start, 2), round(self.end, 2))


@dataclass(frozen=True)
class Evidence:
    """What models say. ranked: stretches of `tal suggest`; shown_from: the score from which a label is shown, where
    that is known."""

    ranked: Sequence[Item] = ()
    shown_from: Mapping[str, float] = field(default_factory=dict)


def next_up(
    document: Document, videos: Sequence[tuple[str, float]], done: set[str], evidence: Evidence = Evidence()
) -> list[Item]:
    """The items, best first: suggestions near their label's threshold, rare labels first, and stretches that teach
    a model most; where there is neither, what has been seen least. No two are of the same place.

    Args:
        document: what is labelled, suggested and reviewed.
        videos: name and duration of each, in order.
        done: ids of items that are settled.
        evidence: what models say.
    """
    counts = Counter(item.label for video in document.videos.values() for item in video.annotations.values())
    items: list[Item] = []
    for name, duration in videos:
        entry = document.videos.get(name, VideoEntry({}, reviewed=()))
        open_parts = unreviewed(entry, duration)
        for found in _undecided(entry, open_parts):
            items.append(_of_suggestion(name, found, counts, evidence.shown_from.get(found.label, THRESHOLD)))
        ranked = (item for item in evidence.ranked if item.video == name)
        items += [item for item in ranked if _is_open(item.start, item.end, open_parts)]
    if not items:
        items = _least_seen(document, videos)
    best: list[Item] = []
    taken: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda item: -item.score):
        there = taken.setdefault(item.video, [])
        is_near = any(item.start < other.end + APART and other.start < item.end + APART for other in there)
        if not is_near and item.id not in done:
            best.append(item)
            there.append(item)
            if len(best) == MOST:
                break
    return best


def unreviewed(entry: VideoEntry, duration: float) -> Ranges:
    """The parts of a video that are not reviewed."""
    return () if entry.reviewed is None else without(((0.0, duration),), entry.reviewed)


def _undecided(entry: VideoEntry, parts: Ranges) -> list[Annotation]:
    return [
        item for item in entry.suggestions.values() if item.status == PENDING and _is_open(item.start, item.end, parts)
    ]


def _is_open(first: float, last: float, parts: Ranges) -> bool:
    return any(start < last and first < end for start, end in parts)


def _of_suggestion(video: str, item: Annotation, counts: Counter[str], threshold: float) -> Item:
    """Nearest to the threshold first; among equals the label with the fewest examples."""
    score = 0.0 if item.score is None else item.score
    doubt = 1 - min(1.0, abs(score - threshold) / max(threshold, 1 - threshold))
    rare = 1 / (1 + counts[item.label])
    near = f", near the threshold {threshold:.2f}" if doubt > 0.7 else ""
    why = f"{item.label}? score {score:.2f}{near}"
    if counts[item.label] < 5:
        why += f"; {counted(counts[item.label], 'example')} so far"
    return Item(video, item.start, max(item.end, item.start + 0.001), why, round(0.9 * doubt + 0.1 * rare, 6))


def _least_seen(document: Document, videos: Sequence[tuple[str, float]]) -> list[Item]:
    """Without a model: the videos that have been seen least, a part from each gap, evenly over time."""
    items = []
    for name, duration in videos:
        entry = document.videos.get(name, VideoEntry({}, reviewed=()))
        parts = unreviewed(entry, duration)
        share = total(parts) / duration if duration else 0.0
        places = []
        for start, end in parts:
            count = max(1, min(4, round((end - start) / max(LOOK, duration / 4))))
            places += [start + (end - start) * (number + 0.5) / count for number in range(count)]
        for rank, middle in enumerate(places):
            inside = next((start, end) for start, end in parts if start <= middle <= end)
            start, end = max(inside[0], middle - LOOK / 2), min(inside[1], middle + LOOK / 2)
            why = f"not looked at yet ({100 * share:.0f}\u00a0% of this video is left)"
            items.append(Item(name, start, end, why, round(share * 0.9**rank, 6)))
    return items
